import type { RootDatabase } from 'lmdb';
import { KeyValueError, KeyValueErrorCode, type KeyValue } from '../kv.ts';
import { keyFromBytes, type Key } from '../engine/keys.ts';
import type { Scan, Snapshot, StorageWriter } from '../engine/storage.ts';
import {
  bucketKeyOf,
  decodeBucket,
  encodeBucket,
  isBucketKey,
  isLong,
  pairsInRange,
  physicalRange,
  restOf,
  withPair,
} from './long-keys.ts';
import { readState, type EngineState } from './state.ts';
import type { Tables } from './tables.ts';

/** lmdb's read transaction: the class is not exported, its shape is. */
export type ReadTransaction = ReturnType<RootDatabase['useReadTransaction']>;

/** A snapshot of the newest commit of all processes. Those opened without a commit in between share one reader. */
export class LmdbSnapshot implements Snapshot {
  readonly version: number;
  readonly state: EngineState;
  readonly #tables: Tables;
  readonly #transaction: ReadTransaction;

  constructor(tables: Tables) {
    this.#tables = tables;
    // Without the reset lmdb goes on with a reader from before another process's commit.
    tables.environment.resetReadTxn();
    this.#transaction = beginReading(tables);
    this.state = readState(tables, this.#transaction);
    this.version = this.state.version;
  }

  get(key: Key): Buffer | undefined {
    const options = { transaction: this.#transaction };
    if (!isLong(key)) return this.#tables.data.get(key, options);
    const bucket = this.#tables.data.get(bucketKeyOf(key), options);
    return bucket === undefined ? undefined : valueIn(bucket, key);
  }

  scan(begin: Key, end: Key, reverse: boolean): Scan {
    if (begin >= end) return emptyScan;
    const physical = physicalRange(begin, end);
    const options = {
      ...rangeOptions(physical.begin, physical.end, reverse),
      transaction: this.#transaction,
    };
    return new LmdbScan(this.#tables.data.getRange(options)[Symbol.iterator](), begin, end, reverse);
  }

  count(begin: Key, end: Key): number {
    if (begin >= end) return 0;
    if (this.#hasBuckets()) return [...this.#keys(begin, end)].length;
    const physical = physicalRange(begin, end);
    const options = { start: physical.begin, end: physical.end, transaction: this.#transaction };
    return this.#tables.data.getKeysCount(options);
  }

  keyAt(begin: Key, end: Key, offset: number): Key | undefined {
    if (begin >= end) return undefined;
    if (this.#hasBuckets()) {
      let left = offset;
      for (const key of this.#keys(begin, end)) if (left-- === 0) return key;
      return undefined;
    }
    const physical = physicalRange(begin, end);
    const place = { start: physical.begin, end: physical.end, offset, limit: 1 };
    const options = { ...place, transaction: this.#transaction };
    for (const key of this.#tables.data.getKeys(options)) return keyFromBytes(asBytes(key));
    return undefined;
  }

  /** Write sets of commits after `version`, oldest first. */
  *logAfter(version: Key): Generator<{ readonly key: Key; readonly value: Buffer }> {
    const options = { start: version, exclusiveStart: true, transaction: this.#transaction };
    for (const { key, value } of this.#tables.log.getRange(options)) {
      yield { key: keyFromBytes(asBytes(key)), value };
    }
  }

  release(): void {
    this.#transaction.done();
  }

  /** Where there is none, what LMDB counts is right, and it counts without reading values. */
  #hasBuckets(): boolean {
    const { meta } = this.#tables;
    return meta.get(bucketsKey, { transaction: this.#transaction }) !== undefined;
  }

  *#keys(begin: Key, end: Key): Generator<Key> {
    const scan = this.scan(begin, end, false);
    for (let pair = scan.next(); pair !== undefined; pair = scan.next()) yield keyFromBytes(pair.key);
    scan.close();
  }
}

/** LMDB's code for a table of readers that is full: MDB_READERS_FULL. */
const readersFull = -30790;

/** @throws KeyValueError 1037 where all readers are taken: some end soon, no snapshot grows older than 5 s. */
function beginReading({ environment }: Tables): ReadTransaction {
  try {
    return environment.useReadTransaction();
  } catch (error) {
    if ((error as { readonly code?: unknown }).code !== readersFull) throw error;
    const message = 'all readers of the directory are in use';
    throw new KeyValueError(KeyValueErrorCode.processBehind, { cause: error, message });
  }
}

/** In the table of metadata: there once a key was long enough for a bucket. */
const bucketsKey = 'buckets';

function valueIn(bucket: Buffer, key: Key): Buffer | undefined {
  const rest = restOf(key);
  const value = decodeBucket(bucket).find((pair) => pair.rest === rest)?.value;
  return value === undefined ? undefined : Buffer.from(value);
}

/** Writes of the exclusive transaction; to be used inside it only. */
export function createTableWriter({ data, meta }: Tables): StorageWriter {
  // Inside a write transaction these happen at once; the promise is a constant.
  const changeBucket = (key: Key, value: Buffer | undefined): void => {
    const bucketKey = bucketKeyOf(key);
    const bucket = data.get(bucketKey);
    if (bucket === undefined && value === undefined) return;
    const pairs = withPair(bucket === undefined ? [] : decodeBucket(bucket), restOf(key), value);
    if (pairs.length === 0) void data.remove(bucketKey);
    else void data.put(bucketKey, encodeBucket(pairs));
    if (bucket === undefined) void meta.put(bucketsKey, Buffer.of(1));
  };
  return {
    get(key) {
      if (!isLong(key)) return data.get(key);
      const bucket = data.get(bucketKeyOf(key));
      return bucket === undefined ? undefined : valueIn(bucket, key);
    },
    put: (key, value) => (isLong(key) ? changeBucket(key, value) : void data.put(key, value)),
    remove: (key) => (isLong(key) ? changeBucket(key, undefined) : void data.remove(key)),
    removeRange(begin, end) {
      const physical = physicalRange(begin, end);
      const keys = [...data.getKeys({ start: physical.begin, end: physical.end })];
      for (const key of keys.map(asBytes)) {
        if (!isBucketKey(key)) void data.remove(keyFromBytes(key));
        else removeFromBucket(data, key, begin, end);
      }
    },
  };
}

function removeFromBucket(data: Tables['data'], bucketKey: Buffer, begin: Key, end: Key): void {
  const prefix = keyFromBytes(bucketKey);
  const bucket = data.get(prefix);
  if (bucket === undefined) return;
  const left = decodeBucket(bucket).filter(({ rest }) => prefix + rest < begin || prefix + rest >= end);
  if (left.length === 0) void data.remove(prefix);
  else void data.put(prefix, encodeBucket(left));
}

function rangeOptions(begin: Key, end: Key, reverse: boolean) {
  if (!reverse) return { start: begin, end };
  return { start: end, exclusiveStart: true, end: begin, inclusiveEnd: true, reverse: true };
}

/** Keys go in as strings and come out as bytes, which saves a conversion on the way to the caller. */
function asBytes(key: unknown): Buffer {
  return key as Buffer;
}

const emptyScan: Scan = { next: () => undefined, close: () => undefined };

class LmdbScan implements Scan {
  readonly #iterator: Iterator<unknown>;
  readonly #begin: Key;
  readonly #end: Key;
  readonly #reverse: boolean;
  /** Of the bucket that is being walked, the next one last. */
  #waiting: KeyValue[] = [];

  constructor(iterator: Iterator<unknown>, begin: Key, end: Key, reverse: boolean) {
    this.#iterator = iterator;
    this.#begin = begin;
    this.#end = end;
    this.#reverse = reverse;
  }

  next(): KeyValue | undefined {
    for (;;) {
      const waiting = this.#waiting.pop();
      if (waiting !== undefined) return waiting;
      const result = this.#iterator.next();
      if (result.done === true) return undefined;
      const pair = result.value as KeyValue;
      if (!isBucketKey(pair.key)) return pair;
      const pairs = pairsInRange(pair.key, pair.value, this.#begin, this.#end).map((found) => found.pair);
      this.#waiting = this.#reverse ? pairs : pairs.reverse();
    }
  }

  close(): void {
    this.#iterator.return?.();
  }
}
