import type { KeyValueDatabase, Transaction } from '../../kv/kv.ts';
import { KeyValueError } from '../../kv/kv.ts';

/** A database for whoever must not write: whatever a body does, no transaction is ever committed. */
export interface Reader {
  /** Runs `body` on one snapshot, again after every retryable error. */
  read<T>(body: (tx: Transaction) => Promise<T>): Promise<T>;
}

export function createReader(
  database: Pick<KeyValueDatabase, 'createTransaction'>,
  signal: AbortSignal | undefined,
  priority: 'default' | 'batch' = 'default',
): Reader {
  return {
    async read(body) {
      signal?.throwIfAborted();
      const tx = database.createTransaction({ priority });
      try {
        for (;;) {
          try {
            return await body(tx);
          } catch (error) {
            if (!(error instanceof KeyValueError)) throw error;
            await tx.onError(error);
            signal?.throwIfAborted();
          }
        }
      } finally {
        tx.cancel();
      }
    },
  };
}
