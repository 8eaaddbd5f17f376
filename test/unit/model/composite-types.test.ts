import { describe, expect, it } from 'vitest';
import { ModelException } from '../../../src/errors.ts';
import {
  boolean,
  bytes,
  compareModels,
  createValidator,
  date,
  decimal,
  defineEmbedded,
  defineModel,
  definitionData,
  embedded,
  enumeration,
  float64,
  hashOf,
  int32,
  int64,
  list,
  map,
  reference,
  resolveModels,
  set,
  string,
  timestamp,
  union,
} from '../../../src/model/index.ts';
import type { DefinitionData, Properties, Property } from '../../../src/model/index.ts';
import { createDefaults } from '../../../src/model/defaults.ts';
import { orderModels } from '../../../src/model/order.ts';
import { instantFromMs } from '../../../src/ports/instant.ts';

const id = string({ number: 1, required: true });
const dataOf = (properties: Properties, version = '1.0'): DefinitionData =>
  definitionData(defineModel({ name: 'City', version, key: ['id'], properties: { id, ...properties } }));

/** `path constraint` of each violation of a record whose other properties are fine. */
const violations = (property: Property, value: unknown): string[] =>
  createValidator(dataOf({ a: property }))({ id: 'x', a: value }).map(
    ({ path, constraint }) => `${path} ${constraint}`,
  );

const problems = (properties: Properties): unknown => {
  try {
    dataOf(properties);
    return [];
  } catch (error) {
    if (error instanceof ModelException) return error.details['problems'];
    throw error;
  }
};

const comparison = (stored: Properties, configured: Properties): string => {
  const [before, after] = [dataOf(stored), dataOf(configured)];
  const current = { data: before, hash: hashOf(before), version: before.version, lineage: 1 };
  const found = compareModels({ current, earlier: [] }, { data: after, hash: hashOf(after) });
  if (found.type !== 'NeedsMigration') return found.type;
  return found.reasons.map(({ code, property }) => `${code} at ${property}`).join(', ');
};

const contact = union({
  number: 2,
  cases: { mail: { number: 1, of: string() }, age: { number: 2, of: int32({ min: 0 }) } },
});

describe('values of the newer types', () => {
  it.each<[string, Property, readonly unknown[], readonly unknown[]]>([
    ['date', date({ number: 2 }), ['2026-02-28', '0000-01-01'], ['2026-02-30', 1, null, instantFromMs(0)]],
    [
      'decimal',
      decimal({ number: 2, precision: 4, scale: 2 }),
      ['1.5', '-99.99', '0'],
      ['1.234', 1.5, 2n, 'x'],
    ],
    ['set', set({ number: 2, of: string() }), [new Set(['a']), new Set()], [['a'], {}, new Map()]],
    ['map', map({ number: 2, key: int32(), of: string() }), [new Map([[1, 'a']])], [{ 1: 'a' }, new Set()]],
  ])('are accepted and refused by type: %s', (_name, property, good, bad) => {
    for (const value of good) expect(violations(property, value)).toEqual([]);
    for (const value of bad) expect(violations(property, value)).toEqual(['a type']);
  });

  it.each<[string, Property, unknown, string[]]>([
    ['day before the first', date({ number: 2, min: '2000-01-01' }), '1999-12-31', ['a min']],
    ['day behind the last', date({ number: 2, max: '2000-01-01' }), '2000-01-02', ['a max']],
    ['digits', decimal({ number: 2, precision: 4, scale: 2 }), '100', ['a precision']],
    ['decimal below', decimal({ number: 2, precision: 4, scale: 2, min: '1.50' }), '1.49', ['a min']],
    ['decimal above', decimal({ number: 2, precision: 4, scale: 2, max: '1.5' }), '1.51', ['a max']],
    ['small set', set({ number: 2, of: string(), minSize: 1 }), new Set(), ['a minSize']],
    ['element of a set', set({ number: 2, of: int32({ max: 5 }) }), new Set([1, 6]), ['a[1] max']],
    [
      'equal dates in a set',
      set({ number: 2, of: timestamp() }),
      new Set([instantFromMs(1), instantFromMs(1)]),
      ['a distinct'],
    ],
    [
      'equal bytes as keys of a map',
      map({ number: 2, key: bytes(), of: boolean() }),
      new Map([
        [Uint8Array.of(1), true],
        [Uint8Array.of(1), false],
      ]),
      ['a distinct'],
    ],
    [
      'large map',
      map({ number: 2, key: string(), of: boolean(), maxSize: 0 }),
      new Map([['a', true]]),
      ['a maxSize'],
    ],
    [
      'key of a map',
      map({ number: 2, key: string(), of: boolean() }),
      new Map([[1, true]]),
      ['a{key 0} type'],
    ],
    [
      'value of a map',
      map({ number: 2, key: string(), of: boolean() }),
      new Map([['a', 1]]),
      ['a{value 0} type'],
    ],
    ['case of a union', contact, { case: 'phone', value: 'x' }, ['a.case case']],
    ['value of a case', contact, { case: 'age', value: -1 }, ['a.value min']],
    ['case without a value', contact, { case: 'age' }, ['a.value required']],
    ['more than case and value', contact, { case: 'age', value: 1, more: 1 }, ['a unknown']],
    ['no union at all', contact, 'mail', ['a type']],
  ])('are refused by their constraint: %s', (_name, property, value, expected) => {
    expect(violations(property, value)).toEqual(expected);
  });

  it('keep a case that a newer program wrote, where that may be', () => {
    const validate = createValidator(dataOf({ a: contact }), { unknownCases: true });
    expect(validate({ id: 'x', a: { case: 7, value: [1] } })).toEqual([]);
    expect(validate({ id: 'x', a: { case: 2, value: 1 } })).not.toEqual([]);
  });
});

