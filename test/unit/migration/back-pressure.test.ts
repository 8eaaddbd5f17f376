import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BackPressure, ChunkStrain } from '../../../src/migration/passes/back-pressure.ts';
import {
  backPressureLimits,
  backPressureMs,
  backPressureReason,
  nextBackPressure,
  noBackPressure,
} from '../../../src/migration/passes/back-pressure.ts';

const { firstMs, maxMs, slowMs } = backPressureLimits;

const well: ChunkStrain = { codes: [], tookMs: 10 };
const met = (code: number): ChunkStrain => ({ codes: [code], tookMs: 10 });
const slow: ChunkStrain = { codes: [], tookMs: slowMs };

const after = (chunks: readonly ChunkStrain[], from: BackPressure = noBackPressure) =>
  chunks.reduce(nextBackPressure, from);
const times = (count: number, chunk: ChunkStrain) => Array.from({ length: count }, () => chunk);
const delays = (chunk: ChunkStrain, count: number) =>
  times(count, chunk).map((_, at) => backPressureMs(after(times(at + 1, chunk))));

const strains: fc.Arbitrary<ChunkStrain> = fc.record({
  codes: fc.array(fc.constantFrom(1007, 1009, 1020, 1021, 1037, 1042, 1051, 1078, 1213), { maxLength: 3 }),
  tookMs: fc.nat(4_000),
});

describe('the delay before the next chunk', () => {
  it.each([1009, 1037, 1042, 1051, 1078, 1213])(
    'begins with the first %i, doubles, and has a bound',
    (code) => {
      expect(delays(met(code), 9)).toEqual([50, 100, 200, 400, 800, 1_600, 3_200, maxMs, maxMs]);
      expect(firstMs).toBe(50);
    },
  );

  it('begins with the second conflict in a row, and with the second slow commit', () => {
    expect(delays(met(1020), 4)).toEqual([0, 50, 100, 200]);
    expect(delays(slow, 4)).toEqual([0, 50, 100, 200]);
    expect(delays({ ...slow, tookMs: slowMs - 1 }, 4)).toEqual([0, 0, 0, 0]);
  });

  it('is not there for an answer that was lost, nor for chunks that go well', () => {
    expect(delays(met(1021), 3)).toEqual([0, 0, 0]);
    expect(delays(well, 3)).toEqual([0, 0, 0]);
  });

  it('is gone after a few commits that go well, however long it was', () => {
    const worst = after(times(50, met(1051)));
    expect(backPressureMs(worst)).toBe(maxMs);
    const later = [1, 2, 3, 4].map((count) => backPressureMs(after(times(count, well), worst)));
    expect(later).toEqual([1_600, 400, 100, 0]);
    expect(after(times(5, well), worst)).toEqual(noBackPressure);
  });

  it('stays small where every second chunk conflicts', () => {
    const chunks = Array.from({ length: 200 }, (_, at) => (at % 2 === 0 ? met(1020) : well));
    expect(backPressureMs(after(chunks))).toBe(0);
  });

  it('is 0 or from its first to its bound, whatever happens, and then has a reason', () => {
    fc.assert(
      fc.property(fc.array(strains, { maxLength: 60 }), (chunks) => {
        let pressure = noBackPressure;
        for (const chunk of chunks) {
          pressure = nextBackPressure(pressure, chunk);
          const delayMs = backPressureMs(pressure);
          expect(delayMs === 0 || (delayMs >= firstMs && delayMs <= maxMs)).toBe(true);
          expect(backPressureReason(pressure)).toMatch(/^back pressure: \w/);
        }
      }),
    );
  });

  it('says what was met last', () => {
    const reasonOf = (chunk: ChunkStrain) => backPressureReason(after(times(3, chunk)));
    expect(reasonOf(met(1051))).toBe('back pressure: the database asks for less');
    expect(reasonOf(met(1020))).toBe('back pressure: chunks conflict with other writers');
    expect(reasonOf(slow)).toBe('back pressure: commits of chunks are slow');
  });
});
