import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { defineModel, int32, string } from '../../src/model/index.ts';
import { readFence } from '../../src/records/fence.ts';
import { readGarbage } from '../../src/records/garbage.ts';
import { rangeOf } from '../../src/records/keys.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { CityV1, CityV2, cityId, cityOf, createMigrationRig, succeed, toCityV2 } from '../rig/migration.ts';

let rig: MigrationRig;
beforeEach(() => {
  rig = createMigrationRig();
});
afterEach(() => rig.close());

const ByName = defineModel({
  name: 'Person',
  version: '1.0',
  key: ['name'],
  properties: {
    name: string({ number: 1, required: true }),
    number: int32({ number: 2, required: true }),
  },
  indexes: [{ name: 'byNumber', on: ['number'] }],
});
const ByNumber = defineModel({
  name: 'Person',
  version: '2.0',
  key: ['number'],
  properties: {
    name: string({ number: 1, required: true }),
    number: int32({ number: 2, required: true }),
  },
  indexes: [{ name: 'byName', on: ['name'] }],
});
const people = Array.from({ length: 50 }, (_, n) => ({ name: `p${n}`, number: 99 - n }));
const unchanged = { migrationHandler: { Person: backfill({ unchanged: true }) } };

const rowsUnder = async (prefix: Buffer) => {
  const { begin, end } = rangeOf(prefix);
  return rig.database.transact((tx) => tx.getRangeAll(begin, end));
};

/** Sweeping goes on after open; it has ended when nothing is listed any more. */
async function swept(): Promise<void> {
  const look = async (): Promise<void> => {
    const garbage = await rig.database.transact((tx) => readGarbage(tx, rig.keysOf(1)));
    if (garbage.length > 0) return new Promise((resolve) => setImmediate(() => resolve(look())));
  };
  await look();
}

describe('a key definition that changes', () => {
  it('moves records to the next key space, and the old one is swept', async () => {
    await rig.seed(ByName, people);
    const store = await rig.open({ 1: ByNumber }, unchanged);
    expect(await store.model(ByNumber).scan().toArray()).toEqual(people.toReversed());
    expect(await store.model(ByNumber).get(99)).toEqual({ name: 'p0', number: 99 });
    const fence = await rig.database.transact((tx) => readFence(tx, rig.keysOf(1)));
    expect(fence).toMatchObject({ keySpace: 2, nextKeySpace: 3, mixedKeySpaces: [], state: 'ready' });
    await swept();
    expect(await rowsUnder(rig.keysOf(1).records(1))).toEqual([]);
    for (const { state, expected, actual } of await rig.indexes(1, ByNumber)) {
      expect(state).toBe('ready');
      expect(actual).toEqual(expected);
    }
  });

  it('goes on where a process died', async () => {
    await rig.seed(ByName, people);
    for (const death of ['Backfill', 'Verify']) {
      await rig.openUntil(
        { 1: ByNumber },
        unchanged,
        ({ type, phase }) => type === 'PhaseCompleted' && phase === death,
      );
    }
    const store = await rig.open({ 1: ByNumber }, unchanged);
    expect(await store.model(ByNumber).count()).toBe(people.length);
  });

  it('fails with both records in place when two come out with one key', async () => {
    await rig.seed(ByName, [...people, { name: 'twin', number: 99 }]);
    const store = await rig.open({ 1: ByNumber }, { ...unchanged, continueMigrationsInBackground: true });
    expect(await store.migrationStatus(1)).toMatchObject({
      state: 'Failed',
      phase: 'Backfill',
      lastError: { code: 'DUPLICATE_KEY' },
    });
    const [left, moved] = await Promise.all([1, 2].map((space) => rowsUnder(rig.keysOf(1).records(space))));
    expect((left?.length ?? 0) + (moved?.length ?? 0)).toBe(people.length + 1);
  });

  it('is no reason where only the version changed', async () => {
    await rig.seed(ByName, people);
    await rig.open({ 1: defineModel({ ...ByName, version: '2.0' }) }, { migrationVerifyHandler: succeed });
    expect(await rowsUnder(rig.keysOf(1).records(1))).toHaveLength(people.length);
  });
});

describe('a transform that returns another key', () => {
  it('fails where the key definition is unchanged, and the model serves as before', async () => {
    await rig.seed(CityV1, [1, 2, 3].map(cityOf));
    const transform = (city: Readonly<Record<string, unknown>>) => ({
      ...toCityV2(city),
      id: `x${String(city['id'])}`,
    });
    const store = await rig.open(
      { 1: CityV2 },
      { migrationHandler: { City: backfill({ transform }) }, continueMigrationsInBackground: true },
    );
    const { state, lastError } = await store.migrationStatus(1);
    expect(state).toBe('Failed');
    expect(lastError).toMatchObject({ code: 'KEY_CHANGED', retryable: false });
    expect(lastError?.message).toContain(Buffer.from(cityId(1)).toString('hex'));
    const older = await rig.open({ 1: CityV1 });
    expect(await older.model(CityV1).count()).toBe(3);
  });
});
