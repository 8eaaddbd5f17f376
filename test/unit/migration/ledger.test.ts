import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import type { RangeRow } from '../../../src/migration/passes/ledger.ts';
import {
  addSamples,
  createRange,
  interpolate,
  maxRangesPerPass,
  maxSamplesPerRange,
  planRanges,
  readRanges,
  shareBefore,
  totalsOf,
  writeRange,
} from '../../../src/migration/passes/ledger.ts';
import { createStoreKeys, rangeOf } from '../../../src/records/keys.ts';

const bytes = fc.uint8Array({ maxLength: 12 }).map((array) => Buffer.from(array));
const ordered = (...keys: Buffer[]) => keys.toSorted((left, right) => left.compare(right));
const slice = rangeOf(Buffer.of(2, 7));

const row = (changes: Partial<RangeRow>): RangeRow => ({ ...createRange(slice, 10), ...changes });

describe('interpolation between two keys', () => {
  it('is 0 at the beginning and 1 at the end', () => {
    const [begin, end] = [Buffer.from('aa'), Buffer.from('ab')];
    expect(interpolate(begin, end, begin)).toBe(0);
    expect(interpolate(begin, end, end)).toBe(1);
    expect(interpolate(begin, end, Buffer.from('aaK'))).toBeCloseTo(0.5, 1);
    expect(interpolate(Buffer.of(1, 1), Buffer.of(1, 2), Buffer.of(1, 1, 0x80))).toBeCloseTo(0.5);
  });

  it('lies between 0 and 1 and never falls as the key grows', () => {
    fc.assert(
      fc.property(bytes, bytes, bytes, bytes, (...four) => {
        const [begin, low, high, end] = ordered(...four) as [Buffer, Buffer, Buffer, Buffer];
        const [first, second] = [interpolate(begin, end, low), interpolate(begin, end, high)];
        expect(first).toBeGreaterThanOrEqual(0);
        expect(second).toBeLessThanOrEqual(1);
        expect(second).toBeGreaterThanOrEqual(first);
      }),
      { examples: [[Buffer.of(), Buffer.of(0, 126, 33), Buffer.of(0, 127), Buffer.of(33)]] },
    );
  });

  it.each([
    ['decimal digits', 10],
    ['hexadecimal digits', 16],
  ])('goes evenly over keys of %s', (_, radix) => {
    const keyOf = (n: number) => Buffer.from(`key-${n.toString(radix).padStart(6, '0')}\0`);
    const worst = Math.max(
      ...Array.from({ length: 2_000 }, (_none, n) =>
        Math.abs(interpolate(keyOf(0), keyOf(1_999), keyOf(n)) - n / 1_999),
      ),
    );
    expect(worst).toBeLessThan(radix === 10 ? 0.001 : 0.15);
  });

  it('does not leave its bounds for a key outside them', () => {
    fc.assert(
      fc.property(bytes, bytes, bytes, (begin, end, key) => {
        const share = interpolate(begin, end, key);
        expect(share).toBeGreaterThanOrEqual(0);
        expect(share).toBeLessThanOrEqual(1);
      }),
    );
  });
});

const sample = (key: string, indexId = 0) =>
  ({ kind: indexId === 0 ? 'record' : 'missing', indexId, key, problem: 'odd' }) as const;

