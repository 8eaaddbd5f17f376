import type { Key } from './keys.ts';
import type { Snapshot } from './storage.ts';

/** Pairs looked at from either end to learn how large one is. */
const sampledPairs = 200;
/** Pairs may have 100 kB: no more than that is read of them at either end. */
const sampledBytes = 1_000_000;

/**
 * Keys and values of [begin, end) together, in bytes: the number of pairs (exact, counted without their values)
 * times the mean size of the first and the last 200, or of 1 MB of them. Exact up to 200 pairs of no more than that; off
 * where sizes differ in the middle.
 */
export function estimateSizeBytes(snapshot: Snapshot, begin: Key, end: Key): number {
  if (begin >= end) return 0;
  const count = snapshot.count(begin, end);
  return Math.round(count * meanPairBytes(snapshot, begin, end));
}

/** Existing keys that cut [begin, end) into slices of about `chunkBytes` by the same estimate; both ends included. */
export function findSplitPoints(snapshot: Snapshot, begin: Key, end: Key, chunkBytes: number): Key[] {
  if (!(chunkBytes > 0)) throw new RangeError('chunkBytes must be above 0');
  const points: Key[] = [begin];
  const mean = begin < end ? meanPairBytes(snapshot, begin, end) : 0;
  if (mean > 0) {
    const step = Math.max(1, Math.round(chunkBytes / mean));
    let next = snapshot.keyAt(begin, end, step);
    while (next !== undefined) {
      points.push(next);
      next = snapshot.keyAt(next, end, step);
    }
  }
  points.push(end);
  return points;
}

function meanPairBytes(snapshot: Snapshot, begin: Key, end: Key): number {
  let bytes = 0;
  let pairs = 0;
  for (const reverse of [false, true]) {
    const scan = snapshot.scan(begin, end, reverse);
    const most = bytes + sampledBytes;
    let count = 0;
    for (; count < sampledPairs && bytes < most; count++) {
      const pair = scan.next();
      if (pair === undefined) break;
      bytes += pair.key.length + pair.value.length;
      pairs++;
    }
    scan.close();
    // All of it was seen on the way there.
    if (count < sampledPairs && bytes < most) break;
  }
  return pairs === 0 ? 0 : bytes / pairs;
}
