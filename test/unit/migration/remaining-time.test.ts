import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addEffort, paceMemoryMs } from '../../../src/migration/passes/effort.ts';
import type { RemainingRange } from '../../../src/migration/remaining-time.ts';
import { remainingOf } from '../../../src/migration/remaining-time.ts';
import { drawSeed } from '../../rig/seed.ts';

interface Moved {
  readonly records: number;
  readonly bytes: number;
  readonly ownMs: number;
  /** Default: what it took itself, as with nothing beside it. */
  readonly sharedMs?: number;
  readonly leastMs?: number;
  readonly atMs?: number;
}

const effortOf = ({ records, bytes, ownMs, sharedMs = ownMs, leastMs = 0, atMs = 0 }: Moved) =>
  addEffort(undefined, { records, bytes, ownMs, sharedMs, leastMs, atMs });

const untouched = (records: number, bytes: number): RemainingRange => ({
  done: false,
  share: 0,
  estimate: { records, bytes },
});
const finished = (moved: Moved, estimate = { records: moved.records, bytes: moved.bytes }) => ({
  done: true,
  share: 1,
  estimate,
  effort: effortOf(moved),
});

describe('the time that is left of a pass', () => {
  it('is as long as what is like it took', () => {
    const rows = [finished({ records: 100, bytes: 10_000, ownMs: 500 }), untouched(300, 30_000)];
    expect(remainingOf(rows)).toEqual({ records: 300, processMs: 1_500 });
  });

  it('is unknown before anything was timed, and nothing at the end', () => {
    const begun = addEffort(undefined, {
      records: 10,
      bytes: 1_000,
      ownMs: 100,
      sharedMs: undefined,
      leastMs: 0,
      atMs: 0,
    });
    expect(remainingOf([untouched(100, 10_000)])).toEqual({ records: 100, processMs: null });
    expect(remainingOf([{ ...untouched(100, 10_000), effort: begun }])).toEqual({
      records: 90,
      processMs: null,
    });
    expect(remainingOf([finished({ records: 1, bytes: 1, ownMs: 1 })])).toEqual({ records: 0, processMs: 0 });
  });

  it('is not told for ranges that were planned without an estimate', () => {
    const rows = [finished({ records: 100, bytes: 10_000, ownMs: 500 }), { done: false, share: 0 }];
    expect(remainingOf(rows)).toBeUndefined();
  });

  it('is unknown as long as records are left that are far larger than any that was moved', () => {
    const small = finished({ records: 100, bytes: 10_000, ownMs: 100 });
    expect(remainingOf([small, untouched(10, 10_000)])?.processMs).toBeNull();
    expect(remainingOf([small, untouched(10, 3_000)])?.processMs).toBeCloseTo(10);
  });

  it('is unknown as long as most of what has begun is not timed', () => {
    const timed = finished({ records: 100, bytes: 10_000, ownMs: 100 });
    const under = (records: number): RemainingRange => ({
      ...untouched(1_000, 100_000),
      effort: addEffort(undefined, {
        records,
        bytes: records * 100,
        ownMs: records,
        sharedMs: undefined,
        leastMs: 0,
        atMs: 0,
      }),
    });
    expect(remainingOf([timed, under(101)])?.processMs).toBeNull();
    expect(remainingOf([timed, under(99)])?.processMs).toBeCloseTo(901);
  });

  it('counts how many ranges went on side by side, whatever each of them took by itself', () => {
    const rows = [
      finished({ records: 100, bytes: 10_000, ownMs: 800, sharedMs: 200 }),
      untouched(100, 10_000),
    ];
    expect(remainingOf(rows)?.processMs).toBeCloseTo(200);
  });

  it('is no shorter than a limit demands', () => {
    const paced = { records: 100, bytes: 10_000, ownMs: 100, sharedMs: 400 };
    const left = untouched(100, 10_000);
    expect(remainingOf([finished({ ...paced, leastMs: 1_000 }), left])?.processMs).toBeCloseTo(1_000);
    expect(remainingOf([finished({ ...paced, leastMs: 300 }), left])?.processMs).toBeCloseTo(400);
  });

  it('follows a pace that has changed, and remembers which ranges were dear', () => {
    const lateMs = 10 * paceMemoryMs;
    const rows = [
      finished({ records: 100, bytes: 10_000, ownMs: 100, sharedMs: 100 }),
      finished({ records: 100, bytes: 100_000, ownMs: 1_000, sharedMs: 1_000 }),
      finished({ records: 100, bytes: 10_000, ownMs: 100, sharedMs: 300, atMs: lateMs }),
    ];
    expect(remainingOf([...rows, untouched(100, 100_000)])?.processMs).toBeCloseTo(3_000, -1);
  });

  it('corrects estimates by how far they were off', () => {
    const rows = Array.from({ length: 50 }, () =>
      finished({ records: 200, bytes: 20_000, ownMs: 200 }, { records: 100, bytes: 10_000 }),
    );
    const left = Array.from({ length: 50 }, () => untouched(100, 10_000));
    const records = remainingOf([...rows, ...left])?.records ?? 0;
    expect(records).toBeGreaterThan(50 * 175);
    expect(records).toBeLessThanOrEqual(50 * 200);
  });

  it('goes by the keys in a range that has more than was estimated', () => {
    const effort = effortOf({ records: 150, bytes: 15_000, ownMs: 150 });
    const row = { done: false, share: 0.75, estimate: { records: 100, bytes: 10_000 }, effort };
    expect(remainingOf([row])?.records).toBeCloseTo(50);
    expect(remainingOf([row])?.processMs).toBeCloseTo(50);
    // Keys lie where they like: one that is hardly beyond does not have a hundred times as much before it.
    expect(remainingOf([{ ...row, share: 0.01 }])?.records).toBeCloseTo(50);
    const hardlyBeyond = effortOf({ records: 101, bytes: 10_100, ownMs: 101 });
    expect(remainingOf([{ ...row, share: 0.01, effort: hardlyBeyond }])?.records).toBeCloseTo(25);
  });

  it('is right wherever a record takes time by itself, by its bytes, or by both', () => {
    const seed = drawSeed('the time that is left');
    const amount = fc.record({
      records: fc.integer({ min: 10, max: 1_000 }),
      size: fc.integer({ min: 50, max: 500 }),
    });
    fc.assert(
      fc.property(
        fc.record({
          perRecord: fc.double({ min: 0, max: 5, noNaN: true }),
          perKilobyte: fc.double({ min: 0, max: 5, noNaN: true }),
          sideBySide: fc.integer({ min: 1, max: 8 }),
          moved: fc.array(amount, { maxLength: 20 }),
          left: fc.array(amount, { minLength: 1, maxLength: 20 }),
        }),
        ({ perRecord, perKilobyte, sideBySide, moved, left }) => {
          const costOf = (records: number, bytes: number) =>
            records * (0.01 + perRecord) + (bytes / 1_000) * perKilobyte;
          // Small ones and large ones: what they differ in can be told.
          const done = [...moved, { records: 500, size: 50 }, { records: 200, size: 500 }];
          const rows = [
            ...done.map(({ records, size }) => {
              const ownMs = costOf(records, records * size);
              return finished({ records, bytes: records * size, ownMs, sharedMs: ownMs / sideBySide });
            }),
            ...left.map(({ records, size }) => untouched(records, records * size)),
          ];
          const cost = left.reduce((sum, { records, size }) => sum + costOf(records, records * size), 0);
          const expected = cost / sideBySide;
          expect(Math.abs((remainingOf(rows)?.processMs ?? 0) / expected - 1)).toBeLessThan(0.05);
        },
      ),
      { seed },
    );
  });
});
