import { limits } from '../limits.ts';

/**
 * The key-value port: the part of FoundationDB's API that Godwit uses, with its names and its meaning.
 * Every driver passes `test/conformance`; that suite is the definition, this file its summary.
 *
 * Keys and values are bytes, ordered as unsigned bytes. A transaction reads one snapshot (plus its own writes),
 * buffers its writes, and commits only if nothing it read normally was written since by another commit.
 */

export interface KeyValue {
  readonly key: Buffer;
  readonly value: Buffer;
}

export interface RangeOptions {
  /** At most this many pairs. Default: no limit. */
  readonly limit?: number | undefined;
  /** Stop after the pair with which keys and values together reach this many bytes. Default: no limit. */
  readonly targetBytes?: number | undefined;
  /** From the end towards the beginning. Default false. */
  readonly reverse?: boolean | undefined;
  /** Read without a read conflict. Default false. */
  readonly snapshot?: boolean | undefined;
}

export interface ReadOptions {
  /** Read without a read conflict. Default false. */
  readonly snapshot?: boolean | undefined;
}

/**
 * A key of FoundationDB's own that is for everybody. Its value can be read, and changed to the versionstamp of the commit,
 * `setVersionstampedValue(metadataVersionKey, <10 zero bytes>, 0)`, and in no other way: 2000 or 2004. Whoever reads it
 * should do so with `snapshot`, or it conflicts with every other user of the cluster. Every other key that begins with
 * 0xff is refused: 2004.
 */
export const metadataVersionKey: Buffer = Buffer.from('\xff/metadataVersion', 'latin1');

export function isMetadataVersionKey(key: Uint8Array): boolean {
  return key[0] === 0xff && metadataVersionKey.equals(key);
}

/** @throws KeyValueError 2000 */
export function requireMetadataVersionStamp(value: Uint8Array, offset: number): void {
  if (offset === 0 && value.length === 10 && value.every((byte) => byte === 0)) return;
  throw new KeyValueError(KeyValueErrorCode.clientInvalidOperation, {
    message: 'the metadata version takes a versionstamp and nothing else',
  });
}

/** FoundationDB's atomic operations, as far as Godwit uses them. Integers are little-endian. */
export type AtomicOperation = 'add' | 'min' | 'max' | 'byteMin' | 'byteMax' | 'bitOr' | 'compareAndClear';

export interface Watch {
  /** true: the value changed (or may have). false: the watch was canceled, or the database closed. Never rejects. */
  readonly changed: Promise<boolean>;
  cancel(): void;
}

export interface TransactionOptions {
  /** The transaction fails with 1031 when older than this. Milliseconds, default 5,000 (the engine's own limit). */
  readonly timeoutMs?: number | undefined;
  /** FoundationDB serves `batch` after everything else. Default `default`. */
  readonly priority?: 'default' | 'batch' | undefined;
  /**
   * Whether somebody waits for it who asked for it: a request, and not what the library does by itself. Movers of other
   * processes give way to those, where writers wait for each other. Default false.
   */
  readonly isRequest?: boolean | undefined;
  /** The commit fails with 2101 above this: keys, values and conflict ranges. Bytes, 32 to 10,000,000, the default. */
  readonly sizeLimitBytes?: number | undefined;
}

export interface TransactOptions extends TransactionOptions {
  /** Further attempts granted to the retry loop after the first. Default: no limit. */
  readonly retryLimit?: number | undefined;
  /** Aborts between attempts and while backing off. The promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Is told of each error after which there may be another attempt. */
  readonly onRetry?: ((error: KeyValueError) => void) | undefined;
}

export interface KeyValueTransaction {
  /** 0 in the first attempt of a `transact` call, then one more with each. */
  readonly attempt: number;
  /** Whether an earlier attempt of the same `transact` call ended with an unknown result (1021). */
  readonly afterUnknownResult: boolean;

