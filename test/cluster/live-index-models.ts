import { defineModel, int32, list, string } from '../../src/model/index.ts';
import type { ModelKeys } from '../../src/records/keys.ts';
import { createStoreKeys } from '../../src/records/keys.ts';
import type { TestPlace } from '../rig/test-place.ts';

export const placeModelId = 1;
export const placeKeysIn = ({ subspace }: Pick<TestPlace, 'subspace'>): ModelKeys =>
  createStoreKeys(subspace).model(placeModelId);

const properties = {
  id: string({ number: 1, required: true }),
  people: int32({ number: 2 }),
  tags: list({ number: 3, of: string() }),
  text: string({ number: 4 }),
};

/** Enough for some hundred places to fill a range of the ledger, so that kills fall on the ends of ranges too. */
const text = '.'.repeat(600);

export const PlaceV1 = defineModel({ name: 'Place', version: '1.0', key: ['id'], properties });

/** Two indexes more: a release that is rolled out while the one before goes on writing. */
export const PlaceV1dot1 = defineModel({
  name: 'Place',
  version: '1.1',
  key: ['id'],
  properties,
  indexes: [
    { name: 'byPeople', on: [{ property: 'people', reversed: true }] },
    { name: 'byTag', on: ['tags', 'people'] },
  ],
});

export const placeId = (n: number) => `p${String(n).padStart(6, '0')}`;
export const placeOf = (n: number, people: number) => ({
  id: placeId(n),
  people,
  tags: [`t${people % 7}`, `t${people % 3}`],
  text,
});
