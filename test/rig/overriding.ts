import type { KeyValueDatabase, KeyValueTransaction } from '../../src/kv/kv.ts';
import { runTransaction } from '../../src/kv/transact.ts';

/** The same object, but for `members`. Methods of either keep their own `this`. */
export function overriding<Target extends object>(target: Target, members: Partial<Target>): Target {
  return new Proxy(target, {
    get(_, name) {
      const owner = name in members ? members : target;
      const value: unknown = Reflect.get(owner, name, owner);
      return typeof value === 'function' ? (value.bind(owner) as unknown) : value;
    },
  });
}

/** The same database, but each transaction as `change` makes it, in `transact` too. */
export function withTransactions(
  database: KeyValueDatabase,
  change: (tx: KeyValueTransaction) => KeyValueTransaction,
): KeyValueDatabase {
  const createTransaction: KeyValueDatabase['createTransaction'] = (options) =>
    change(database.createTransaction(options));
  return {
    engine: database.engine,
    createTransaction,
    transact: (body, options) => runTransaction({ createTransaction }, body, options),
    close: () => database.close(),
  };
}
