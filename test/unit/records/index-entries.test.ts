import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { IndexData } from '../../../src/model/data.ts';
import type { ComponentRange } from '../../../src/records/index-entries.ts';
import { createIndexEncoder, isUniqueEntry, primaryKeyOfEntry } from '../../../src/records/index-entries.ts';
import { drawSeed } from '../../rig/seed.ts';
import { definition, index } from './definition.ts';
import { keyTypes } from './key-values.ts';

const seed = drawSeed('index-entries.test.ts');
const types = Object.entries(keyTypes);

const model = definition([
  ['id', 1, { kind: 'int32' }],
  ...types.map(([name, { type }], at) => [name, at + 2, type, 'optional'] as const),
  ['tags', 50, { kind: 'list', of: { kind: 'string' } }, 'optional'],
]);
const encoder = (data: IndexData) => createIndexEncoder(model, data);
const pk = Buffer.of(0x15, 0x01);
const sign = Math.sign;

/** Undefined before all values. */
const compareOptional =
  (compare: (left: never, right: never) => number) => (left: unknown, right: unknown) =>
    left === undefined || right === undefined
      ? Number(left !== undefined) - Number(right !== undefined)
      : compare(left as never, right as never);

describe.each(types)('an entry by a %s', (name, { values, compare }) => {
  const optional = fc.option(values, { nil: undefined });

  it.each([name, `-${name}`])('sorts by the value, undefined first, as %s', (on) => {
    const entries = encoder(index('by', [on]));
    const direction = on.startsWith('-') ? -1 : 1;
    fc.assert(
      fc.property(optional, optional, (left, right) => {
        const [one] = entries.entries({ [name]: left }, pk);
        const [other] = entries.entries({ [name]: right }, pk);
        const expected = direction * compareOptional(compare)(left, right);
        expect(sign(one?.key.compare(other?.key ?? pk) ?? Number.NaN)).toBe(sign(expected) + 0);
      }),
      { seed, numRuns: 200 },
    );
  });
});

describe('an entry', () => {
  it.each([true, false])('leads back to the primary key (unique: %s)', (unique) => {
    const entries = encoder(index('by', ['string', '-int64', 'bytes'], unique));
    const { string, int64, bytes } = keyTypes;
    const values = fc.record({
      string: string?.values ?? fc.constant(undefined),
      int64: fc.option(int64?.values ?? fc.constant(undefined), { nil: undefined }),
      bytes: bytes?.values ?? fc.constant(undefined),
    });
    fc.assert(
      fc.property(values, fc.uint8Array({ minLength: 1 }), (record, primaryKey) => {
        const [entry, ...others] = entries.entries(record, primaryKey);
        expect(others).toEqual([]);
        expect(entry).toBeDefined();
        if (entry === undefined) return;
        expect(Buffer.from(primaryKeyOfEntry(entry.key, entry.value))).toEqual(Buffer.from(primaryKey));
        expect(isUniqueEntry(entry)).toBe(unique && record.int64 !== undefined);
      }),
      { seed, numRuns: 200 },
    );
  });

  it('of a unique index has the same key for the same values, unless one is undefined', () => {
    const entries = encoder(index('by', ['string', 'int32'], true));
    const key = (record: object, primaryKey: number) =>
      entries.entries({ ...record }, Buffer.of(primaryKey))[0]?.key;
    expect(key({ string: 'a', int32: 1 }, 1)).toEqual(key({ string: 'a', int32: 1 }, 2));
    expect(key({ string: 'a' }, 1)).not.toEqual(key({ string: 'a' }, 2));
  });

  it('stands for each distinct element of a list, and for none of an empty or absent one', () => {
    const entries = encoder(index('by', ['tags', 'int32']));
    expect(entries.entries({ tags: ['a', 'b', 'a'], int32: 1 }, pk)).toHaveLength(2);
    expect(entries.entries({ tags: [], int32: 1 }, pk)).toEqual([]);
    expect(entries.entries({ int32: 1 }, pk)).toEqual([]);
  });

  it('is refused with a key above 10,000 bytes, its prefix included', () => {
    const entries = createIndexEncoder(model, index('byName', ['string']), {}, 100);
    expect(entries.entries({ string: 'x'.repeat(10_000 - 104) }, pk)).toHaveLength(1);
    expect(() => entries.entries({ string: 'x'.repeat(10_000 - 103) }, pk)).toThrow(
      expect.objectContaining({
        code: 'KEY_TOO_LARGE',
        message: expect.stringMatching(/byName.*City.*10001/),
      }),
    );
  });
});

