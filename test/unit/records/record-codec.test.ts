import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import { RequestException } from '../../../src/errors.ts';
import type { TypeData } from '../../../src/model/data.ts';
import {
  checkRecordSize,
  createRecordCodec,
  maxRecordBytes,
  schemaIdOf,
} from '../../../src/records/record-codec.ts';
import { drawSeed } from '../../rig/seed.ts';
import { definition, embeddedDefinition } from './definition.ts';
import { float64s, keyTypes, strings } from './key-values.ts';

const seed = drawSeed('record-codec.test.ts');

const scalars = Object.entries(keyTypes);
const innerFields = scalars.map(([name, { type }], at) => [name, at + 60, type, 'optional'] as const);
const inner: TypeData = { kind: 'embedded', model: 'Inner' };
const everyType = definition(
  [
    ['id', 1, { kind: 'string' }],
    ...scalars.map(([name, { type }], at) => [name, at + 2, type, 'optional'] as const),
    ...scalars.map(
      ([name, { type }], at) => [`${name}List`, at + 20, { kind: 'list', of: type }, 'optional'] as const,
    ),
    ...scalars.map(
      ([name], at) =>
        [`${name}Ref`, at + 40, { kind: 'reference', to: 'X', weak: false }, 'optional'] as const,
    ),
    ...scalars.map(
      ([name, { type }], at) => [`${name}Set`, at + 200, { kind: 'set', of: type }, 'optional'] as const,
    ),
    ...scalars.map(
      ([name, { type }], at) =>
        [
          `${name}Map`,
          at + 240,
          { kind: 'map', key: type, of: { kind: 'list', of: inner } },
          'optional',
        ] as const,
    ),
    [
      'union',
      300,
      {
        kind: 'union',
        cases: {
          text: { number: 1, type: { kind: 'string' } },
          ratio: { number: 2, type: { kind: 'float64' } },
          inner: { number: 3, type: inner },
        },
        reservedNumbers: [],
        reservedNames: [],
      },
      'optional',
    ],
    ['composite', 500_000_000, { kind: 'reference', to: 'Y', weak: false }, 'optional'],
    ['inner', 70_000, inner, 'optional'],
    ['inners', 70_001, { kind: 'list', of: inner }, 'optional'],
  ],
  { embedded: { Inner: embeddedDefinition('Inner', [...innerFields, ['self', 100, inner, 'optional']]) } },
);

const scalarValues = Object.fromEntries(scalars.map(([name, { values }]) => [name, values]));
const innerRecord = fc.letrec<{ inner: object }>((tie) => ({
  inner: fc.record({ ...scalarValues, self: tie('inner') }, { requiredKeys: [], noNullPrototype: true }),
})).inner;
/** Values of which no two are equal: a set holds -0 and 0 as one. */
const distinct = (name: string, values: fc.Arbitrary<unknown>) => {
  const compare = keyTypes[name]?.compare as ((left: unknown, right: unknown) => number) | undefined;
  return fc.uniqueArray(name === 'float64' ? values.filter((value) => !Object.is(value, -0)) : values, {
    maxLength: 4,
    comparator: (left, right) => compare?.(left, right) === 0,
  });
};
const records = fc.record(
  {
    id: fc.string(),
    ...scalarValues,
    ...Object.fromEntries(
      scalars.map(([name, { values }]) => [`${name}List`, fc.array(values, { maxLength: 4 })]),
    ),
    ...Object.fromEntries(
      scalars.map(([name, { values }]) => [
        `${name}Set`,
        distinct(name, values).map((elements) => new Set(elements)),
      ]),
    ),
    ...Object.fromEntries(
      scalars.map(([name, { values }]) => [
        `${name}Map`,
        distinct(name, values).chain((keys) =>
          fc
            .array(fc.array(innerRecord, { maxLength: 2 }), {
              minLength: keys.length,
              maxLength: keys.length,
            })
            .map((inners) => new Map(keys.map((key, at) => [key, inners[at]]))),
        ),
      ]),
    ),
    union: fc.oneof(
      fc.record({ case: fc.constant('text'), value: strings }, { noNullPrototype: true }),
      fc.record({ case: fc.constant('ratio'), value: float64s }, { noNullPrototype: true }),
      fc.record({ case: fc.constant('inner'), value: innerRecord }, { noNullPrototype: true }),
    ),
    // The codec does not know the key behind a reference: an enum case is its name, a timestamp a Date.
    ...Object.fromEntries(scalars.map(([name, { values }]) => [`${name}Ref`, values])),
    composite: fc.record({ a: float64s, b: fc.uint8Array() }, { noNullPrototype: true }),
    inner: innerRecord,
    inners: fc.array(innerRecord, { maxLength: 3 }),
  },
  { requiredKeys: ['id'], noNullPrototype: true },
);

