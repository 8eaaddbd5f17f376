import { describe, expect, it } from 'vitest';

import { ModelException } from '../../../src/errors.ts';
import {
  boolean,
  defineEmbedded,
  defineModel,
  embedded,
  enumeration,
  float64,
  int32,
  int64,
  isEmbedded,
  isModel,
  list,
  reference,
  self,
  string,
  timestamp,
} from '../../../src/model/index.ts';
import { instantFromMs } from '../../../src/ports/instant.ts';

const id = string({ number: 1, required: true });
const valid = { name: 'City', version: '1.0', key: ['id'], properties: { id } } as const;

/** As a program without a compiler would call it. */
const define = (changes: object) => defineModel({ ...valid, ...changes } as typeof valid);
const withProperties = (properties: object) => ({ properties: { id, ...properties } });

function problemsOf(changes: object): readonly string[] {
  try {
    define(changes);
  } catch (error) {
    if (error instanceof ModelException) return error.details['problems'] as readonly string[];
    throw error;
  }
  return [];
}

describe('defineModel', () => {
  it('answers a frozen definition that is known as one', () => {
    const model = defineModel({ ...valid, indexes: [{ name: 'byId', on: ['id'] }] });
    expect(model).toMatchObject({ name: 'City', version: '1.0', key: ['id'], reservedNumbers: [] });
    for (const part of [model, model.properties, model.properties.id, model.key, model.indexes]) {
      expect(Object.isFrozen(part)).toBe(true);
    }
    expect(isModel(model)).toBe(true);
    expect([isModel({ ...valid }), isModel(null), isEmbedded(model)]).toEqual([false, false, false]);
  });

  it.each<[string, object, RegExp]>([
    ['a name with a space', { name: 'My City' }, /^name must match/],
    ['a name that begins with a digit', { name: '1City' }, /^name must match/],
    ['a name of 65 characters', { name: 'C'.repeat(65) }, /^name must match/],
    ['a version of one part', { version: '1' }, /^version must be/],
    ['a version with a leading zero', { version: '1.01' }, /^version must be/],
    ['an empty key', { key: [] }, /^key must name at least one/],
    ['a key property that is not there', { key: ['nope'] }, /^key names property "nope", which is not there/],
    ['an inherited name as key', { key: ['toString'] }, /^key names property "toString", which is not there/],
    ['a key property twice', { key: ['id', 'id'] }, /^key names property "id" twice/],
    ['an optional key', { properties: { id: string({ number: 1 }) } }, /^key property "id" must be required/],
    [
      'a key that has no order',
      { properties: { id: list({ number: 1, required: true, of: string() }) } },
      /^key property "id" is of type list/,
    ],
    ['number 0', withProperties({ a: string({ number: 0 }) }), /^number of property "a" must be an integer/],
    ['number 2^29', withProperties({ a: string({ number: 2 ** 29 }) }), /^number of property "a" must be/],
    [
      'a fractional number',
      withProperties({ a: string({ number: 1.5 }) }),
      /^number of property "a" must be/,
    ],
    [
      'a number twice',
      withProperties({ a: string({ number: 1 }) }),
      /^properties "id" and "a" have the same/,
    ],
    ['no number', withProperties({ a: string() }), /^property "a" needs a number/],
    ['what is no property', withProperties({ a: 'string' }), /^property "a" must be made by/],
    ['a bad property name', withProperties({ 'a-b': string({ number: 2 }) }), /^property "a-b" must match/],
    [
      'a property name that every object has',
      withProperties({ constructor: string({ number: 2 }) }),
      /^property "constructor" is a name that every object has/,
    ],
    [
      'a reserved number in use',
      { ...withProperties({ a: string({ number: 2 }) }), reservedNumbers: [2] },
      /^number 2 of property "a" is reserved/,
    ],
    [
      'a reserved name in use',
      { ...withProperties({ a: string({ number: 2 }) }), reservedNames: ['a'] },
      /^name of property "a" is reserved/,
    ],
    ['a number reserved twice', { reservedNumbers: [5, 5] }, /^number 5 is reserved twice/],
    ['a name reserved twice', { reservedNames: ['x', 'x'] }, /^name "x" is reserved twice/],
    ['a bad reserved number', { reservedNumbers: [-1] }, /^reserved numbers must be/],
    ['a bad reserved name', { reservedNames: ['x y'] }, /^reserved name "x y" must match/],
    [
      'an alternative name that is a property',
      withProperties({ a: string({ number: 2, alternativeNames: ['id'] }) }),
      /^alternative name "id" of property "a" is the name of a property/,
    ],
    [
      'an alternative name of two properties',
      withProperties({
        a: string({ number: 2, alternativeNames: ['x'] }),
        b: string({ number: 3, alternativeNames: ['x'] }),
      }),
      /^alternative name "x" of property "b" is an alternative name of property "a" already/,
    ],
    [
      'an alternative name that is reserved',
      { ...withProperties({ a: string({ number: 2, alternativeNames: ['x'] }) }), reservedNames: ['x'] },
      /^alternative name "x" of property "a" is reserved/,
    ],
    [
      'a bad alternative name',
      withProperties({ a: string({ number: 2, alternativeNames: ['x-y'] }) }),
      /^alternative name "x-y" of property "a" must match/,
    ],
    [
      'min above max',
      withProperties({ a: int32({ number: 2, min: 5, max: 4 }) }),
      /"a": min 5 is above max 4/,
    ],
    [
      'min above max, int64',
      withProperties({ a: int64({ number: 2, min: 5n, max: 4n }) }),
      /"a": min 5 is above max 4/,
    ],
    ['a fractional limit of an int32', withProperties({ a: int32({ number: 2, min: 0.5 }) }), /own type/],
    ['a limit beyond int32', withProperties({ a: int32({ number: 2, max: 2 ** 31 }) }), /own type/],
    ['a limit beyond int64', withProperties({ a: int64({ number: 2, max: 2n ** 63n }) }), /own type/],
    ['NaN as a limit', withProperties({ a: float64({ number: 2, min: Number.NaN }) }), /own type/],
    [
      'an invalid date as a limit',
      withProperties({ a: timestamp({ number: 2, min: instantFromMs(Number.NaN) }) }),
      /own type/,
    ],
    ['a negative size', withProperties({ a: string({ number: 2, minSize: -1 }) }), /integers from 0 up/],
    [
      'minSize above maxSize',
      withProperties({ a: string({ number: 2, minSize: 5, maxSize: 4 }) }),
      /minSize 5 is above maxSize 4/,
    ],
    ['a bad regex', withProperties({ a: string({ number: 2, regex: '(' }) }), /regex is not a regular/],
    [
      'a regex that is bad alone',
      withProperties({ a: string({ number: 2, regex: 'a)|(b' }) }),
      /regex is not/,
    ],
    [
      'an enum without cases',
      withProperties({ a: enumeration({ number: 2, cases: {} }) }),
      /at least one case/,
    ],
    [
      'two cases of one number',
      withProperties({ a: enumeration({ number: 2, cases: { x: 1, y: 1 } }) }),
      /two cases of property "a" have the number 1/,
    ],
    [
      'a negative case',
      withProperties({ a: enumeration({ number: 2, cases: { x: -1 } }) }),
      /numbers of the cases/,
    ],
    ['a bad case', withProperties({ a: enumeration({ number: 2, cases: { 'x y': 1 } }) }), /case "x y" of/],
    [
      'a reserved case number',
      withProperties({ a: enumeration({ number: 2, cases: { x: 1 }, reservedNumbers: [1] }) }),
      /number 1 of case "x" of property "a" is reserved/,
    ],
    [
      'a reserved case',
      withProperties({ a: enumeration({ number: 2, cases: { x: 1 }, reservedNames: ['x'] }) }),
      /case "x" of property "a" is reserved/,
    ],
    [
      'a bad element of a list',
      withProperties({ a: list({ number: 2, of: string({ minSize: -1 }) }) }),
      /element of property "a": minSize/,
    ],
    [
      'what cannot be embedded',
      withProperties({ a: embedded({ number: 2, model: {} as never }) }),
      /must embed a definition/,
    ],
    [
      'what cannot be referred to',
      withProperties({ a: reference({ number: 2, to: {} as never }) }),
      /must refer to a definition/,
    ],
    [
      'a bad target name',
      withProperties({ a: reference({ number: 2, to: 'x y' }) }),
      /target of property "a" must/,
    ],
    [
      'an index twice',
      { indexes: [0, 1].map(() => ({ name: 'i', on: ['id'] })) },
      /index "i" is defined twice/,
    ],
    ['a bad index name', { indexes: [{ name: 'i j', on: ['id'] }] }, /index "i j" must match/],
    ['an index on nothing', { indexes: [{ name: 'i', on: [] }] }, /index "i" must be on at least one/],
    [
      'an index on what is not there',
      { indexes: [{ name: 'i', on: ['x'] }] },
      /index "i" names property "x", which/,
    ],
    [
      'a property twice in an index',
      { indexes: [{ name: 'i', on: ['id', 'id'] }] },
      /names property "id" twice/,
    ],
    [
      'an index on what has no order',
      { ...withProperties({ a: embedded({ number: 2, model: self }) }), indexes: [{ name: 'i', on: ['a'] }] },
      /"a" of type embedded, which cannot stand in an index/,
    ],
    [
      'an index on a list of lists',
      {
        ...withProperties({ a: list({ number: 2, of: list({ of: string() }) }) }),
        indexes: [{ name: 'i', on: ['a'] }],
      },
      /"a" of type list of list, which cannot/,
    ],
    [
      'two lists in an index',
      {
        ...withProperties({ a: list({ number: 2, of: string() }), b: list({ number: 3, of: string() }) }),
        indexes: [{ name: 'i', on: ['a', 'b'] }],
      },
      /index "i" names 2 lists/,
    ],
  ])('refuses %s', (_what, changes, problem) => {
    const problems = problemsOf(changes);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(problem);
  });

  it('lists every problem at once, in the message too', () => {
    const changes = { version: 'one', key: ['nope'], reservedNumbers: [1] };
    expect(problemsOf(changes)).toHaveLength(3);
    expect(() => define(changes)).toThrow(
      /^Model City is invalid: number 1 of property "id" is reserved; version must be .*; key names property "nope"/,
    );
  });

  it('takes the limits of each type as they are', () => {
    const properties = {
      a: int32({ number: 2, min: -(2 ** 31), max: 2 ** 31 - 1 }),
      b: int64({ number: 3, min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      c: string({ number: 536_870_911, minSize: 0, regex: '\\p{L}+' }),
      d: enumeration({ number: 5, cases: { zero: 0 } }),
      e: boolean({ number: 6 }),
    };
    expect(problemsOf(withProperties(properties))).toEqual([]);
  });
});

describe('defineEmbedded', () => {
  const address = (street: number) =>
    defineEmbedded({ name: 'Address', properties: { street: string({ number: street }) } });

  it('answers a frozen definition that is known as one', () => {
    const definition = address(1);
    expect(Object.isFrozen(definition)).toBe(true);
    expect([isEmbedded(definition), isModel(definition)]).toEqual([true, false]);
  });

  it('checks as defineModel does', () => {
    expect(() => address(0)).toThrow(/^Embedded model Address is invalid: number of property "street"/);
  });

  it('may stand in a model several times, but two of one name may not', () => {
    const one = address(1);
    const home = embedded({ number: 2, model: one });
    expect(
      problemsOf(withProperties({ home, work: list({ number: 3, of: embedded({ model: one }) }) })),
    ).toEqual([]);
    const other = embedded({ number: 3, model: address(7) });
    expect(problemsOf(withProperties({ home, work: other }))).toEqual([
      expect.stringMatching(/^two different definitions of the name "Address"/),
    ]);
    const City = defineEmbedded({ name: 'City', properties: { a: string({ number: 1 }) } });
    expect(problemsOf(withProperties({ inner: embedded({ number: 2, model: City }) }))).toHaveLength(1);
  });
});
