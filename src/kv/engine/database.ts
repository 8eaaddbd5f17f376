import type { KeyValueDatabase } from '../kv.ts';
import { runTransaction } from '../transact.ts';
import type { Engine } from './engine.ts';
import { EngineTransaction } from './transaction.ts';

/** The port over one engine. */
export function createEngineDatabase(engine: Engine): KeyValueDatabase {
  const database: KeyValueDatabase = {
    engine: engine.name,
    createTransaction: (options) => new EngineTransaction(engine, options),
    transact: (body, options) => runTransaction(database, body, options),
    requestsOfOthers: engine.requestsOfOthers?.bind(engine),
    compact: engine.compact?.bind(engine),
    close: () => engine.close(),
  };
  return database;
}