describe('the bounds of a scan', () => {
  const wordsOf = (at: number) => ['', 'a', 'b', 'ÿ'][at];
  const word = fc.nat(3).map(wordsOf);
  const optionalWord = fc.option(word, { nil: undefined });
  const number = fc.integer({ min: -2, max: 2 });
  const optionalNumber = fc.option(number, { nil: undefined });
  const records = fc.array(
    fc.record({ string: optionalWord, int32: optionalNumber, boolean: fc.boolean() }),
    {
      minLength: 5,
      maxLength: 30,
    },
  );
  const range: fc.Arbitrary<ComponentRange> = fc
    .record({ gt: optionalNumber, gte: optionalNumber, lt: optionalNumber, lte: optionalNumber })
    .map((bounds) => ({ ...bounds }));

  const signs = fc.tuple(...Array.from({ length: 3 }, () => fc.constantFrom('', '-')));
  const scan = (
    on: readonly string[],
    all: readonly object[],
    values: readonly unknown[],
    next: ComponentRange,
  ) => {
    const entries = encoder(index('by', on));
    const { begin, end } = entries.scanBounds(values, next);
    expect(begin.compare(end)).toBeLessThanOrEqual(0);
    return all.filter((record) => {
      const [entry] = entries.entries({ ...record }, pk);
      return entry !== undefined && entry.key.compare(begin) >= 0 && entry.key.compare(end) < 0;
    });
  };

  it('hold exactly the records that are equal in the first components', () => {
    fc.assert(
      fc.property(
        records,
        signs,
        fc.tuple(optionalWord, optionalNumber),
        fc.nat(2),
        (all, [a, b, c], equal, count) => {
          const on = [`${a}string`, `${b}int32`, `${c}boolean`];
          const found = scan(on, all, equal.slice(0, count), {});
          const names = ['string', 'int32'] as const;
          const expected = all.filter((record) =>
            names.slice(0, count).every((name, at) => record[name] === equal[at]),
          );
          expect(found).toEqual(expected);
        },
      ),
      { seed, numRuns: 300 },
    );
  });

  it('hold exactly the records within a range of the next component', () => {
    fc.assert(
      fc.property(records, signs, optionalWord, range, (all, [a, b, c], equal, bounds) => {
        const found = scan([`${a}string`, `${b}int32`, `${c}boolean`], all, [equal], bounds);
        const { gt, gte, lt, lte } = bounds as Record<string, number | undefined>;
        const bounded = [gt, gte, lt, lte].some((bound) => bound !== undefined);
        const expected = all.filter(({ string, int32 }) => {
          if (string !== equal) return false;
          if (int32 === undefined) return !bounded;
          return (
            (gt === undefined || int32 > gt) &&
            (gte === undefined || int32 >= gte) &&
            (lt === undefined || int32 < lt) &&
            (lte === undefined || int32 <= lte)
          );
        });
        expect(found).toEqual(expected);
      }),
      { seed, numRuns: 500 },
    );
  });

  it('are refused for more values than components', () => {
    const entries = encoder(index('by', ['string']));
    expect(() => entries.scanBounds(['a', 1])).toThrow(TypeError);
    expect(() => entries.scanBounds(['a'], { gt: 1 })).toThrow(TypeError);
  });
});
