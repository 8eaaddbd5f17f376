import { describe, expect, it } from 'vitest';
import type { EstimateScope } from '../../../src/kv/engine/estimates.ts';
import { estimateSizeBytes, findSplitPoints } from '../../../src/kv/engine/estimates.ts';
import { lowerBound } from '../../../src/kv/engine/keys.ts';
import type { Snapshot } from '../../../src/kv/engine/storage.ts';
import { systemClock } from '../../../src/ports/clock.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

const keyOf = (n: number) => `k${n.toString().padStart(7, '0')}`;
const begin = 'k';
const end = 'l';

/** So many pairs, of which counting one takes so long. */
function scopeOf(pairs: number, sizeOf: (n: number) => number, msPerPair = 0): EstimateScope {
  const clock = createVirtualClock();
  const keys = Array.from({ length: pairs }, (_, n) => keyOf(n));
  const within = (from: string, to: string) => [lowerBound(keys, from), lowerBound(keys, to)] as const;
  const snapshot: Snapshot = {
    version: 1,
    get: () => undefined,
    count(from, to) {
      const [first, last] = within(from, to);
      clock.advance((last - first) * msPerPair);
      return last - first;
    },
    keyAt(from, to, offset) {
      const [first, last] = within(from, to);
      clock.advance(Math.min(offset, last - first) * msPerPair);
      return first + offset < last ? keys[first + offset] : undefined;
    },
    scan(from, to, reverse) {
      let [first, last] = within(from, to);
      return {
        next() {
          if (first >= last) return undefined;
          const n = reverse ? --last : first++;
          return { key: Buffer.from(keyOf(n)), value: Buffer.alloc(sizeOf(n) - keyOf(n).length) };
        },
        close: () => undefined,
      };
    },
    release: () => undefined,
  };
  // Turns are real ones.
  const { setTimeout, clearTimeout } = systemClock;
  return { clock: { ...clock, setTimeout, clearTimeout }, snapshot: () => snapshot, begin, end };
}

const even = () => 100;
/** The last tenth is a hundred times as large. */
const skewed = (pairs: number) => (n: number) => (n < pairs * 0.9 ? 100 : 10_000);
const totalOf = (pairs: number, sizeOf: (n: number) => number) =>
  Array.from({ length: pairs }, (_, n) => sizeOf(n)).reduce((sum, size) => sum + size, 0);

describe('the size of a range', () => {
  it.each([
    [0, even],
    [1, even],
    [200, (n: number) => 20 + n],
  ] as const)('is exact for %i pairs', async (pairs, sizeOf) => {
    expect(await estimateSizeBytes(scopeOf(pairs, sizeOf))).toBe(totalOf(pairs, sizeOf));
  });

  it.each([201, 3_000, 32_000, 32_001, 60_000])('is about right for %i, even or not', async (pairs) => {
    expect(await estimateSizeBytes(scopeOf(pairs, even))).toBe(totalOf(pairs, even));
    if (pairs < 1_000) return;
    const total = totalOf(pairs, skewed(pairs));
    const ratio = (await estimateSizeBytes(scopeOf(pairs, skewed(pairs)))) / total;
    expect(Math.abs(ratio - 1)).toBeLessThan(0.25);
  });

  it('is judged by the share of the keys where they take too long to count', async () => {
    // 2,000 ms are enough for a third; digits fill a part of their bytes, so that shares are about right.
    const ratio = (await estimateSizeBytes(scopeOf(60_000, even, 0.05))) / totalOf(60_000, even);
    expect(Math.abs(ratio - 1)).toBeLessThan(0.2);
  });

  it('is found out while others have their turns', async () => {
    let turns = 0;
    let isOver = false;
    const other = () => {
      turns += 1;
      if (!isOver) setImmediate(other);
    };
    setImmediate(other);
    await estimateSizeBytes(scopeOf(60_000, even));
    isOver = true;
    expect(turns).toBeGreaterThanOrEqual(5);
  });
});

describe('slices of a range', () => {
  it.each([
    ['even', 3_000, even, 10],
    ['skewed', 3_000, skewed(3_000), 10],
    ['even', 60_000, even, 64],
    ['skewed', 60_000, skewed(60_000), 64],
  ] as const)('are about as large as they shall be: %s, %i pairs', async (_, pairs, sizeOf, slices) => {
    const total = totalOf(pairs, sizeOf);
    const points = await findSplitPoints(scopeOf(pairs, sizeOf), total / slices);
    expect(points.at(0)).toBe(begin);
    expect(points.at(-1)).toBe(end);
    const cuts = points.slice(1, -1).map((key) => Number(key.slice(1)));
    const sizes = [0, ...cuts].map((from, at) => {
      const to = cuts[at] ?? pairs;
      return totalOf(pairs, (n) => (n >= from && n < to ? sizeOf(n) : 0));
    });
    // The last one is what is left.
    for (const size of sizes.slice(0, -1)) {
      expect(size / (total / slices)).toBeGreaterThan(0.4);
      expect(size / (total / slices)).toBeLessThan(1.9);
    }
    expect(sizes.at(-1)).toBeLessThan((2 * total) / slices);
  });

  it('are as small as a pair, and never smaller', async () => {
    const points = await findSplitPoints(scopeOf(50, even), 1);
    expect(points).toEqual([begin, ...Array.from({ length: 49 }, (_, n) => keyOf(n + 1)), end]);
  });

  it('end with one that could not be looked at in time', async () => {
    const total = totalOf(60_000, even);
    const points = await findSplitPoints(scopeOf(60_000, even, 0.05), total / 60);
    expect(points.length).toBeGreaterThan(15);
    expect(points.length).toBeLessThan(50);
    expect(points.at(-1)).toBe(end);
  });
});
