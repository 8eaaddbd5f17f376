import type { KeyValue } from '../src/kv/kv.ts';
import type { LoopDatabase } from './loop.ts';

/** The part of the npm package `foundationdb` that the loop needs: what `fdb.open` answers. */
export interface BindingDatabase {
  doTransaction<T>(body: (tn: BindingTransaction) => Promise<T>): Promise<T>;
}

export interface BindingTransaction {
  snapshot(): {
    getRangeAll(
      begin: Buffer,
      end: Buffer,
      options: { readonly limit: number; readonly targetBytes: number },
    ): Promise<readonly (readonly [Buffer, Buffer])[]>;
  };
  set(key: Buffer, value: Buffer): void;
}

/** The package itself for the loop of `loop.ts`, without any key-value port: its transactions, its retries. */
export function createBindingLoop(database: BindingDatabase): LoopDatabase {
  return {
    transact: (body) =>
      database.doTransaction((tn) =>
        body({
          async getRangeAll(begin, end, { limit, targetBytes }) {
            const rows = await tn.snapshot().getRangeAll(begin, end, { limit, targetBytes });
            return rows.map(([key, value]): KeyValue => ({ key, value }));
          },
          set: (key, value) => tn.set(key, value),
        }),
      ),
  };
}
