import type {
  FoundationDBBinding,
  FoundationDBDatabase,
  FoundationDBKeySelector,
  FoundationDBTransaction,
  FoundationDBTransactionOptions,
} from '../../src/kv/foundationdb/binding.ts';
import { MutationType } from '../../src/kv/foundationdb/binding.ts';
import type { ClusterFiles } from '../../src/kv/foundationdb/cluster-file.ts';
import type { BindingSource } from '../../src/kv/foundationdb/load-binding.ts';
import type { AtomicOperation, KeyValueDatabase, KeyValueTransaction } from '../../src/kv/kv.ts';
import { KeyValueError } from '../../src/kv/kv.ts';

/** As the package's: a class of its own, the number in `code`. */
export class FakeFDBError extends Error {
  readonly code: number;

  constructor(description: string, code: number) {
    super(description);
    this.code = code;
  }
}

export interface FakeFoundationDB extends FoundationDBBinding {
  /** What the driver asked for, in order. */
  readonly calls: string[];
  /** Options of each transaction. */
  readonly options: FoundationDBTransactionOptions[];
  /** Options that were set later, by number: the client forgets some with each attempt. */
  readonly optionsSet: number[];
  /** How each range was asked for. */
  readonly ranges: { readonly limit: number; readonly targetBytes: number; readonly mode: number }[];
  /** Native watches: armed so far, and out. */
  readonly watches: { armed: number; out: number };
}

export interface FakeOptions {
  /** Which versions the client library takes; another one fails with 2203. Default 720. */
  readonly accepts?: (version: number, headerVersion: number | undefined) => boolean;
  /** Pairs in one answer: the client answers in parts. Default 3. */
  readonly partPairs?: number;
  /** What opening throws. */
  readonly refusesToOpen?: Error;
  /** No transaction is ever answered, whatever its timeout. */
  readonly isSilent?: boolean;
}

/** The package as a driver finds it: loaded, once, on the main thread. */
export function sourceOf(loaded: unknown, others: Partial<BindingSource> = {}): BindingSource {
  return { load: () => loaded, find: () => undefined, loadedFiles: () => [], isMainThread: true, ...others };
}

/** A machine with a cluster file. */
export const someClusterFile: ClusterFiles = {
  environment: {},
  platform: 'linux',
  exists: (path) => path === '/etc/foundationdb/fdb.cluster',
};

/**
 * The package `foundationdb` over another database: what the C client does, with its arguments and errors, and without a
 * cluster. Holds the driver against the conformance suite.
 */
export function createFakeFoundationDB(
  database: KeyValueDatabase,
  {
    accepts = (version) => version === 720,
    partPairs = 3,
    refusesToOpen,
    isSilent = false,
  }: FakeOptions = {},
): FakeFoundationDB {
  const calls: string[] = [];
  const options: FoundationDBTransactionOptions[] = [];
  const record: Recorded = { optionsSet: [], ranges: [], watches: { armed: 0, out: 0 } };
  let selected: number | undefined;
  const native: FoundationDBDatabase = {
    getRoot: () => native,
    rawCreateTransaction(given = {}) {
      options.push(given);
      const { timeout, size_limit: sizeLimitBytes } = given;
      const timeoutMs = timeout === 0 ? undefined : timeout;
      const tx = createTransaction(
        database.createTransaction({ timeoutMs, sizeLimitBytes }),
        partPairs,
        record,
      );
      return isSilent ? { ...tx, getReadVersion: () => new Promise(() => undefined) } : tx;
    },
    close: () => void calls.push('close'),
  };
  return {
    calls,
    options,
    ...record,
    setAPIVersion(version, headerVersion) {
      calls.push(`setAPIVersion ${version} ${headerVersion ?? ''}`.trim());
      if (selected !== undefined && selected !== version) {
        throw new Error(`foundationdb already initialized with API version ${selected}`);
      }
      if (!accepts(version, headerVersion)) throw new FakeFDBError('API version not supported', 2203);
      selected = version;
    },
    open(clusterFile) {
      calls.push(`open ${clusterFile ?? ''}`.trim());
      if (refusesToOpen !== undefined) throw refusesToOpen;
      return native;
    },
  };
}

