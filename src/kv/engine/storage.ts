import type { KeyValue } from '../kv.ts';
import type { Key } from './keys.ts';

/** A walk over the pairs of a range in one direction. */
export interface Scan {
  /** The next pair, in buffers that may be kept; undefined at the end. */
  next(): KeyValue | undefined;
  /** Twice is fine. */
  close(): void;
}

/** The database as it was after one commit. */
export interface Snapshot {
  /** Version of that commit: microseconds by origin, so it stays below 2^53 for the next two hundred years. */
  readonly version: number;
  get(key: Key): Buffer | undefined;
  scan(begin: Key, end: Key, reverse: boolean): Scan;
  /** Number of pairs in [begin, end); walks them, without their values. */
  count(begin: Key, end: Key): number;
  /** The key that follows `offset` others in [begin, end). */
  keyAt(begin: Key, end: Key, offset: number): Key | undefined;
  /** Lets go of what the snapshot pins. Once only. */
  release(): void;
}

/** What a commit does to the data, inside the exclusive write. */
export interface StorageWriter {
  get(key: Key): Buffer | undefined;
  put(key: Key, value: Buffer): void;
  remove(key: Key): void;
  removeRange(begin: Key, end: Key): void;
}