describe('the totals of a ledger', () => {
  it('are sums over its rows', () => {
    const rows = [
      row({
        recordsRead: 5,
        moved: 3,
        dropped: 1,
        quarantined: 1,
        bytes: 70,
        findings: 1,
        samples: [sample('a')],
      }),
      row({
        recordsRead: 7,
        moved: 7,
        bytes: 30,
        findings: 2,
        samples: [sample('b'), sample('c')],
        done: true,
        share: 1,
      }),
    ];
    expect(totalsOf(rows)).toMatchObject({
      recordsRead: 12,
      moved: 10,
      dropped: 1,
      quarantined: 1,
      bytes: 100,
      findings: 3,
      samples: [sample('a'), sample('b'), sample('c')],
      done: false,
    });
  });

  it('keep the first 20 findings of each kind and index, cut', () => {
    const many = (indexId: number) => Array.from({ length: 30 }, (_, n) => sample(`${n}`, indexId));
    const kept = addSamples([], [sample('x'.repeat(200)), ...many(0), ...many(3), ...many(4)]);
    expect(kept).toHaveLength(60);
    expect(kept[0]?.key).toHaveLength(128);
    expect(addSamples(kept, many(5), maxSamplesPerRange)).toHaveLength(60);
    expect(addSamples([], [{ ...sample('a'), problem: 'x'.repeat(161) }])[0]?.problem).toHaveLength(160);
    expect(addSamples([], [{ ...sample('a'), problem: 'x'.repeat(160) }])[0]?.problem).toHaveLength(160);
  });

  it('weigh the shares', () => {
    const rows = [row({ weight: 30, share: 0.5 }), row({ weight: 10, share: 1, done: true })];
    expect(totalsOf(rows).fraction).toBeCloseTo(0.625);
  });

  it('have a fraction between 0 and 1 that never falls as shares grow', () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    const step = fc.record({ weight: fc.integer({ min: 1, max: 1_000_000 }), from: share, to: share });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 64 }), (steps) => {
        const before = totalsOf(steps.map(({ weight, from }) => row({ weight, share: from })));
        const after = totalsOf(
          steps.map(({ weight, from, to }) => row({ weight, share: Math.max(from, to) })),
        );
        expect(before.fraction).toBeGreaterThanOrEqual(0);
        expect(after.fraction).toBeLessThanOrEqual(1);
        expect(after.fraction).toBeGreaterThanOrEqual(before.fraction - 1e-12);
      }),
    );
  });

  it('count the speed of those ranges alone that are being moved', () => {
    const claim = { session: 's', claimSeq: 1 };
    const rows = [
      row({ recordsPerSecond: 100, claim }),
      row({ recordsPerSecond: 50, claim }),
      row({ recordsPerSecond: 7 }),
      row({ recordsPerSecond: 9, done: true }),
    ];
    expect(totalsOf(rows).recordsPerSecond).toBe(150);
  });

  it('are done only when every row is', () => {
    expect(totalsOf([row({ done: true, share: 1 })])).toMatchObject({ done: true, fraction: 1 });
    expect(totalsOf([row({ done: true }), row({})]).done).toBe(false);
  });
});

