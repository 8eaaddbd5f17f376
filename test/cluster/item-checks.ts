import { expect } from 'vitest';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { recomputeIndexes } from '../rig/recompute-index.ts';
import type { TestPlace } from '../rig/test-place.ts';
import { ItemV2 } from './item-models.ts';
import { itemKeysIn, itemModelId, movedItem } from './items.ts';

/** The newer program, once somebody has migrated: it brings no transform. */
export const openItemsV2 = (database: KeyValueDatabase, { subspace }: Pick<TestPlace, 'subspace'>) =>
  FoundationDBDataStore.open({
    database,
    subspace,
    dataModelsById: { [itemModelId]: ItemV2 },
    persistMigrationAuditEvents: true,
  });

/** Items with one mark each, none missing, none else, and the index entries that they demand. */
export async function expectEachMovedOnce(
  { database, subspace }: { readonly database: KeyValueDatabase; readonly subspace: TestPlace['subspace'] },
  store: Awaited<ReturnType<typeof openItemsV2>>,
  total: number,
): Promise<void> {
  let at = 0;
  for await (const item of store.model(ItemV2).scan()) {
    expect(item).toEqual(movedItem(at));
    at += 1;
  }
  expect(at).toBe(total);
  const indexes = await recomputeIndexes(database, itemKeysIn({ subspace }));
  expect(indexes.map(({ name, state, actual }) => [name, state, actual.length])).toEqual([
    ['byMark', 'ready', total],
    ['byRank', 'ready', total],
  ]);
  for (const { expected, actual } of indexes) expect(actual).toEqual(expected);
}
