import { StorageException } from '../../errors.ts';
import type { Clock } from '../../ports/clock.ts';
import { systemClock } from '../../ports/clock.ts';
import type { KeyValueDatabase } from '../kv.ts';
import { KeyValueError, KeyValueErrorCode } from '../kv.ts';
import { runTransaction } from '../transact.ts';
import type {
  FoundationDBDatabase,
  FoundationDBTransaction,
  FoundationDBTransactionOptions,
} from './binding.ts';
import type { ClusterFiles } from './cluster-file.ts';
import { findClusterFile } from './cluster-file.ts';
import { codeOf, translate } from './errors.ts';
import type { BindingSource } from './load-binding.ts';
import { loadBinding } from './load-binding.ts';
import type { FoundationDBTransactOptions } from './transaction.ts';
import { FoundationDBKeyValueTransaction } from './transaction.ts';
import type { WatchHub } from './watches.ts';
import { createWatchHub } from './watches.ts';

export interface FoundationDBOptions {
  /** Default: what the client takes by itself: FDB_CLUSTER_FILE, `fdb.cluster` here, then the system's place. */
  readonly clusterFile?: string | undefined;
  /** Default: the system's. */
  readonly clock?: Clock | undefined;
  /** How long the first answer of the cluster is waited for. Milliseconds; default 10,000. */
  readonly connectTimeoutMs?: number | undefined;
  /** For tests. Default: the installed package. */
  readonly source?: BindingSource | undefined;
  /** For tests. Default: this machine's. */
  readonly files?: ClusterFiles | undefined;
}

/** A transaction that names no time ends with 1031 after this: a cluster that is gone must not hang a process. */
const defaultTimeoutMs = 60_000;
const defaultConnectTimeoutMs = 10_000;
/** What the client's own timer is granted, before the cluster is given up without it. */
const graceMs = 1_000;

/**
 * Opens a FoundationDB cluster, and asks it for an answer before it is used.
 *
 * @throws StorageException DRIVER_MISSING, DRIVER_LIBRARY_MISSING, DRIVER_FAILED, DRIVER_DUPLICATE, DRIVER_WRONG_THREAD,
 *   CLUSTER_FILE_MISSING, CLUSTER_FILE_INVALID, CLUSTER_UNREACHABLE
 */
export async function openFoundationDB(options: FoundationDBOptions = {}): Promise<KeyValueDatabase> {
  const { clock = systemClock, connectTimeoutMs = defaultConnectTimeoutMs } = options;
  const clusterFile = findClusterFile(options.clusterFile, options.files);
  const binding = loadBinding(options.source);
  let native: FoundationDBDatabase;
  try {
    native = binding.open(clusterFile);
  } catch (cause) {
    throw openingError(cause, clusterFile);
  }
  const database = createPort(native, clock, createWatchHub(clock), () => native.close());
  return connect(database, clock, connectTimeoutMs, clusterFile);
}

/** One for each database of a host, however many stores use it: the client counts watches by database. */
const hostHubs = new WeakMap<FoundationDBDatabase, WatchHub>();

/**
 * The host's opened database: as bytes from its root, its options untouched, and not closed by us. A transaction that
 * names no time has 60 s, whatever the host's default is.
 *
 * @throws StorageException CLUSTER_FILE_INVALID, CLUSTER_UNREACHABLE
 */
export async function openHostDatabase(
  host: FoundationDBDatabase,
  clock: Clock = systemClock,
  connectTimeoutMs: number = defaultConnectTimeoutMs,
): Promise<KeyValueDatabase> {
  const hub = hostHubs.get(host) ?? createWatchHub(clock);
  hostHubs.set(host, hub);
  const database = createPort(host.getRoot(), clock, hub, () => undefined);
  return connect(database, clock, connectTimeoutMs, undefined);
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

/** The client waits for a cluster for as long as it is let: what cannot be reached is told of here, and once. */
async function connect(
  database: KeyValueDatabase,
  clock: Clock,
  timeoutMs: number,
  clusterFile: string | undefined,
): Promise<KeyValueDatabase> {
  let timer: unknown;
  const tooLate = new Promise<never>((_, reject) => {
    const giveUp = () => reject(new KeyValueError(KeyValueErrorCode.timedOut));
    timer = clock.setTimeout(giveUp, timeoutMs + graceMs, { ref: true });
  });
  const answer = database.transact((tx) => tx.getReadVersion(), { timeoutMs });
  try {
    await Promise.race([answer, tooLate]);
    return database;
  } catch (cause) {
    answer.catch(() => undefined);
    await database.close();
    throw openingError(cause, clusterFile);
  } finally {
    clock.clearTimeout(timer);
  }
}

function createPort(
  native: FoundationDBDatabase,
  clock: Clock,
  hub: WatchHub,
  end: () => void,
): KeyValueDatabase {
  const watches = hub.join();
  let isClosed = false;
  const database: KeyValueDatabase = {
    engine: 'foundationdb',
    createTransaction(options = {}) {
      if (isClosed) throw new KeyValueError(KeyValueErrorCode.canceled);
      return new FoundationDBKeyValueTransaction(begin(native, nativeOptions(options)), {
        watches,
        isBatch: options.priority === 'batch',
        isClosed: () => isClosed,
      });
    },
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

function nativeOptions(options: FoundationDBTransactOptions): FoundationDBTransactionOptions {
  const { timeoutMs = defaultTimeoutMs, retryLimit, sizeLimitBytes, priority } = options;
  return {
    timeout: Math.ceil(timeoutMs),
    ...(retryLimit === undefined ? {} : { retry_limit: retryLimit }),
    ...(sizeLimitBytes === undefined ? {} : { size_limit: sizeLimitBytes }),
    ...(priority === 'batch' ? { priority_batch: true } : {}),
  };
}

/** The client's own words for a cluster file that it does not find, and for one that it cannot use. */
const fileMissingCodes: ReadonlySet<number | undefined> = new Set([1511, 1515]);
const fileInvalidCodes: ReadonlySet<number | undefined> = new Set([1513, 1514, 2104]);

function openingError(cause: unknown, clusterFile: string | undefined): StorageException {
  const text = cause instanceof Error ? `: ${cause.message}` : '';
  const file = clusterFile === undefined ? '' : ` ${clusterFile}`;
  const options = { cause, details: clusterFile === undefined ? {} : { clusterFile } };
  const code = codeOf(cause);
  if (fileMissingCodes.has(code)) {
    return new StorageException('CLUSTER_FILE_MISSING', `There is no cluster file${file}${text}.`, options);
  }
  if (fileInvalidCodes.has(code)) {
    return new StorageException(
      'CLUSTER_FILE_INVALID',
      `The cluster file${file} cannot be used${text}.`,
      options,
    );
  }
  const where = clusterFile === undefined ? '' : ` of ${clusterFile}`;
  return new StorageException(
    'CLUSTER_UNREACHABLE',
    `The FoundationDB cluster${where} did not answer${text}; check that it is up and can be reached from here.`,
    options,
  );
}