describe('planned ranges', () => {
  it.each([0, 1, 200, 3_000])('cover the slice without a gap, with %i records in it', async (count) => {
    const database = openMemoryDatabase();
    const value = Buffer.alloc(1_000);
    for (let from = 0; from < count; from += 500) {
      await database.transact((tx) => {
        for (let n = from; n < Math.min(count, from + 500); n += 1) {
          tx.set(Buffer.concat([slice.begin, Buffer.from(String(n).padStart(6, '0'))]), value);
        }
        return Promise.resolve();
      });
    }
    const rows = await planRanges(database, slice);
    expect(rows[0]?.begin).toBe(slice.begin.toString('base64'));
    expect(rows.at(-1)?.end).toBe(slice.end.toString('base64'));
    for (const [at, { begin, end, weight, share, done, claim }] of rows.entries()) {
      expect(begin).toBe(at === 0 ? rows[0]?.begin : rows[at - 1]?.end);
      expect(Buffer.from(begin, 'base64').compare(Buffer.from(end, 'base64'))).toBeLessThan(0);
      expect(weight).toBeGreaterThanOrEqual(1);
      expect({ share, done, claim }).toEqual({ share: 0, done: false, claim: null });
    }
    expect(rows.length).toBeLessThanOrEqual(maxRangesPerPass);
    expect(rows.length > 1).toBe(count === 3_000);
    await database.close();
  });

  it('reckon their progress between the first key that is there and the last', async () => {
    const database = openMemoryDatabase();
    const keyOf = (n: number) => Buffer.concat([slice.begin, Buffer.from(String(n).padStart(6, '0'))]);
    await database.transact((tx) => {
      for (let n = 0; n < 200; n += 1) tx.set(keyOf(n), Buffer.of(1));
      return Promise.resolve();
    });
    const rows = await planRanges(database, slice);
    const shares = [0, 50, 100, 199].map((n) => shareBefore(rows[0] as RangeRow, keyOf(n)));
    expect(shares.map((share) => share.toFixed(2))).toEqual(['0.00', '0.25', '0.50', '1.00']);
    await database.close();
  });

  it('are no more than asked for', async () => {
    const database = openMemoryDatabase();
    const value = Buffer.alloc(50_000);
    await database.transact((tx) => {
      for (let n = 0; n < 100; n += 1) tx.set(Buffer.concat([slice.begin, Buffer.of(n)]), value);
      return Promise.resolve();
    });
    const rows = await planRanges(database, slice, 3);
    expect(rows.length).toBeGreaterThan(1);
    expect(rows.length).toBeLessThanOrEqual(3);
    expect(rows.at(-1)?.end).toBe(slice.end.toString('base64'));
    await database.close();
  });

  it('say how much is in each, also where sizes differ', async () => {
    const database = openMemoryDatabase();
    const keyOf = (n: number) => Buffer.concat([slice.begin, Buffer.from(String(n).padStart(6, '0'))]);
    const sizeOf = (n: number) => (n < 2_700 ? 100 : 10_000);
    for (let from = 0; from < 3_000; from += 300) {
      await database.transact((tx) => {
        for (let n = from; n < from + 300; n += 1) tx.set(keyOf(n), Buffer.alloc(sizeOf(n)));
        return Promise.resolve();
      });
    }
    const rows = await planRanges(database, slice);
    expect(rows.length).toBeGreaterThan(10);
    const total = rows.reduce((sum, { estimate }) => sum + (estimate?.records ?? 0), 0);
    // Ranges are of about equal size, but for the last one.
    expect(total).toBeGreaterThan(2_500);
    expect(total).toBeLessThan(3_500);
    const means = rows.map(({ estimate }) => (estimate?.bytes ?? 0) / (estimate?.records ?? 1));
    expect(means.at(0)).toBeCloseTo(108, -1);
    expect(means.at(-1)).toBeCloseTo(10_008, -1);
    await database.close();
  });

  it('say of few records exactly how much they are', async () => {
    const database = openMemoryDatabase();
    await database.transact((tx) => {
      for (let n = 0; n < 40; n += 1) tx.set(Buffer.concat([slice.begin, Buffer.of(n)]), Buffer.alloc(n));
      return Promise.resolve();
    });
    const [only] = await planRanges(database, slice);
    expect(only?.estimate).toEqual({ records: 40, bytes: 40 * (slice.begin.length + 1) + (39 * 40) / 2 });
    await database.close();
  });

  it('come back as they were written, in the order of their numbers, each pass by itself', async () => {
    const database = openMemoryDatabase();
    const keys = createStoreKeys(['test']).model(1);
    const rows = Array.from({ length: 30 }, (_, n) => row({ recordsRead: n, cursor: 'YQ==' }));
    await database.transact((tx) => {
      rows.forEach((one, number) => writeRange(tx, keys, 'backfill', number, one));
      writeRange(tx, keys, 'verify', 0, row({}));
      return Promise.resolve();
    });
    expect(await database.transact((tx) => readRanges(tx, keys, 'backfill'))).toEqual(rows);
    expect(await database.transact((tx) => readRanges(tx, keys, 'verify'))).toHaveLength(1);
    expect(await database.transact((tx) => readRanges(tx, keys))).toHaveLength(31);
    await database.close();
  });
});