describe('a definition of the newer types', () => {
  it.each<[string, Properties, RegExp]>([
    ['min above max', { a: date({ number: 2, min: '2000-01-02', max: '2000-01-01' }) }, /above max/],
    ['a limit that is no day', { a: date({ number: 2, min: '2000-02-30' }) }, /days as text/],
    ['no precision', { a: decimal({ number: 2, precision: 0 }) }, /precision must be/],
    ['too much precision', { a: decimal({ number: 2, precision: 39 }) }, /precision must be/],
    ['scale above precision', { a: decimal({ number: 2, precision: 2, scale: 3 }) }, /scale must be/],
    [
      'a limit of another scale',
      { a: decimal({ number: 2, precision: 4, max: '1.5' }) },
      /values of its own type/,
    ],
    ['decimal limits crossed', { a: decimal({ number: 2, precision: 4, min: '2', max: '1' }) }, /above max/],
    [
      'a set of what has no order',
      { a: set({ number: 2, of: list({ of: string() }) as never }) },
      /has no order/,
    ],
    [
      'a map by what has no order',
      { a: map({ number: 2, key: map({ key: string(), of: string() }) as never, of: string() }) },
      /has no order/,
    ],
    ['a union without cases', { a: union({ number: 2, cases: {} }) }, /at least one case/],
    [
      'two cases of one number',
      { a: union({ number: 2, cases: { b: { number: 1, of: string() }, c: { number: 1, of: string() } } }) },
      /two cases/,
    ],
    [
      'a default that is none of its type',
      { a: int32({ number: 2, default: 'x' as never }) },
      /default of property "a" must be an integer/,
    ],
    ['a default out of range', { a: int32({ number: 2, max: 5, default: 6 }) }, /at most 5/],
    [
      'a default that is no case',
      { a: enumeration({ number: 2, cases: { b: 1 }, default: 'c' as never }) },
      /one of b/,
    ],
    [
      'a default of a type that can have none',
      { a: bytes({ number: 2, default: Uint8Array.of(1) }) },
      /can have no default/,
    ],
  ])('is refused for %s', (_name, properties, message) => {
    expect(problems(properties)).toEqual([expect.stringMatching(message)]);
  });

  it('orders models by references inside sets, maps and unions', () => {
    const Country = defineModel({ name: 'Country', version: '1.0', key: ['id'], properties: { id } });
    const uses: readonly Property[] = [
      set({ number: 2, of: reference({ to: Country }) }),
      map({ number: 2, key: reference({ to: Country }), of: string() }),
      map({ number: 2, key: string(), of: reference({ to: Country }) }),
      union({ number: 2, cases: { at: { number: 1, of: reference({ to: Country }) } } }),
    ];
    for (const a of uses) {
      const City = defineModel({ name: 'City', version: '1.0', key: ['id'], properties: { id, a } });
      const { order } = orderModels(resolveModels({ 1: City, 2: Country }).models);
      expect(order.map(({ data }) => data.name)).toEqual(['Country', 'City']);
    }
  });
});

