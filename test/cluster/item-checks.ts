import { expect } from 'vitest';
import { openEmbeddedDatabase } from '../../src/kv/embedded/open.ts';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { recomputeIndexes } from '../rig/recompute-index.ts';
import { ItemV2 } from './item-models.ts';
import { itemKeys, itemModelId, itemSubspace, movedItem } from './items.ts';

/** The newer program, once somebody has migrated: it brings no transform. */
export const openItemsV2 = (database: KeyValueDatabase) =>
  FoundationDBDataStore.open({
    database,
    subspace: itemSubspace,
    dataModelsById: { [itemModelId]: ItemV2 },
    persistMigrationAuditEvents: true,
  });

/** Items with one mark each, none missing, none else, and the index entries that they demand. */
export async function expectEachMovedOnce(
  database: KeyValueDatabase,
  store: Awaited<ReturnType<typeof openItemsV2>>,
  total: number,
): Promise<void> {
  let at = 0;
  for await (const item of store.model(ItemV2).scan()) {
    expect(item).toEqual(movedItem(at));
    at += 1;
  }
  expect(at).toBe(total);
  const indexes = await recomputeIndexes(database, itemKeys);
  expect(indexes.map(({ name, state, actual }) => [name, state, actual.length])).toEqual([
    ['byMark', 'ready', total],
    ['byRank', 'ready', total],
  ]);
  for (const { expected, actual } of indexes) expect(actual).toEqual(expected);
}

export async function withDatabase<T>(
  directory: string,
  use: (database: KeyValueDatabase) => Promise<T>,
): Promise<T> {
  const database = await openEmbeddedDatabase({ directory });
  try {
    return await use(database);
  } finally {
    await database.close();
  }
}