  get(key: Uint8Array, options?: ReadOptions): Promise<Buffer | undefined>;
  /** `begin` inclusive, `end` exclusive. */
  getRange(begin: Uint8Array, end: Uint8Array, options?: RangeOptions): AsyncIterable<KeyValue>;
  getRangeAll(begin: Uint8Array, end: Uint8Array, options?: RangeOptions): Promise<KeyValue[]>;
  getReadVersion(): Promise<bigint>;
  getEstimatedRangeSizeBytes(begin: Uint8Array, end: Uint8Array): Promise<number>;
  /** Keys that cut [begin, end) into slices of about `chunkBytes`; includes both ends. */
  getRangeSplitPoints(begin: Uint8Array, end: Uint8Array, chunkBytes: number): Promise<Buffer[]>;

  set(key: Uint8Array, value: Uint8Array): void;
  clear(key: Uint8Array): void;
  clearRange(begin: Uint8Array, end: Uint8Array): void;
  atomicOp(operation: AtomicOperation, key: Uint8Array, operand: Uint8Array): void;
  /** The ten bytes of `key` from `offset` are replaced by the versionstamp when the transaction commits. */
  setVersionstampedKey(key: Uint8Array, offset: number, value: Uint8Array): void;
  /** The ten bytes of `value` from `offset` are replaced by the versionstamp when the transaction commits. */
  setVersionstampedValue(key: Uint8Array, value: Uint8Array, offset: number): void;

  addReadConflictRange(begin: Uint8Array, end: Uint8Array): void;
  addReadConflictKey(key: Uint8Array): void;
  addWriteConflictRange(begin: Uint8Array, end: Uint8Array): void;
  addWriteConflictKey(key: Uint8Array): void;

  /** Armed when the transaction commits; outlives it. Compares with the value this transaction sees. */
  watch(key: Uint8Array): Watch;
  /** Bytes of keys, values and conflict ranges so far: what counts against the limit of 10 MB. */
  getApproximateSize(): Promise<number>;
  /** 10 bytes, after the commit of a transaction that wrote. Ask before the commit, await after it. */
  getVersionstamp(): Promise<Buffer>;
  /** Version of the commit, or -1n for a transaction that wrote nothing. After the commit only. */
  getCommittedVersion(): bigint;

  /** Rejects with a `KeyValueError`; 1021 means that nobody knows whether it happened. */
  commit(): Promise<void>;
  /** Waits as the code demands and resets the transaction for another attempt, or rejects with the error. */
  onError(error: KeyValueError): Promise<void>;
  /** Ends the transaction without a commit. Twice is fine. */
  cancel(): void;
}

/** The part of a transaction that a body passed to `transact` may use. */
export type Transaction = Omit<KeyValueTransaction, 'commit' | 'onError' | 'cancel'>;

/** What a compaction did to the file. */
export interface Compaction {
  readonly bytesBefore: number;
  readonly bytesAfter: number;
}

export interface KeyValueDatabase {
  /** Which driver this is; for messages, metrics and the checks of options. Nothing else decides by it. */
  readonly engine: string;
  createTransaction(options?: TransactionOptions): KeyValueTransaction;
  /**
   * Runs `body` and commits, again after every retryable error (1021 among them): the body must be harmless
   * when repeated. Whatever else the body throws cancels the transaction and is thrown on.
   */
  transact<T>(body: (tx: Transaction) => Promise<T>, options?: TransactOptions): Promise<T>;
  /**
   * Gives the space of what was deleted back to the disk. Only where an engine keeps it: the embedded one, whose file
   * never shrinks by itself. Commits wait meanwhile, open snapshots end with 1007; killed at any point, it leaves the
   * old file or the new one, whole.
   *
   * @throws StorageException ENGINE_BUSY when others have the directory open; STORAGE_FAILED, as on a full disk: then
   *   all is as it was
   */
  readonly compact?: (() => Promise<Compaction>) | undefined;
  /**
   * How many requests other processes have committed so far, as far as this one has seen: only where writers wait for each
   * other, and so only of the embedded engine. It may be behind, and grows.
   */
  readonly requestsOfOthers?: (() => number) | undefined;
  /** Ends what this object opened. Twice is fine. */
  close(): Promise<void>;
}

