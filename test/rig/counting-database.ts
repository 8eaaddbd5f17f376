import type { KeyValueDatabase } from '../../src/kv/kv.ts';

/** The same database, which counts the transactions that are begun on it; a repeated attempt is none of its own. */
export interface CountingDatabase extends KeyValueDatabase {
  readonly transactions: number;
  /** How many are begun until `action` is over. */
  during(action: () => Promise<unknown>): Promise<number>;
}

/** What is underneath is not closed with it. */
export function countTransactions(database: KeyValueDatabase): CountingDatabase {
  let transactions = 0;
  return {
    engine: database.engine,
    createTransaction(options) {
      transactions += 1;
      return database.createTransaction(options);
    },
    transact(body, options) {
      transactions += 1;
      return database.transact(body, options);
    },
    get transactions() {
      return transactions;
    },
    async during(action) {
      const before = transactions;
      await action();
      return transactions - before;
    },
    close: () => Promise.resolve(),
  };
}
