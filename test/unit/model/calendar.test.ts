import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatDay, parseDay } from '../../../src/model/calendar.ts';
import { fitsPrecision, formatDecimal, parseDecimal } from '../../../src/model/decimal.ts';
import { drawSeed } from '../../rig/seed.ts';

const seed = drawSeed('days and decimals');

describe('days as text', () => {
  it('agree with the calendar of the platform for every day of four centuries, and at both ends', () => {
    const day = (days: number) => new Date(days * 86_400_000).toISOString().slice(0, 10);
    const wrong: number[] = [];
    for (let days = -73_049; days < 73_049; days += 1) {
      const text = day(days);
      if (formatDay(days) !== text || parseDay(text) !== days) wrong.push(days);
    }
    expect(wrong).toEqual([]);
    expect(formatDay(parseDay('0000-01-01') ?? Number.NaN)).toBe('0000-01-01');
    expect(formatDay(parseDay('9999-12-31') ?? Number.NaN)).toBe('9999-12-31');
  });

  it.each([
    '2026-02-29',
    '1900-02-29',
    '2026-13-01',
    '2026-00-10',
    '2026-04-31',
    '26-1-1',
    '',
    '2026-01-01T00',
  ])('are none: %s', (text) => {
    expect(parseDay(text)).toBeUndefined();
  });

  it('know leap years', () => {
    expect([parseDay('2000-02-29'), parseDay('2024-02-29')].every(Number.isInteger)).toBe(true);
  });
});

describe('decimals as text', () => {
  it('come back with all digits of their scale', () => {
    const scales = fc.integer({ min: 0, max: 12 });
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 38n), max: 10n ** 38n }), scales, (scaled, scale) => {
        expect(parseDecimal(formatDecimal(scaled, scale), scale)).toBe(scaled);
      }),
      { seed },
    );
  });

  it.each([
    ['1.5', 2, 150n],
    ['-0.05', 2, -5n],
    ['-0', 2, 0n],
    ['007', 0, 7n],
    ['1.234', 2, undefined],
    ['1e3', 2, undefined],
    ['.5', 2, undefined],
    ['5.', 2, undefined],
    ['+5', 2, undefined],
    ['', 0, undefined],
  ])('%s at scale %s is %s', (text, scale, scaled) => {
    expect(parseDecimal(text, scale)).toBe(scaled);
  });

  it('count their digits', () => {
    expect(fitsPrecision(999n, 3)).toBe(true);
    expect(fitsPrecision(1_000n, 3)).toBe(false);
    expect(fitsPrecision(-1_000n, 3)).toBe(false);
    expect(formatDecimal(-5n, 2)).toBe('-0.05');
    expect(formatDecimal(0n, 2)).toBe('0.00');
  });
});