/** An error with FoundationDB's code. */
export class KeyValueError extends Error {
  /** FoundationDB's number for it: 1007, 1020, 1021, 1025, 1031, 2101, 2102, 2103, ... */
  readonly code: number;

  constructor(code: number, options?: { readonly cause?: unknown; readonly message?: string }) {
    const text = options?.message ?? keyValueErrorTexts[code] ?? 'unknown error';
    super(`${text} (${code})`, options?.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'KeyValueError';
    this.code = code;
  }

  /** Whether `transact` tries again. FoundationDB's own list, as far as these codes occur here. */
  get retryable(): boolean {
    return retryableCodes.has(this.code);
  }

  /** Whether the commit may have happened all the same. */
  get maybeCommitted(): boolean {
    return maybeCommittedCodes.has(this.code);
  }
}

export const KeyValueErrorCode = {
  transactionTooOld: 1007,
  futureVersion: 1009,
  conflict: 1020,
  commitUnknownResult: 1021,
  canceled: 1025,
  timedOut: 1031,
  tooManyWatches: 1032,
  accessedUnreadable: 1036,
  processBehind: 1037,
  databaseLocked: 1038,
  proxyMemoryExceeded: 1042,
  batchThrottled: 1051,
  readProxyMemoryExceeded: 1078,
  tagThrottled: 1213,
  ioError: 1510,
  clientInvalidOperation: 2000,
  keyOutsideLegalRange: 2004,
  invertedRange: 2005,
  usedDuringCommit: 2017,
  noCommitVersion: 2021,
  transactionTooLarge: 2101,
  keyTooLarge: 2102,
  valueTooLarge: 2103,
} as const;

const retryableCodes: ReadonlySet<number> = new Set([
  1007, 1009, 1020, 1021, 1037, 1038, 1039, 1042, 1051, 1078, 1213,
]);
/** FoundationDB's own list: a client that changes the cluster's version under a commit knows as little as with 1021. */
const maybeCommittedCodes: ReadonlySet<number> = new Set([1021, 1039]);

const keyValueErrorTexts: Readonly<Record<number, string>> = {
  1007: 'transaction is too old',
  1009: 'request for a future version',
  1020: 'transaction conflicts with another',
  1021: 'it is unknown whether the transaction was committed',
  1025: 'transaction was canceled',
  1031: 'transaction timed out',
  1032: 'too many watches',
  1036: 'a key or value was read that is known only after the commit',
  1037: 'storage process does not have recent mutations',
  1038: 'database is locked',
  1039: 'the client changed to another version of the cluster; it is unknown whether the transaction was committed',
  1042: 'a commit proxy is out of memory',
  1051: 'the cluster serves no batch transactions for now',
  1078: 'a proxy that gives out versions is out of memory',
  1213: 'the cluster serves fewer transactions of this tag for now',
  1510: 'the disk failed to carry out an operation',
  2000: 'an argument is not what the operation takes',
  2004: 'key begins with 0xff, which is reserved',
  2005: 'range begins after its end',
  2017: 'transaction was used after its commit began',
  2021: 'a transaction that wrote nothing has no version',
  2101: 'transaction exceeds 10,000,000 bytes',
  2102: 'key exceeds 10,000 bytes',
  2103: 'value exceeds 100,000 bytes',
};

/** FoundationDB's limits, which every driver enforces. */
export const keyValueLimits = {
  keyBytes: limits.database.keyBytes.value,
  valueBytes: limits.database.valueBytes.value,
  transactionBytes: limits.database.transactionBytes.value,
  transactionMs: limits.database.transactionMs.value,
} as const;
