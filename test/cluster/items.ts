import type { RecordOf } from '../../src/model/infer.ts';
import { createStoreKeys } from '../../src/records/keys.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { ItemV1 } from './item-models.ts';
import type { ItemV2 } from './item-models.ts';

export const itemModelId = 1;
export const itemSubspace = ['items'];
export const itemKeys = createStoreKeys(itemSubspace).model(itemModelId);

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

export async function addItems(directory: string, total: number): Promise<void> {
  const store = await openItemsV1(directory);
  try {
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
  } finally {
    await store.close();
  }
}

/** The older program. */
export const openItemsV1 = (directory: string) =>
  FoundationDBDataStore.open({
    database: `embedded:${directory}`,
    subspace: itemSubspace,
    dataModelsById: { [itemModelId]: ItemV1 },
  });
