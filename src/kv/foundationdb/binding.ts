/**
 * The part of the npm package `foundationdb` (2.0.1) that this driver uses, by its shape: the package is an optional peer,
 * so nothing of it may stand in our declarations. `test/unit/kv/foundationdb-loading.test.ts` holds this against its own types.
 */
export interface FoundationDBBinding {
  setAPIVersion(version: number, headerVersion?: number): void;
  open(clusterFile?: string): FoundationDBDatabase;
}

/** An opened database, of ours or of the host. Keys and values as bytes only at its root. */
export interface FoundationDBDatabase {
  getRoot(): FoundationDBDatabase;
  rawCreateTransaction(options?: FoundationDBTransactionOptions): FoundationDBTransaction;
  close(): void;
}

export interface FoundationDBTransactionOptions {
  /** Milliseconds; 0: none. Over all attempts. */
  readonly timeout?: number;
  /** Attempts that `onError` grants after the first; -1: any. */
  readonly retry_limit?: number;
  /** Bytes. */
  readonly size_limit?: number;
  readonly priority_batch?: true;
}

/** A place in the order of keys: what is not below `key`, or with `orEqual` what is behind it. */
export interface FoundationDBKeySelector {
  key: Buffer;
  orEqual: boolean;
  offset: number;
  _isKeySelector: true;
}

export interface FoundationDBTransaction {
  setOption(option: number): void;
  snapshot(): FoundationDBTransaction;
  get(key: Buffer): Promise<Buffer | undefined>;
  getRangeNative(
    start: FoundationDBKeySelector,
    end: FoundationDBKeySelector,
    limit: number,
    targetBytes: number,
    streamingMode: number,
    iteration: number,
    reverse: boolean,
  ): Promise<{ results: [Buffer, Buffer][]; more: boolean }>;
  getEstimatedRangeSizeBytes(start: Buffer, end: Buffer): Promise<number>;
  getRangeSplitPoints(start: Buffer, end: Buffer, chunkBytes: number): Promise<Buffer[]>;
  set(key: Buffer, value: Buffer): void;
  clear(key: Buffer): void;
  clearRange(start: Buffer, end: Buffer): void;
  atomicOpNative(operation: number, key: Buffer, operand: Buffer): void;
  addReadConflictRange(start: Buffer, end: Buffer): void;
  addReadConflictKey(key: Buffer): void;
  addWriteConflictRange(start: Buffer, end: Buffer): void;
  addWriteConflictKey(key: Buffer): void;
  watch(key: Buffer): { readonly promise: Promise<boolean>; cancel(): void };
  /** Eight bytes, big-endian. */
  getReadVersion(): Promise<Buffer>;
  getCommittedVersion(): Buffer;
  getVersionstamp(): { readonly promise: Promise<Buffer> };
  getApproximateSize(): Promise<number>;
  rawCommit(): Promise<void>;
  rawOnError(code: number): Promise<void>;
  rawCancel(): void;
}

/** Codes of the operations that are used. Source: `fdb.options` of FoundationDB 7.3. */
export const MutationType = {
  add: 2,
  bitOr: 7,
  max: 12,
  min: 13,
  setVersionstampedKey: 14,
  setVersionstampedValue: 15,
  byteMin: 16,
  byteMax: 17,
  compareAndClear: 20,
} as const;

/**
 * `wantAll`: all of it, 80 kB in an answer; the default mode took 9 round trips for 1,000 rows.
 * `exact`: what row and byte limits allow, in one answer.
 */
export const StreamingMode = { wantAll: -2, exact: 0 } as const;

export const TransactionOption = { priorityBatch: 201 } as const;
