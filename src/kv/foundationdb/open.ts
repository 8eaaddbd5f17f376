import { existsSync } from 'node:fs';
import { StorageException } from '../../errors.ts';
import type { Clock } from '../../ports/clock.ts';
import { systemClock } from '../../ports/clock.ts';
import type { KeyValueDatabase, TransactionOptions } from '../kv.ts';
import { runTransaction } from '../transact.ts';
import type {
  FoundationDBDatabase,
  FoundationDBTransaction,
  FoundationDBTransactionOptions,
} from './binding.ts';
import { translate } from './errors.ts';
import type { BindingSource } from './load-binding.ts';
import { loadBinding } from './load-binding.ts';
import { FoundationDBKeyValueTransaction } from './transaction.ts';
import type { WatchBudget } from './watch-budget.ts';
import { createWatchBudget } from './watch-budget.ts';

export interface FoundationDBOptions {
  /** Default: what the client takes by itself: FDB_CLUSTER_FILE, then its default place. */
  readonly clusterFile?: string | undefined;
  /** Default: the system's. */
  readonly clock?: Clock | undefined;
  /** For tests. Default: the installed package. */
  readonly source?: BindingSource | undefined;
  /** How long the first answer of the cluster is waited for. Milliseconds; default 10,000. */
  readonly connectTimeoutMs?: number | undefined;
}

/** A transaction that names no time ends with 1031 after this: a cluster that is gone must not hang a process. */
const defaultTimeoutMs = 60_000;
const defaultConnectTimeoutMs = 10_000;

/**
 * Opens a FoundationDB cluster, and asks it for an answer before it is used.
 *
 * @throws StorageException DRIVER_MISSING, DRIVER_FAILED, DRIVER_DUPLICATE, CLUSTER_FILE_MISSING, CLUSTER_UNREACHABLE
 */
export async function openFoundationDB(options: FoundationDBOptions = {}): Promise<KeyValueDatabase> {
  const { clusterFile, clock = systemClock, connectTimeoutMs = defaultConnectTimeoutMs } = options;
  if (clusterFile !== undefined && !existsSync(clusterFile)) {
    throw new StorageException('CLUSTER_FILE_MISSING', `There is no cluster file ${clusterFile}.`, {
      details: { clusterFile },
    });
  }
  const binding = loadBinding(options.source);
  let native: FoundationDBDatabase;
  try {
    native = binding.open(clusterFile);
  } catch (cause) {
    throw unreachable(cause);
  }
  const database = createPort(native, clock, () => native.close());
  try {
    await database.transact((tx) => tx.getReadVersion(), { timeoutMs: connectTimeoutMs, retryLimit: 0 });
    return database;
  } catch (cause) {
    native.close();
    throw unreachable(cause);
  }
}

/** The host's opened database: as bytes from its root, its options untouched, and not closed by us. */
export function fromHostDatabase(host: FoundationDBDatabase, clock: Clock = systemClock): KeyValueDatabase {
  return createPort(host.getRoot(), clock, () => undefined);
}

/** Whether a value is a `Database` of the package `foundationdb`, of whichever copy. */
export function isHostDatabase(value: unknown): value is FoundationDBDatabase {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof Reflect.get(value, 'rawCreateTransaction') === 'function' &&
    typeof Reflect.get(value, 'getRoot') === 'function'
  );
}

function createPort(native: FoundationDBDatabase, clock: Clock, end: () => void): KeyValueDatabase {
  const watches: WatchBudget = createWatchBudget(clock);
  let isClosed = false;
  const database: KeyValueDatabase = {
    engine: 'foundationdb',
    createTransaction: (options) =>
      new FoundationDBKeyValueTransaction(begin(native, nativeOptions(options)), watches, () => isClosed),
    transact: (body, options) => runTransaction(database, body, options),
    close() {
      if (isClosed) return Promise.resolve();
      isClosed = true;
      watches.cancelAll();
      end();
      return Promise.resolve();
    },
  };
  return database;
}

function begin(
  native: FoundationDBDatabase,
  options: FoundationDBTransactionOptions,
): FoundationDBTransaction {
  try {
    return native.rawCreateTransaction(options);
  } catch (error) {
    throw translate(error);
  }
}

function nativeOptions({ timeoutMs, priority }: TransactionOptions = {}): FoundationDBTransactionOptions {
  const timeout = Math.ceil(timeoutMs ?? defaultTimeoutMs);
  return priority === 'batch' ? { timeout, priority_batch: true } : { timeout };
}

function unreachable(cause: unknown): StorageException {
  const text = cause instanceof Error ? `: ${cause.message}` : '';
  return new StorageException('CLUSTER_UNREACHABLE', `The FoundationDB cluster did not answer${text}.`, {
    cause,
  });
}
