import type { KeyValueDatabase, Transaction } from '../kv/kv.ts';
import { limits } from '../limits.ts';
import type { KeyRange, ModelKeys } from './keys.ts';
import { keyAfter, rangeOf } from './keys.ts';
import { createRowFormat, isCount, isListOf, isShape } from './row.ts';

/**
 * What publications left behind: entries of replaced and dropped indexes, records of left key spaces. Ids are never
 * used again, so it is cleared at leisure, in transactions of their own.
 */
interface Garbage {
  readonly items: readonly GarbageItem[];
}

export interface GarbageItem {
  /** One of them; the other is 0. */
  readonly indexId: number;
  readonly keySpace: number;
}

const garbageFormat = createRowFormat<Garbage>('garbage', {
  items: isListOf(isShape<GarbageItem>({ indexId: isCount, keySpace: isCount })),
});

/** Rows cleared in one transaction. */
const rowsPerTransaction = limits.records.sweptRows.value;

export async function readGarbage(tx: Transaction, keys: ModelKeys): Promise<readonly GarbageItem[]> {
  return garbageFormat.parseOptional(await tx.get(keys.garbage))?.items ?? [];
}

/** In the transaction after which nobody uses them any more. */
export async function addGarbage(
  tx: Transaction,
  keys: ModelKeys,
  items: readonly GarbageItem[],
): Promise<void> {
  if (items.length === 0) return;
  const before = await readGarbage(tx, keys);
  tx.set(keys.garbage, garbageFormat.encode({ items: [...before, ...items] }));
}

/** Clears what is listed and strikes it off. Any node may, several at once do no harm; returns early when aborted. */
export async function sweepGarbage(
  database: KeyValueDatabase,
  keys: ModelKeys,
  signal: AbortSignal,
): Promise<void> {
  const items = await database.transact((tx) => readGarbage(tx, keys), { signal });
  for (const item of items) {
    let isSwept = false;
    while (!isSwept) {
      if (signal.aborted) return;
      isSwept = await database.transact((tx) => clearSome(tx, keys, item), { signal, priority: 'batch' });
    }
  }
}

/** Answers whether nothing of it is left. */
async function clearSome(tx: Transaction, keys: ModelKeys, item: GarbageItem): Promise<boolean> {
  const { begin, end } = rangeOfItem(keys, item);
  const rows = await tx.getRangeAll(begin, end, { limit: rowsPerTransaction, snapshot: true });
  const last = rows.at(-1);
  if (last !== undefined) tx.clearRange(begin, keyAfter(last.key));
  if (rows.length === rowsPerTransaction) return false;
  const left = (await readGarbage(tx, keys)).filter(
    ({ indexId, keySpace }) => indexId !== item.indexId || keySpace !== item.keySpace,
  );
  if (left.length === 0) tx.clear(keys.garbage);
  else tx.set(keys.garbage, garbageFormat.encode({ items: left }));
  return true;
}

function rangeOfItem(keys: ModelKeys, { indexId, keySpace }: GarbageItem): KeyRange {
  return rangeOf(indexId === 0 ? keys.records(keySpace) : keys.index(indexId));
}
