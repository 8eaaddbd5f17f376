import type { KeyValueDatabase, KeyValueTransaction, TransactOptions, Transaction } from './kv.ts';
import { KeyValueError } from './kv.ts';

/** The retry loop, the same for every driver: what waits and what is final is decided by `onError`. */
export async function runTransaction<T>(
  database: Pick<KeyValueDatabase, 'createTransaction'>,
  body: (tx: Transaction) => Promise<T>,
  options: TransactOptions = {},
): Promise<T> {
  const { signal, retryLimit = Number.POSITIVE_INFINITY, onRetry } = options;
  signal?.throwIfAborted();
  const tx: KeyValueTransaction = database.createTransaction(options);
  try {
    for (;;) {
      try {
        const result = await body(tx);
        await tx.commit();
        return result;
      } catch (error) {
        if (!(error instanceof KeyValueError) || tx.attempt >= retryLimit) throw error;
        onRetry?.(error);
        await tx.onError(error);
        signal?.throwIfAborted();
      }
    }
  } finally {
    tx.cancel();
  }
}
