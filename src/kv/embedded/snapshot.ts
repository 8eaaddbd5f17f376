import type { RootDatabase } from 'lmdb';
import type { KeyValue } from '../kv.ts';
import { keyFromBytes, type Key } from '../engine/keys.ts';
import type { Scan, Snapshot, StorageWriter } from '../engine/storage.ts';
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
    this.#transaction = tables.environment.useReadTransaction();
    this.state = readState(tables, this.#transaction);
    this.version = this.state.version;
  }

  get(key: Key): Buffer | undefined {
    return this.#tables.data.get(key, { transaction: this.#transaction });
  }

  scan(begin: Key, end: Key, reverse: boolean): Scan {
    if (begin >= end) return emptyScan;
    const options = { ...rangeOptions(begin, end, reverse), transaction: this.#transaction };
    return new LmdbScan(this.#tables.data.getRange(options)[Symbol.iterator]());
  }

  count(begin: Key, end: Key): number {
    if (begin >= end) return 0;
    return this.#tables.data.getKeysCount({ start: begin, end, transaction: this.#transaction });
  }

  keyAt(begin: Key, end: Key, offset: number): Key | undefined {
    if (begin >= end) return undefined;
    const options = { start: begin, end, offset, limit: 1, transaction: this.#transaction };
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
}

/** Writes of the exclusive transaction; to be used inside it only. */
export function createTableWriter({ data }: Tables): StorageWriter {
  return {
    get: (key) => data.get(key),
    // Inside a write transaction these happen at once; the promise is a constant.
    put: (key, value) => void data.put(key, value),
    remove: (key) => void data.remove(key),
    removeRange(begin, end) {
      const keys = [...data.getKeys({ start: begin, end })];
      for (const key of keys) void data.remove(keyFromBytes(asBytes(key)));
    },
  };
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

  constructor(iterator: Iterator<unknown>) {
    this.#iterator = iterator;
  }

  next(): KeyValue | undefined {
    const result = this.#iterator.next();
    return result.done === true ? undefined : (result.value as KeyValue);
  }

  close(): void {
    this.#iterator.return?.();
  }
}
