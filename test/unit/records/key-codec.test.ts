import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ReferenceKeys } from '../../../src/model/data.ts';
import { createKeyCodec } from '../../../src/records/key-codec.ts';
import { drawSeed } from '../../rig/seed.ts';
import { definition } from './definition.ts';
import { keyTypes } from './key-values.ts';

const seed = drawSeed('key-codec.test.ts');
const sign = Math.sign;

describe.each(Object.entries(keyTypes))('a key of type %s', (_name, { type, values, compare }) => {
  const codec = createKeyCodec(definition([['id', 1, type]]));

  it('comes back as it was', () => {
    fc.assert(
      fc.property(values, (key) => {
        expect(codec.decode(codec.encode(key))).toStrictEqual(key);
        expect(codec.encodeFromRecord({ id: key })).toEqual(codec.encode(key));
      }),
      { seed, numRuns: 300 },
    );
  });

  it('has bytes that sort as it does', () => {
    fc.assert(
      fc.property(values, values, (left, right) => {
        const order = codec.encode(left).compare(codec.encode(right));
        expect(sign(order)).toBe(sign(compare(left as never, right as never)));
      }),
      { seed, numRuns: 300 },
    );
  });
});

describe('a key of several properties', () => {
  const parts = Object.values(keyTypes);
  const codec = createKeyCodec(
    definition(
      parts.map(({ type }, at) => [`p${at}`, at + 1, type]),
      { key: parts.map((_, at) => `p${at}`) },
    ),
  );
  const keys = fc.record(Object.fromEntries(parts.map(({ values }, at) => [`p${at}`, values])));

  it('comes back as an object', () => {
    fc.assert(
      fc.property(keys, (key) => {
        expect(codec.decode(codec.encode(key))).toStrictEqual({ ...key });
      }),
      { seed, numRuns: 200 },
    );
  });

  it('sorts by its first property, then by the next', () => {
    const similar = keys.chain((left) =>
      fc
        .tuple(keys, fc.nat(parts.length - 1))
        .map(([other, same]) => [
          left,
          Object.fromEntries(
            Object.entries(other).map(([name, part], at) => [name, at < same ? left[name] : part]),
          ),
        ]),
    );
    fc.assert(
      fc.property(similar, ([left = {}, right = {}]) => {
        let expected = 0;
        parts.forEach(({ compare }, at) => {
          expected ||= compare(left[`p${at}`] as never, right[`p${at}`] as never);
        });
        expect(sign(codec.encode(left).compare(codec.encode(right)))).toBe(sign(expected));
      }),
      { seed, numRuns: 300 },
    );
  });
});

describe('a key that is a reference', () => {
  const references: ReferenceKeys = {
    Country: [{ name: 'code', type: { kind: 'float64' } }],
    Place: [
      { name: 'country', type: { kind: 'reference', to: 'Country', weak: false } },
      { name: 'number', type: { kind: 'int64' } },
    ],
  };
  const to = (model: string) => definition([['id', 1, { kind: 'reference', to: model, weak: false }]]);

  it('has the bytes of the key it names', () => {
    const country = createKeyCodec(definition([['code', 1, { kind: 'float64' }]], { key: ['code'] }));
    expect(createKeyCodec(to('Country'), references).encode(3)).toEqual(country.encode(3));
  });

  it('may have several parts, themselves references', () => {
    const codec = createKeyCodec(to('Place'), references);
    const key = { country: -0, number: 5n };
    expect(codec.decode(codec.encode(key))).toStrictEqual(key);
    expect(codec.encode({ number: 5n, country: -0 })).toEqual(codec.encode(key));
  });

  it.each(['AD', 5, -0, 2n ** 60n, true, Uint8Array.of(1, 0), { code: 'AD', number: 5 }])(
    'to a model that is not known takes %o and gives it back',
    (key) => {
      const codec = createKeyCodec(to('Unknown'));
      expect(codec.decode(codec.encode(key))).toStrictEqual(key);
    },
  );
});

describe('a key codec', () => {
  const codec = createKeyCodec(definition([['id', 1, { kind: 'int32' }]]));

  it('refuses bytes with something behind the key', () => {
    expect(() => codec.decode(Buffer.concat([codec.encode(1), Buffer.of(0)]))).toThrow(TypeError);
  });

  it('names the type and not the value that it cannot encode', () => {
    expect(() => codec.encode('secret')).toThrow('a key component of type int32 cannot be a string');
  });

  it('keeps an enum case that it does not know as its number', () => {
    const type = { kind: 'enum', cases: { one: 1 }, reservedNumbers: [], reservedNames: [] } as const;
    const withEnum = createKeyCodec(definition([['id', 1, type]]));
    expect(withEnum.decode(withEnum.encode(7))).toBe(7);
  });
});
