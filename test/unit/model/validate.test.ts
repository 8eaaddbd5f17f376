import { describe, expect, it } from 'vitest';

import {
  boolean,
  bytes,
  createValidator,
  defineEmbedded,
  defineModel,
  definitionData,
  embedded,
  enumeration,
  float64,
  int32,
  int64,
  list,
  reference,
  resolveModels,
  self,
  string,
  timestamp,
} from '../../../src/model/index.ts';
import type { Properties, Property, ValidatorOptions } from '../../../src/model/index.ts';
import { instantFromMs } from '../../../src/ports/instant.ts';

function validator(properties: Properties, options?: ValidatorOptions) {
  const id = string({ number: 1, required: true });
  const City = defineModel({ name: 'City', version: '1.0', key: ['id'], properties: { id, ...properties } });
  return createValidator(definitionData(City), options);
}

/** `path constraint` of each violation of a record whose other properties are fine. */
function violations(property: Property, value: unknown, options?: ValidatorOptions): string[] {
  return validator(
    { a: property },
    options,
  )({ id: 'x', a: value }).map(({ path, constraint }) => `${path} ${constraint}`);
}

const at = instantFromMs;
const Address = defineEmbedded({
  name: 'Address',
  properties: { city: string({ number: 1, required: true, maxSize: 3 }), zip: string({ number: 2 }) },
});

describe('the values of a type', () => {
  it.each<[string, Property, readonly unknown[], readonly unknown[], string]>([
    ['string', string({ number: 2 }), ['', 'a', '😀'], [1, null, new String('a'), '\ud800'], 'type'],
    ['boolean', boolean({ number: 2 }), [true, false], [0, 'true', null], 'type'],
    [
      'int32',
      int32({ number: 2 }),
      [0, -(2 ** 31), 2 ** 31 - 1],
      [0.5, 2 ** 31, Number.NaN, 1n, '1'],
      'type',
    ],
    [
      'int64',
      int64({ number: 2 }),
      [0n, -(2n ** 63n), 2n ** 63n - 1n],
      [1, 2n ** 63n, -(2n ** 63n) - 1n],
      'type',
    ],
    [
      'float64',
      float64({ number: 2 }),
      [0, -0, 1.5, 1e308],
      [Number.NaN, Infinity, -Infinity, '1', 1n],
      'type',
    ],
    ['timestamp', timestamp({ number: 2 }), [at(0), at(-1)], [at(Number.NaN), 0, '1970-01-01'], 'type'],
    ['bytes', bytes({ number: 2 }), [new Uint8Array(), Buffer.of(1)], ['a', [1], new Uint16Array(1)], 'type'],
    ['enum', enumeration({ number: 2, cases: { s: 1 } }), ['s'], ['l', 1, null, 'toString'], 'case'],
    ['list', list({ number: 2, of: string() }), [[], ['a', 'b']], ['a', null, { length: 1 }], 'type'],
    [
      'embedded',
      embedded({ number: 2, model: Address }),
      [{ city: 'a' }, { city: 'a', zip: undefined }, Object.assign(Object.create(null), { city: 'a' })],
      ['a', null, [], new Uint8Array(), at(0), new Map(), Promise.resolve()],
      'type',
    ],
    [
      'reference to a model that is not known',
      reference({ number: 2, to: 'Gone', weak: true }),
      ['a', 1, 1n, true, at(0), new Uint8Array(), { a: 1, b: { c: 'x', d: 1n } }],
      [null, Number.NaN, 2n ** 63n, [], {}, { a: 1 }, { a: 1, b: null }, at(Number.NaN), '\udc00'],
      'type',
    ],
  ])('%s', (_name, property, right, wrong, constraint) => {
    for (const value of right) expect([value, violations(property, value)]).toEqual([value, []]);
    for (const value of wrong) {
      expect([value, violations(property, value)]).toEqual([value, [`a ${constraint}`]]);
    }
  });

  it.each<[Property, readonly unknown[], readonly unknown[], string]>([
    [string({ number: 2, minSize: 2 }), ['ab'], ['a', ''], 'minSize'],
    [string({ number: 2, maxSize: 2 }), ['', 'ab'], ['abc', '😀a'], 'maxSize'],
    [string({ number: 2, regex: 'a|bc' }), ['a', 'bc'], ['abc', 'xa', 'ax', 'a\n'], 'regex'],
    [string({ number: 2, regex: '.' }), ['😀'], ['ab'], 'regex'],
    [int32({ number: 2, min: 3 }), [3, 4], [2], 'min'],
    [int32({ number: 2, max: 3 }), [3, 2], [4], 'max'],
    [float64({ number: 2, min: -90 }), [-90], [-90.000001], 'min'],
    [float64({ number: 2, max: 90 }), [90], [90.000001], 'max'],
    [int64({ number: 2, min: 2n ** 53n + 1n }), [2n ** 53n + 1n], [2n ** 53n], 'min'],
    [int64({ number: 2, max: -1n }), [-1n], [0n], 'max'],
    [timestamp({ number: 2, min: at(5) }), [at(5)], [at(4)], 'min'],
    [timestamp({ number: 2, max: at(5) }), [at(5)], [at(6)], 'max'],
    [bytes({ number: 2, minSize: 1 }), [Buffer.of(1)], [new Uint8Array()], 'minSize'],
    [bytes({ number: 2, maxSize: 1 }), [Buffer.of(1)], [Buffer.of(1, 2)], 'maxSize'],
    [list({ number: 2, of: string(), minSize: 1 }), [['a']], [[]], 'minSize'],
    [list({ number: 2, of: string(), maxSize: 1 }), [['a']], [['a', 'b']], 'maxSize'],
  ])('keep to their limits', (property, right, wrong, constraint) => {
    for (const value of right) expect([value, violations(property, value)]).toEqual([value, []]);
    for (const value of wrong) {
      expect([value, violations(property, value)]).toEqual([value, [`a ${constraint}`]]);
    }
  });
});

