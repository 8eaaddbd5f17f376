import type { Transaction } from '../kv/kv.ts';
import type { StoreKeys } from './keys.ts';
import { keyAfterPrefix, rangeOf } from './keys.ts';
import { encodeTuple, TupleReader } from './tuple.ts';

/**
 * Ids of all models that something is known of in the database, ascending: one read for each, whatever lies under it. Read
 * without a conflict.
 */
export async function listModelIds(tx: Transaction, { models }: StoreKeys): Promise<readonly number[]> {
  const { begin, end } = rangeOf(models);
  const ids: number[] = [];
  for (let from = begin; ;) {
    const [first] = await tx.getRangeAll(from, end, { limit: 1, snapshot: true });
    if (first === undefined) return ids;
    const id = new TupleReader(first.key.subarray(models.length)).readInteger();
    ids.push(id);
    from = keyAfterPrefix(Buffer.concat([models, encodeTuple([id])]));
  }
}
