import type { KeyValueDatabase, KeyValueTransaction, Transaction } from '../../src/kv/kv.ts';
import { overriding, withTransactions } from './overriding.ts';

/** Parts of a chunk's transaction, by the prefixes of their keys. */
export interface SplitCommit {
  /** Whoever sets a key under it commits a chunk. */
  readonly cursor: Uint8Array;
  /** What is held back, and committed by itself once the rest is. */
  readonly later: readonly Uint8Array[];
}

/**
 * The mistake that the whole protocol is there to exclude: chunks are committed in two transactions, one after another.
 * Nothing shows for as long as nobody dies in between.
 */
export function commitInTwo(database: KeyValueDatabase, { cursor, later }: SplitCommit): KeyValueDatabase {
  return withTransactions(database, (tx) => {
    const held: ((to: Pick<Transaction, 'set' | 'clear'>) => void)[] = [];
    let isChunk = false;
    const split: Pick<KeyValueTransaction, 'set' | 'clear' | 'commit' | 'onError'> = {
      set(key, value) {
        isChunk ||= isUnder(key, cursor);
        if (later.some((prefix) => isUnder(key, prefix))) held.push((to) => to.set(key, value));
        else tx.set(key, value);
      },
      clear(key) {
        if (later.some((prefix) => isUnder(key, prefix))) held.push((to) => to.clear(key));
        else tx.clear(key);
      },
      async commit() {
        if (!isChunk) for (const write of held) write(tx);
        await tx.commit();
        if (!isChunk || held.length === 0) return;
        await database.transact((second) => {
          for (const write of held) write(second);
          return Promise.resolve();
        });
      },
      async onError(error) {
        held.length = 0;
        isChunk = false;
        await tx.onError(error);
      },
    };
    return overriding(tx, split);
  });
}

function isUnder(key: Uint8Array, prefix: Uint8Array): boolean {
  return Buffer.from(key).subarray(0, prefix.length).equals(prefix);
}