describe('a record', () => {
  it('has its required properties, and may lack the others', () => {
    const validate = validator({ a: string({ number: 2, required: true }), b: string({ number: 3 }) });
    expect(validate({ id: 'x', a: 'y' })).toEqual([]);
    expect(validate({ id: 'x', a: undefined, b: undefined })).toEqual([
      { path: 'a', constraint: 'required', message: 'is required' },
    ]);
    expect(validate({}).map(({ path }) => path)).toEqual(['id', 'a']);
  });

  it('has no property that the model has not, unless that is tolerated', () => {
    const record = { id: 'x', lat: '1', lng: '2', gone: undefined };
    const unknown = { constraint: 'unknown', message: 'is no property of the model' };
    expect(validator({})(record)).toEqual([
      { path: 'lat', ...unknown },
      { path: 'lng', ...unknown },
    ]);
    expect(validator({}, { tolerate: ['lat'] })(record)).toEqual([{ path: 'lng', ...unknown }]);
    const inner = { id: 'x', a: { city: 'a', lat: 1 } };
    expect(validator({ a: embedded({ number: 2, model: Address }) }, { tolerate: ['lat'] })(inner)).toEqual([
      { path: 'a.lat', ...unknown },
    ]);
  });

  it('is an object', () => {
    for (const value of [undefined, null, 'x', [], at(0), Promise.resolve({})]) {
      expect(validator({})(value)).toEqual([
        { path: '', constraint: 'type', message: 'must be an object of properties' },
      ]);
    }
  });

  it('is answered with every violation, each by its path', () => {
    const validate = validator({
      home: embedded({ number: 2, model: Address }),
      all: list({ number: 3, of: embedded({ model: Address }) }),
      grid: list({ number: 4, of: list({ of: int32({ max: 5 }) }) }),
    });
    const record = {
      id: 1,
      home: { city: 'long' },
      all: [{ city: 'a' }, { zip: 5 }],
      grid: [[1], [2, 6]],
    };
    expect(validate(record)).toEqual([
      { path: 'id', constraint: 'type', message: 'must be a string' },
      { path: 'home.city', constraint: 'maxSize', message: 'must have at most 3 characters' },
      { path: 'all[1].city', constraint: 'required', message: 'is required' },
      { path: 'all[1].zip', constraint: 'type', message: 'must be a string' },
      { path: 'grid[1][1]', constraint: 'max', message: 'must be at most 5' },
    ]);
  });

  it('that is fine is answered with always the same empty array', () => {
    const validate = validator({ a: embedded({ number: 2, model: Address }) });
    const answer = validate({ id: 'x', a: { city: 'a' } });
    expect(answer).toEqual([]);
    expect(validate({ id: 'y' })).toBe(answer);
  });

  it('with a million wrong elements is not answered with a million violations', () => {
    const found = violations(
      list({ number: 2, of: string() }),
      Array.from({ length: 1_000_000 }, () => 1),
    );
    expect(found).toHaveLength(100);
  });

  it('may be nested in itself, but not for ever', () => {
    const validate = validator({ in: embedded({ number: 2, model: self }) });
    expect(validate({ id: 'x', in: { id: 'y', in: { id: 'z' } } })).toEqual([]);
    expect(validate({ id: 'x', in: { id: 'y', in: {} } })).toMatchObject([{ path: 'in.in.id' }]);
    const round: Record<string, unknown> = { id: 'x' };
    round['in'] = round;
    expect(validate(round)).toMatchObject([{ constraint: 'depth' }]);
  });

  it('takes a case it does not know as a number where that is allowed', () => {
    const size = enumeration({ number: 2, cases: { s: 1 } });
    expect(violations(size, 7)).toEqual(['a case']);
    expect(violations(size, 7, { unknownCases: true })).toEqual([]);
    for (const value of [1, 0.5, 'l', 2 ** 31]) {
      expect(violations(size, value, { unknownCases: true })).toEqual(['a case']);
    }
  });
});

describe('a reference', () => {
  const Country = defineModel({
    name: 'Country',
    version: '1.0',
    key: ['code'],
    properties: { code: string({ number: 1, required: true, maxSize: 2 }) },
  });
  const Place = defineModel({
    name: 'Place',
    version: '1.0',
    key: ['country', 'number'],
    properties: {
      country: reference({ number: 1, to: Country, required: true }),
      number: int64({ number: 2, required: true }),
    },
  });
  const { referenceKeys: references } = resolveModels({ 1: Country, 2: Place });

  it('is a bare value where the key has one property', () => {
    const to = reference({ number: 2, to: Country });
    expect(violations(to, 'ch', { references })).toEqual([]);
    expect(violations(to, 'che', { references })).toEqual(['a maxSize']);
    expect(violations(to, { code: 'ch' }, { references })).toEqual(['a type']);
  });

  it('is an object of the key properties where there are several', () => {
    const to = reference({ number: 2, to: Place });
    expect(violations(to, { country: 'ch', number: 1n }, { references })).toEqual([]);
    expect(violations(to, { country: 'che', number: 1 }, { references })).toEqual([
      'a.country maxSize',
      'a.number type',
    ]);
    expect(violations(to, { country: 'ch' }, { references })).toEqual(['a.number required']);
    for (const value of ['ch', null, { country: 'ch', number: 1n, more: 1 }]) {
      expect(violations(to, value, { references })).toEqual(['a type']);
    }
  });
});
