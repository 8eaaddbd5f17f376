import type { RecordOf } from '../../src/model/infer.ts';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import type { ModelKeys } from '../../src/records/keys.ts';
import { createStoreKeys } from '../../src/records/keys.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import type { TestPlace } from '../rig/test-place.ts';
import { openTestDatabase } from '../rig/test-place.ts';
import { ItemV1 } from './item-models.ts';
import type { ItemV2 } from './item-models.ts';

export const itemModelId = 1;
export const itemKeysIn = ({ subspace }: Pick<TestPlace, 'subspace'>): ModelKeys =>
  createStoreKeys(subspace).model(itemModelId);

/** Enough for a few hundred items to fill a range of the ledger, so that kills fall on the ends of ranges too. */
const textSize = 600;
const rankOf = (at: number) => (at * 7_919) % 1_000;
const idOf = (at: number) => `item-${String(at).padStart(6, '0')}`;
const textOf = (at: number) => String(at).padEnd(textSize, '.');

/** What becomes of `addItems` when each of its items is moved once. */
export const movedItem = (at: number): RecordOf<typeof ItemV2> => ({
  id: idOf(at),
  mark: '+',
  rank: rankOf(at),
  text: textOf(at),
});

/** Items added in one transaction: below its 10 MB. */
const itemsPerTransaction = 500;

export async function addItems(place: TestPlace, total: number): Promise<void> {
  await withDatabase(place, async (database) => {
    const store = await openItemsV1(database, place);
    for (let from = 0; from < total; from += itemsPerTransaction) {
      const some = Array.from(
        { length: Math.min(itemsPerTransaction, total - from) },
        (_, offset) => from + offset,
      );
      await store.transact(async (tx) => {
        const items = tx.model(ItemV1);
        await Promise.all(
          some.map((at) => items.add({ id: idOf(at), mark: '', rank: String(rankOf(at)), text: textOf(at) })),
        );
      });
    }
    await store.close();
  });
}

/** The older program. */
export const openItemsV1 = (database: KeyValueDatabase, { subspace }: Pick<TestPlace, 'subspace'>) =>
  FoundationDBDataStore.open({
    database,
    subspace,
    dataModelsById: { [itemModelId]: ItemV1 },
  });

/** Closes the database again, whatever becomes of `use`. */
export async function withDatabase<T>(
  { address }: Pick<TestPlace, 'address'>,
  use: (database: KeyValueDatabase) => Promise<T>,
): Promise<T> {
  const database = await openTestDatabase(address);
  try {
    return await use(database);
  } finally {
    await database.close();
  }
}
