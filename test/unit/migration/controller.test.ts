import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ChunkResult } from '../../../src/migration/passes/controller.ts';
import {
  chunkLimits,
  initialChunkControl,
  nextChunkControl,
} from '../../../src/migration/passes/controller.ts';

const { startRecords, maxRecords, maxBytes, maxMutations, targetMs } = chunkLimits;

/** A chunk of as many records as asked for, each of which costs the same. */
const committed = (
  records: number,
  { ms = 0.01, bytes = 200, mutations = 1 }: { ms?: number; bytes?: number; mutations?: number } = {},
): ChunkResult => ({
  type: 'committed',
  records,
  tookMs: records * ms,
  bytes: records * bytes,
  mutations: records * mutations,
});

const run = (control: { records: number }, times: number, resultOf: (records: number) => ChunkResult) => {
  let at = control;
  for (let n = 0; n < times; n += 1) at = nextChunkControl(at, resultOf(at.records));
  return at;
};

const results: fc.Arbitrary<ChunkResult> = fc.oneof(
  fc.constant<ChunkResult>({ type: 'conflict' }),
  fc.constant<ChunkResult>({ type: 'tooMuch' }),
  fc.record({
    type: fc.constant('committed' as const),
    tookMs: fc.double({ min: 0, max: 100_000, noNaN: true }),
    bytes: fc.nat(20_000_000),
    records: fc.nat(maxRecords),
    mutations: fc.nat(100_000),
  }),
);

describe('the size of the next chunk', () => {
  it('starts at 100 records', () => {
    expect(initialChunkControl.records).toBe(100);
    expect(startRecords).toBe(100);
  });

  it('is a whole number from 1 to 2,000, whatever happens', () => {
    fc.assert(
      fc.property(fc.array(results, { maxLength: 60 }), (happened) => {
        let control = initialChunkControl;
        for (const result of happened) {
          control = nextChunkControl(control, result);
          expect(Number.isInteger(control.records)).toBe(true);
          expect(control.records).toBeGreaterThanOrEqual(1);
          expect(control.records).toBeLessThanOrEqual(maxRecords);
        }
      }),
    );
  });

  it('always grows back to the highest, whatever happened before', () => {
    fc.assert(
      fc.property(fc.array(results, { maxLength: 60 }), (happened) => {
        const after = happened.reduce(nextChunkControl, initialChunkControl);
        expect(run(after, 40, (records) => committed(records)).records).toBe(maxRecords);
      }),
    );
  });

  it('grows while it goes well, and falls with a conflict or with too much', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: maxRecords }), (records) => {
        const control = { records };
        const grown = nextChunkControl(control, committed(records)).records;
        expect(grown).toBeGreaterThan(records - (records === maxRecords ? 1 : 0));
        const conflicted = nextChunkControl(control, { type: 'conflict' }).records;
        const halved = nextChunkControl(control, { type: 'tooMuch' }).records;
        expect(conflicted).toBeLessThan(records === 1 ? 2 : records);
        expect(halved).toBeLessThanOrEqual(conflicted);
      }),
    );
  });

  it('comes down to one record when nothing else helps', () => {
    expect(run({ records: maxRecords }, 20, () => ({ type: 'tooMuch' })).records).toBe(1);
  });

  it.each([
    ['bytes', { bytes: 9_000 }, maxBytes / 9_000],
    ['mutations', { mutations: 20 }, maxMutations / 20],
    ['time', { ms: 10 }, targetMs / 10],
  ])('settles at what a chunk may have of %s', (_what, cost, settled) => {
    expect(run(initialChunkControl, 30, (records) => committed(records, cost)).records).toBe(
      Math.floor(settled),
    );
  });

  it('comes down at once when records get larger', () => {
    expect(nextChunkControl({ records: 2_000 }, committed(2_000, { bytes: 90_000 })).records).toBe(10);
  });
});