function asNative(error: unknown): unknown {
  return error instanceof KeyValueError ? new FakeFDBError(error.message, error.code) : error;
}

async function native<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asNative(error);
  }
}

function nativeSync<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw asNative(error);
  }
}

const operationOf = new Map<number, AtomicOperation>(
  Object.entries(MutationType).flatMap(([name, code]) =>
    name.startsWith('set') ? [] : [[code, name as AtomicOperation]],
  ),
);

const version = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
};

/** Only the selectors that name a key, or what follows it. */
const placeOf = ({ key, orEqual, offset }: FoundationDBKeySelector): Buffer => {
  if (offset !== 1) throw new Error('a selector that the driver should not need');
  return orEqual ? Buffer.concat([key, Buffer.of(0)]) : key;
};

type Recorded = Pick<FakeFoundationDB, 'optionsSet' | 'ranges' | 'watches'>;

function createTransaction(
  tx: KeyValueTransaction,
  partPairs: number,
  { optionsSet, ranges, watches }: Recorded,
): FoundationDBTransaction {
  const create = (snapshot: boolean): FoundationDBTransaction => ({
    setOption: (option) => void optionsSet.push(option),
    snapshot: () => create(true),
    get: (key) => native(() => tx.get(key, { snapshot })),
    getRangeNative(start, end, limit, targetBytes, mode, _iteration, reverse) {
      ranges.push({ limit, targetBytes, mode });
      return native(async () => {
        const wanted = limit === 0 ? Number.POSITIVE_INFINITY : limit;
        const pairs = await tx.getRangeAll(placeOf(start), placeOf(end), {
          limit: Math.min(wanted, partPairs),
          targetBytes: targetBytes === 0 ? undefined : targetBytes,
          reverse,
          snapshot,
        });
        const results = pairs.map(({ key, value }): [Buffer, Buffer] => [key, value]);
        return { results, more: results.length > 0 };
      });
    },
    getEstimatedRangeSizeBytes: (start, end) => native(() => tx.getEstimatedRangeSizeBytes(start, end)),
    getRangeSplitPoints: (start, end, bytes) => native(() => tx.getRangeSplitPoints(start, end, bytes)),
    set: (key, value) => nativeSync(() => tx.set(key, value)),
    clear: (key) => nativeSync(() => tx.clear(key)),
    clearRange: (start, end) => nativeSync(() => tx.clearRange(start, end)),
    atomicOpNative(code, key, operand) {
      nativeSync(() => {
        const operation = operationOf.get(code);
        if (operation !== undefined) tx.atomicOp(operation, key, operand);
        else if (code === MutationType.setVersionstampedKey) {
          tx.setVersionstampedKey(key.subarray(0, -4), key.readUInt32LE(key.length - 4), operand);
        } else {
          const value = operand.subarray(0, -4);
          tx.setVersionstampedValue(key, value, operand.readUInt32LE(operand.length - 4));
        }
      });
    },
    addReadConflictRange: (start, end) => nativeSync(() => tx.addReadConflictRange(start, end)),
    addReadConflictKey: (key) => nativeSync(() => tx.addReadConflictKey(key)),
    addWriteConflictRange: (start, end) => nativeSync(() => tx.addWriteConflictRange(start, end)),
    addWriteConflictKey: (key) => nativeSync(() => tx.addWriteConflictKey(key)),
    watch(key) {
      const watch = nativeSync(() => tx.watch(key));
      watches.armed += 1;
      watches.out += 1;
      void watch.changed.then(() => {
        watches.out -= 1;
      });
      return { promise: watch.changed, cancel: () => watch.cancel() };
    },
    getReadVersion: () => native(async () => version(await tx.getReadVersion())),
    getCommittedVersion: () => nativeSync(() => version(tx.getCommittedVersion())),
    getVersionstamp: () => ({ promise: native(() => tx.getVersionstamp()) }),
    getApproximateSize: () => native(() => tx.getApproximateSize()),
    rawCommit: () => native(() => tx.commit()),
    rawOnError: (code) => native(() => tx.onError(new KeyValueError(code))),
    rawCancel: () => tx.cancel(),
  });
  return create(false);
}
