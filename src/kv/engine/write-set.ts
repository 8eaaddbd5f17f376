import type { ConflictSet, KeyRange } from './conflict-set.ts';
import { compareKeys, lowerBound, type Key } from './keys.ts';

/** What one or several commits wrote, as far as later commits have to know it. */
export interface WriteSet {
  /** Single keys, sorted. */
  readonly keys: readonly Key[];
  readonly ranges: readonly KeyRange[];
}

/** A write set as the history keeps it: with versions, and with what tells cheaply that it does not matter. */
export interface CommittedWrites extends WriteSet {
  /** Version per key; absent: all have `maxVersion`. */
  readonly keyVersions?: readonly number[] | undefined;
  readonly rangeVersions?: readonly number[] | undefined;
  readonly maxVersion: number;
  /** Number of keys and ranges: known without looking at them. */
  readonly size: number;
  readonly min: Key;
  readonly max: Key;
}

export function createCommittedWrites(version: number, { keys, ranges }: WriteSet): CommittedWrites {
  const { min, max } = boundsOf(keys, ranges);
  return { keys, ranges, maxVersion: version, size: keys.length + ranges.length, min, max };
}

/** Whether anything in `reads` was written after version `since`. */
export function isOverwritten(reads: ConflictSet, writes: CommittedWrites, since: number): boolean {
  if (writes.maxVersion <= since || !reads.mayTouch(writes.min, writes.max)) return false;
  for (const key of reads.keys) if (wroteKey(writes, key, since)) return true;
  for (const { begin, end } of reads.ranges) if (wroteWithin(writes, begin, end, since)) return true;
  return false;
}

function wroteKey(writes: CommittedWrites, key: Key, since: number): boolean {
  if (key < writes.min || key > writes.max) return false;
  const index = lowerBound(writes.keys, key);
  if (writes.keys[index] === key && versionAt(writes, writes.keyVersions, index) > since) return true;
  return writes.ranges.some(
    ({ begin, end }, at) => begin <= key && key < end && versionAt(writes, writes.rangeVersions, at) > since,
  );
}

function wroteWithin(writes: CommittedWrites, begin: Key, end: Key, since: number): boolean {
  if (end <= writes.min || begin > writes.max) return false;
  for (let index = lowerBound(writes.keys, begin); index < writes.keys.length; index++) {
    if ((writes.keys[index] as Key) >= end) break;
    if (versionAt(writes, writes.keyVersions, index) > since) return true;
  }
  return writes.ranges.some(
    (range, at) =>
      range.begin < end && range.end > begin && versionAt(writes, writes.rangeVersions, at) > since,
  );
}

/** One set out of several: a key written by more than one keeps its newest version. Ranges are kept apart. */
export function mergeCommittedWrites(all: readonly CommittedWrites[]): CommittedWrites {
  const newest = new Map<Key, number>();
  const ranges: KeyRange[] = [];
  const rangeVersions: number[] = [];
  let maxVersion = 0;
  for (const writes of all) {
    writes.keys.forEach((key, index) => {
      const version = versionAt(writes, writes.keyVersions, index);
      if (version > (newest.get(key) ?? 0)) newest.set(key, version);
    });
    writes.ranges.forEach((range, index) => {
      ranges.push(range);
      rangeVersions.push(versionAt(writes, writes.rangeVersions, index));
    });
    if (writes.maxVersion > maxVersion) maxVersion = writes.maxVersion;
  }
  const keys = [...newest.keys()].sort(compareKeys);
  const keyVersions = keys.map((key) => newest.get(key) as number);
  const size = keys.length + ranges.length;
  return { keys, keyVersions, ranges, rangeVersions, maxVersion, size, ...boundsOf(keys, ranges) };
}

/** Whether the value of `key` may have changed by it. */
export function writesKey({ keys, ranges }: WriteSet, key: Key): boolean {
  return keys[lowerBound(keys, key)] === key || ranges.some(({ begin, end }) => begin <= key && key < end);
}

function versionAt(writes: CommittedWrites, versions: readonly number[] | undefined, index: number): number {
  return versions === undefined ? writes.maxVersion : (versions[index] as number);
}

export function boundsOf(keys: readonly Key[], ranges: readonly KeyRange[]): { min: Key; max: Key } {
  let min = keys[0] ?? ranges[0]?.begin ?? '';
  let max = keys.at(-1) ?? '';
  for (const { begin, end } of ranges) {
    if (begin < min) min = begin;
    if (end > max) max = end;
  }
  return { min, max };
}
