import { describe, expect, expectTypeOf, it } from 'vitest';

import {
  boolean,
  bytes,
  date,
  decimal,
  defineEmbedded,
  defineModel,
  embedded,
  enumeration,
  float64,
  int32,
  int64,
  list,
  map,
  reference,
  self,
  set,
  string,
  timestamp,
  union,
} from '../../src/model/index.ts';
import type { AnyKey, AnyModel, AnyModels, InputOf, KeyOf, RecordOf } from '../../src/model/index.ts';
import { defineTransform, drop } from '../../src/model/transform.ts';

const Country = defineModel({
  name: 'Country',
  version: '1.0',
  key: ['code'],
  properties: { code: string({ number: 1, required: true }), name: string({ number: 2 }) },
});

const Address = defineEmbedded({
  name: 'Address',
  properties: { street: string({ number: 1, required: true }), city: string({ number: 2 }) },
});

const Everything = defineModel({
  name: 'Everything',
  version: '1.0',
  key: ['id', 'country'],
  properties: {
    id: int64({ number: 1, required: true }),
    country: reference({ number: 2, to: Country, required: true }),
    flag: boolean({ number: 3, required: true }),
    count: int32({ number: 4, required: true }),
    ratio: float64({ number: 5, required: true }),
    at: timestamp({ number: 6, required: true }),
    raw: bytes({ number: 7, required: true }),
    size: enumeration({ number: 8, required: true, cases: { small: 1, large: 2 } }),
    tags: list({ number: 9, required: true, of: string({ maxSize: 10 }) }),
    sizes: list({ number: 10, required: true, of: enumeration({ cases: { small: 1, large: 2 } }) }),
    address: embedded({ number: 11, required: true, model: Address }),
    later: reference({ number: 12, required: true, to: () => Country }),
    parent: reference({ number: 13, required: false, to: 'Everything' }),
    note: string({ number: 14 }),
  },
  indexes: [{ name: 'byCount', on: ['count', { property: 'ratio', reversed: true }], unique: true }],
});

interface EverythingRecord {
  id: bigint;
  country: string;
  flag: boolean;
  count: number;
  ratio: number;
  at: Date;
  raw: Uint8Array;
  size: 'small' | 'large';
  tags: readonly string[];
  sizes: readonly ('small' | 'large')[];
  address: { street: string; city?: string | undefined };
  later: string;
  parent?: AnyKey | undefined;
  note?: string | undefined;
}