describe('comparing the newer types', () => {
  const cases = { mail: { number: 1, of: string({ maxSize: 5 }) } };
  it.each<[string, Property, Property, string]>([
    [
      'another precision',
      decimal({ number: 2, precision: 4 }),
      decimal({ number: 2, precision: 5 }),
      'type at a',
    ],
    [
      'another scale',
      decimal({ number: 2, precision: 4, scale: 1, max: '5' }),
      decimal({ number: 2, precision: 4, scale: 2, max: '4' }),
      'type at a',
    ],
    [
      'a stricter decimal',
      decimal({ number: 2, precision: 4, max: '5' }),
      decimal({ number: 2, precision: 4, max: '4' }),
      'limit at a',
    ],
    [
      'a relaxed decimal',
      decimal({ number: 2, precision: 4, max: '5' }),
      decimal({ number: 2, precision: 4 }),
      'OnlySafeAdds',
    ],
    ['a stricter day', date({ number: 2 }), date({ number: 2, min: '2000-01-01' }), 'limit at a'],
    ['a relaxed day', date({ number: 2, min: '2000-01-01' }), date({ number: 2 }), 'OnlySafeAdds'],
    ['date for text', string({ number: 2 }), date({ number: 2 }), 'type at a'],
    ['set for list', list({ number: 2, of: string() }), set({ number: 2, of: string() }), 'type at a'],
    ['elements of a set', set({ number: 2, of: string() }), set({ number: 2, of: int32() }), 'type at a[]'],
    [
      'keys of a map',
      map({ number: 2, key: string(), of: string() }),
      map({ number: 2, key: int32(), of: string() }),
      'type at a{key}',
    ],
    [
      'values of a map',
      map({ number: 2, key: string(), of: string() }),
      map({ number: 2, key: string(), of: string({ maxSize: 3 }) }),
      'limit at a{value}',
    ],
    [
      'a case added',
      union({ number: 2, cases }),
      union({ number: 2, cases: { ...cases, age: { number: 2, of: int32() } } }),
      'OnlySafeAdds',
    ],
    [
      'a case removed',
      union({ number: 2, cases: { ...cases, age: { number: 2, of: int32() } } }),
      union({ number: 2, cases }),
      'caseRemoved at a',
    ],
    [
      'a case removed and reserved',
      union({ number: 2, cases: { ...cases, age: { number: 2, of: int32() } } }),
      union({ number: 2, cases, reservedNumbers: [2], reservedNames: ['age'] }),
      'OnlySafeAdds',
    ],
    [
      'the type of a case',
      union({ number: 2, cases }),
      union({ number: 2, cases: { mail: { number: 1, of: string({ maxSize: 4 }) } } }),
      'limit at a<mail>',
    ],
    ['another default', int32({ number: 2, default: 1 }), int32({ number: 2, default: 2 }), 'OnlySafeAdds'],
  ])('%s', (_name, stored, configured, expected) => {
    expect(comparison({ a: stored }, { a: configured })).toBe(expected);
  });
});

describe('defaults', () => {
  const Inner = defineEmbedded({
    name: 'Inner',
    properties: { size: int32({ number: 1, default: 7 }), note: string({ number: 2 }) },
  });
  const fill = createDefaults(
    dataOf({
      count: int32({ number: 2, required: true, default: 0 }),
      big: int64({ number: 3, default: 5n }),
      at: timestamp({ number: 4, default: instantFromMs(9) }),
      flag: boolean({ number: 5, default: false }),
      ratio: float64({ number: 6 }),
      inner: embedded({ number: 7, model: Inner }),
      price: decimal({ number: 8, precision: 4, scale: 2, default: '1.50' }),
      day: date({ number: 9, default: '2026-01-01' }),
    }),
  );
  const filled = {
    count: 0,
    big: 5n,
    at: instantFromMs(9),
    flag: false,
    price: '1.50',
    day: '2026-01-01',
  };

  it('are filled in where a record has no value, also inside what is embedded in it', () => {
    expect(fill({ id: 'a' })).toEqual({ id: 'a', ...filled });
    const given = { id: 'a', ...filled, count: 3, flag: true, inner: { note: 'x' } };
    expect(fill(given)).toEqual({ ...given, inner: { note: 'x', size: 7 } });
  });

  it('leave the record alone that was given, and make none where nothing is missing', () => {
    const given = Object.freeze({ id: 'a' });
    fill(given);
    expect(given).toEqual({ id: 'a' });
    const whole = { id: 'a', ...filled };
    expect(fill(whole)).toBe(whole);
  });
});