describe('a record', () => {
  const codec = createRecordCodec(everyType);

  it('comes back as it was, of every type', () => {
    fc.assert(
      fc.property(records, fc.integer({ min: 1, max: 2 ** 32 - 1 }), (record, schemaId) => {
        const bytes = codec.encode(record, schemaId);
        expect(schemaIdOf(bytes)).toBe(schemaId);
        expect(codec.decode(bytes)).toStrictEqual({ schemaId, record, unknown: undefined });
      }),
      { seed, numRuns: 300 },
    );
  });

  it('is not changed by being encoded, nor is what was encoded before', () => {
    const record = { id: 'a', float64: -0, inner: { float64: -0 } };
    const bytes = codec.encode(record, 1);
    const copy = Buffer.from(bytes);
    codec.encode({ id: 'b'.repeat(5_000) }, 2);
    expect(bytes).toEqual(copy);
    expect(record).toStrictEqual({ id: 'a', float64: -0, inner: { float64: -0 } });
  });

  it('leaves out properties that are undefined', () => {
    expect(codec.decode(codec.encode({ id: 'a', string: undefined }, 1)).record).toStrictEqual({ id: 'a' });
  });

  it('reads from bytes in the midst of others', () => {
    const bytes = codec.encode({ id: 'a', bytes: Uint8Array.of(1, 2) }, 1);
    const among = new Uint8Array(bytes.length + 20).fill(0xff);
    among.set(bytes, 10);
    const { record } = codec.decode(among.subarray(10, 10 + bytes.length));
    expect(record).toStrictEqual({ id: 'a', bytes: Uint8Array.of(1, 2) });
  });
});

describe('what a definition does not know', () => {
  const newer = createRecordCodec(everyType);
  const older = createRecordCodec(
    definition(
      [
        ['id', 1, { kind: 'string' }],
        ['inner', 70_000, inner],
      ],
      { embedded: { Inner: embeddedDefinition('Inner', [['string', 60, { kind: 'string' }]]) } },
    ),
  );

  it('survives a rewrite, at the top and inside embedded values that are kept', () => {
    fc.assert(
      fc.property(records, (record) => {
        const { record: known, unknown } = older.decode(newer.encode(record, 2));
        const rewritten = newer.decode(older.encode({ ...known, id: 'changed' }, 2, unknown)).record;
        expect(rewritten).toEqual({ ...record, id: 'changed' });
      }),
      { seed, numRuns: 200 },
    );
  });

  it('gives way to a known value under the same number', () => {
    const bytes = older.encode({ id: 'mine' }, 1, new Map([[1, 'other']]));
    expect(older.decode(bytes).record).toEqual({ id: 'mine' });
  });

  it('is an enum case read as its number, and written back as that', () => {
    const withCases = (cases: Record<string, number>) =>
      createRecordCodec(
        definition([
          ['id', 1, { kind: 'string' }],
          ['e', 2, { kind: 'enum', cases, reservedNumbers: [], reservedNames: [] }],
        ]),
      );
    const old = withCases({ a: 1 });
    const decoded = old.decode(withCases({ a: 1, b: 2 }).encode({ id: 'x', e: 'b' }, 1));
    expect(decoded.record).toEqual({ id: 'x', e: 2 });
    expect(old.decode(old.encode(decoded.record, 1)).record).toEqual({ id: 'x', e: 2 });
  });
});

describe('bytes that are no record', () => {
  const codec = createRecordCodec(everyType);
  const good = codec.encode({ id: 'secret', int32: 7 }, 300);
  const refusal = (bytes: Uint8Array): RequestException => {
    try {
      codec.decode(bytes);
    } catch (error) {
      if (error instanceof RequestException) return error;
      throw error;
    }
    throw new Error('these bytes were read');
  };

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['another format', Buffer.concat([Buffer.of(2), good.subarray(1)])],
    ['no parts', Buffer.concat([Buffer.of(1, 0), good.subarray(2)])],
    ['a header cut short', good.subarray(0, 3)],
    ['a schema id without end', Buffer.of(1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)],
    ['a record cut short', good.subarray(0, good.length - 1)],
    ['something behind the record', Buffer.concat([good, Buffer.of(1)])],
    ['no map', Buffer.concat([good.subarray(0, 4), new Packr().pack('secret')])],
  ])('are refused: %s', (_what, bytes) => {
    const error = refusal(bytes);
    expect(error.code).toBe('RECORD_UNREADABLE');
    expect(error.message).not.toContain('secret');
    expect(error.cause).toBeUndefined();
  });

  it('are refused as that and as nothing else, whatever they are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.boolean(), (content, withHeader) => {
        const bytes = withHeader ? Buffer.concat([Buffer.of(1, 1, 1), content]) : content;
        try {
          codec.decode(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(RequestException);
        }
      }),
      { seed, numRuns: 1_000 },
    );
  });
});

describe('the size of a record', () => {
  it('is refused above the limit, naming model and sizes', () => {
    expect(() => {
      checkRecordSize('City', Buffer.alloc(maxRecordBytes));
    }).not.toThrow();
    expect(() => {
      checkRecordSize('City', Buffer.alloc(maxRecordBytes + 1));
    }).toThrow(
      expect.objectContaining({
        code: 'RECORD_TOO_LARGE',
        message: expect.stringMatching(/City.*1000001.*1000000/),
      }),
    );
  });
});
