import type { Clock } from '../../ports/clock.ts';
import { sleep } from '../../ports/clock.ts';
import type { Key } from './keys.ts';
import type { Snapshot } from './storage.ts';

/**
 * What lies in a range, without reading it. Pairs are counted, a slice after the other, and a few of each slice are looked
 * at to learn how large one is. Between two slices everybody else has a turn: millions of pairs take a while to count.
 */

/** In a slice at most; counting them is a fraction of a millisecond. */
const pairsPerSlice = 1_000;
/** Of fewer pairs there are so many slices, of at least so many pairs: sizes may differ in the middle. */
const fewestSlices = 32;
const fewestPairs = 200;
/** Others have a turn after so many. */
const pairsPerTurn = 10_000;
/** Looked at from either end of a slice, and of the whole where that is one slice. */
const sampledPerSlice = 20;
const sampledPairs = 200;
/** Pairs may have 100 kB: no more than that is read of them at either end. */
const sampledBytes = 1_000_000;
/** A snapshot lives for 5,000 ms. What could not be counted by then is judged by its share of the keys. Milliseconds. */
const countingMs = 2_000;

/** What it takes to look at a range for a while. */
export interface EstimateScope {
  readonly clock: Clock;
  /** The snapshot, for as long as it is there. @throws KeyValueError 1007 */
  readonly snapshot: () => Snapshot;
  readonly begin: Key;
  readonly end: Key;
}

interface Slice {
  readonly begin: Key;
  readonly end: Key;
  readonly pairs: number;
  readonly bytes: number;
}

/** Keys and values together, in bytes. Exact up to 200 pairs of no more than 1 MB at either end. */
export async function estimateSizeBytes(scope: EstimateScope): Promise<number> {
  let bytes = 0;
  let counted = scope.begin;
  for await (const slice of slicesOf(scope, sliceOf(scope))) {
    bytes += slice.bytes;
    counted = slice.end;
  }
  return Math.round(counted === scope.end ? bytes : bytes / shareBefore(scope, counted));
}

/**
 * Existing keys that cut the range into slices of about `chunkBytes`, by what their own pairs have; both ends included.
 * What could not be looked at in time is not cut.
 */
export async function findSplitPoints(scope: EstimateScope, chunkBytes: number): Promise<Key[]> {
  if (!(chunkBytes > 0)) throw new RangeError('chunkBytes must be above 0');
  const { begin, end } = scope;
  const points: Key[] = [begin];
  const mean = begin < end ? meanPairBytes(scope.snapshot(), begin, end, sampledPairs) : 0;
  // Fine enough for cuts where the bytes are, and no finer.
  const pairs = Math.round(chunkBytes / Math.max(1, mean) / grain);
  let bytes = 0;
  for await (const slice of slicesOf(scope, Math.min(pairsPerSlice, Math.max(1, pairs)))) {
    // One slice may be as large as many chunks, where pairs are larger than those at the ends.
    const parts = Math.min(slice.pairs, Math.floor(slice.bytes / chunkBytes));
    for (let part = 1; part < parts; part++) {
      const key = scope.snapshot().keyAt(slice.begin, slice.end, Math.floor((part * slice.pairs) / parts));
      if (key !== undefined) points.push(key);
    }
    bytes += slice.bytes / Math.max(1, parts);
    // Where the chunk is filled best; what is too much or too little goes into the next one.
    if (bytes + slice.bytes / 2 < chunkBytes) continue;
    if (slice.end < end) points.push(slice.end);
    bytes = Math.max(0, bytes - chunkBytes);
  }
  points.push(end);
  return points;
}

/** Pairs in a slice. */
function sliceOf({ snapshot, begin, end }: EstimateScope): number {
  if (begin >= end || snapshot().keyAt(begin, end, fewestSlices * pairsPerSlice) !== undefined)
    return pairsPerSlice;
  return Math.max(fewestPairs, Math.ceil(snapshot().count(begin, end) / fewestSlices));
}

/** Slices to a chunk. */
const grain = 8;

/** Behind the last one lies nothing, or what there was no time for. */
async function* slicesOf(
  { clock, snapshot, begin, end }: EstimateScope,
  most: number,
): AsyncGenerator<Slice, void, undefined> {
  const startedMs = clock.monotonicMs();
  let countedInTurn = 0;
  for (let from = begin; from < end;) {
    const next = snapshot().keyAt(from, end, most);
    const to = next ?? end;
    const isWhole = from === begin && next === undefined;
    const pairs = next === undefined ? snapshot().count(from, end) : most;
    const mean = meanPairBytes(snapshot(), from, to, isWhole ? sampledPairs : sampledPerSlice);
    yield { begin: from, end: to, pairs, bytes: pairs * mean };
    if (clock.monotonicMs() - startedMs > countingMs) return;
    countedInTurn += pairs;
    if (countedInTurn >= pairsPerTurn && next !== undefined) {
      await sleep(clock, 0);
      countedInTurn = 0;
    }
    from = to;
  }
}

function meanPairBytes(snapshot: Snapshot, begin: Key, end: Key, most: number): number {
  let bytes = 0;
  let pairs = 0;
  for (const reverse of [false, true]) {
    const scan = snapshot.scan(begin, end, reverse);
    const mostBytes = bytes + sampledBytes;
    let count = 0;
    for (; count < most && bytes < mostBytes; count++) {
      const pair = scan.next();
      if (pair === undefined) break;
      bytes += pair.key.length + pair.value.length;
      pairs++;
    }
    scan.close();
    // All of it was seen on the way there.
    if (count < most && bytes < mostBytes) break;
  }
  return pairs === 0 ? 0 : bytes / pairs;
}

/** Which part of the keys lies before one, by the bytes behind what the first and the last key have in common. */
function shareBefore({ snapshot, begin, end }: EstimateScope, key: Key): number {
  const first = edgeKey(snapshot(), begin, end, false);
  const last = edgeKey(snapshot(), begin, end, true);
  let common = 0;
  while (common < first.length && first[common] === last[common]) common++;
  const [from, at, to] = [first, key, last].map((text) => numberAt(text, common)) as [number, number, number];
  return Math.min(1, Math.max(0.01, (at - from) / Math.max(1, to - from)));
}

function edgeKey(snapshot: Snapshot, begin: Key, end: Key, reverse: boolean): Key {
  const scan = snapshot.scan(begin, end, reverse);
  const pair = scan.next();
  scan.close();
  return pair?.key.toString('latin1') ?? begin;
}

/** Six bytes: what a number holds exactly. */
function numberAt(text: Key, start: number): number {
  let value = 0;
  for (let at = start; at < start + 6; at++)
    value = value * 256 + (at < text.length ? text.charCodeAt(at) : 0);
  return value;
}