describe('the types of records and keys', () => {
  it('follow from the definition', () => {
    expectTypeOf<RecordOf<typeof Everything>>().branded.toEqualTypeOf<EverythingRecord>();
    expectTypeOf<InputOf<typeof Everything>>().branded.toEqualTypeOf<EverythingRecord>();
    expectTypeOf<RecordOf<typeof Everything>['note']>().toEqualTypeOf<string | undefined>();
    expectTypeOf<RecordOf<typeof Everything>['flag']>().toEqualTypeOf<boolean>();
  });

  it('follow the newer types, and let what has a default be left out', () => {
    const Newer = defineModel({
      name: 'Newer',
      version: '1.0',
      key: ['id'],
      properties: {
        id: string({ number: 1, required: true }),
        price: decimal({ number: 2, required: true, precision: 9, scale: 2 }),
        day: date({ number: 3, required: true, default: '2026-01-01' }),
        tags: set({ number: 4, required: true, of: string() }),
        sizes: map({ number: 5, of: int32(), key: enumeration({ cases: { s: 1, m: 2 } }) }),
        contact: union({
          number: 6,
          required: true,
          cases: { mail: { number: 1, of: string() }, age: { number: 2, of: int32() } },
        }),
      },
    });
    type Contact =
      { readonly case: 'mail'; readonly value: string } | { readonly case: 'age'; readonly value: number };
    interface Common {
      id: string;
      price: string;
      tags: ReadonlySet<string>;
      sizes?: ReadonlyMap<'s' | 'm', number> | undefined;
      contact: Contact;
    }
    expectTypeOf<RecordOf<typeof Newer>>().branded.toEqualTypeOf<Common & { day: string }>();
    expectTypeOf<InputOf<typeof Newer>>().branded.toEqualTypeOf<Common & { day?: string | undefined }>();
  });

  it('make a key of one property bare and a longer one an object', () => {
    expectTypeOf<KeyOf<typeof Country>>().toEqualTypeOf<string>();
    expectTypeOf<KeyOf<typeof Everything>>().branded.toEqualTypeOf<{ id: bigint; country: string }>();
    const Mark = defineModel({
      name: 'Mark',
      version: '1.0',
      key: ['of'],
      properties: { of: reference({ number: 1, to: Everything, required: true }) },
    });
    expectTypeOf<KeyOf<typeof Mark>>().branded.toEqualTypeOf<{ id: bigint; country: string }>();
    expectTypeOf<KeyOf<AnyModel>>().toEqualTypeOf<AnyKey>();
  });

  it('recur through self, also in lists', () => {
    const Tree = defineEmbedded({
      name: 'Tree',
      properties: {
        label: string({ number: 1, required: true }),
        left: embedded({ number: 2, model: self }),
        children: list({ number: 3, required: true, of: embedded({ model: self }) }),
      },
    });
    type TreeRecord = RecordOf<typeof Tree>;
    expectTypeOf<TreeRecord['left']>().toEqualTypeOf<TreeRecord | undefined>();
    expectTypeOf<TreeRecord['children']>().toEqualTypeOf<readonly TreeRecord[]>();
    const tree: TreeRecord = { label: 'a', children: [{ label: 'b', children: [] }] };
    expect(tree.children[0]?.label).toBe('b');
  });

  it('fit the types that know nothing of the model', () => {
    expectTypeOf(Everything).toExtend<AnyModel>();
    expectTypeOf<{ 1: typeof Country; 2: typeof Everything }>().toExtend<AnyModels>();
    expectTypeOf<RecordOf<AnyModel>>().toEqualTypeOf<Readonly<Record<string, unknown>>>();
    expectTypeOf(Everything.name).toEqualTypeOf<'Everything'>();
    expectTypeOf(Everything.indexes[0].name).toEqualTypeOf<'byCount'>();
  });

  it('refuse what contradicts itself', () => {
    const properties = {
      id: string({ number: 1, required: true }),
      note: string({ number: 2 }),
      tags: list({ number: 3, required: true, of: string() }),
    };
    const refused = [
      // @ts-expect-error a key property that is not there
      () => defineModel({ name: 'A', version: '1.0', key: ['ID'], properties }),
      // @ts-expect-error a key property that is optional
      () => defineModel({ name: 'A', version: '1.0', key: ['note'], properties }),
      // @ts-expect-error a key property that has no order
      () => defineModel({ name: 'A', version: '1.0', key: ['tags'], properties }),
      // @ts-expect-error no key
      () => defineModel({ name: 'A', version: '1.0', key: [], properties }),
      () =>
        defineModel({
          name: 'A',
          version: '1.0',
          key: ['id'],
          properties,
          // @ts-expect-error an index over a property that is not there
          indexes: [{ name: 'i', on: ['nope'] }],
        }),
      () =>
        defineModel({
          name: 'A',
          version: '1.0',
          key: ['id'],
          properties,
          // @ts-expect-error the same, reversed
          indexes: [{ name: 'i', on: [{ property: 'nope', reversed: true }] }],
        }),
    ];
    for (const define of refused) expect(define).toThrow(/Model A is invalid/);
    // @ts-expect-error a list element has no number
    list({ number: 1, of: string({ number: 2 }) });
    // @ts-expect-error a property of a model needs a number
    expect(() => defineEmbedded({ name: 'A', properties: { a: string() } })).toThrow(/needs a number/);
    // @ts-expect-error an option that is not there
    string({ number: 1, maxLength: 10 });
    // @ts-expect-error a limit of another type
    int64({ number: 1, min: 1 });
  });
});

describe('the types of transforms', () => {
  const CityV1 = defineModel({
    name: 'City',
    version: '1.0',
    key: ['id'],
    properties: {
      id: string({ number: 1, required: true }),
      lat: string({ number: 2, required: true }),
      admin: string({ number: 3 }),
    },
  });
  const CityV2 = defineModel({
    name: 'City',
    version: '2.0',
    key: ['id'],
    properties: {
      id: string({ number: 1, required: true }),
      latitude: float64({ number: 2, required: true, alternativeNames: ['lat'] }),
    },
    reservedNumbers: [3],
    reservedNames: ['admin'],
  });

  it('take the stored record and allow its leftovers in the new one', () => {
    defineTransform(CityV1, CityV2, (city, context) => {
      expectTypeOf(city).branded.toEqualTypeOf<{ id: string; lat: string; admin?: string | undefined }>();
      expectTypeOf(context.from.version).toEqualTypeOf<string>();
      return city.admin === 'gone' ? drop : { ...city, latitude: Number(city.lat) };
    });
    const blind = defineTransform(CityV2, (city) => {
      expectTypeOf(city).toEqualTypeOf<Readonly<Record<string, unknown>>>();
      return { id: String(city['id']), latitude: 0 };
    });
    expect(blind.target).toEqual({ name: 'City', version: '2.0' });
  });

  it('refuse what is no record of the new definition', () => {
    // @ts-expect-error a required property is missing
    defineTransform(CityV1, CityV2, (city) => ({ ...city }));
    // @ts-expect-error a property of the wrong type
    defineTransform(CityV1, CityV2, (city) => ({ ...city, latitude: city.lat }));
    // @ts-expect-error a transform is synchronous
    defineTransform(CityV1, CityV2, async (city) => ({ ...city, latitude: 1 }));
    expect(() => defineTransform(CityV1, 'City' as never, () => drop)).toThrow(/new definition/);
  });
});
