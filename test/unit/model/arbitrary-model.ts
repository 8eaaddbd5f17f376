import fc from 'fast-check';

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
  set,
  string,
  timestamp,
  union,
} from '../../../src/model/index.ts';
import type { AnyModel, ElementType, IndexOptions, Property } from '../../../src/model/index.ts';
import { formatDay } from '../../../src/model/calendar.ts';
import { instantFromMs } from '../../../src/ports/instant.ts';

/** Random models of every type and constraint, described by data so that one can be built in several orders. */

/** Makes a property; or an element type when given no number, whatever the compiler believes. */
type Make = (options: {
  readonly number?: number;
  readonly required?: boolean;
  readonly alternativeNames?: readonly string[];
}) => Property;

interface PropertyDraft {
  readonly number: number;
  readonly required: boolean;
  readonly hasAlias: boolean;
  readonly make: Make;
}

export interface ModelDraft {
  readonly version: string;
  readonly properties: readonly PropertyDraft[];
  readonly indexes: readonly (readonly [index: number, reversed: boolean, unique: boolean])[];
  readonly reserved: readonly number[];
}

const limits = (min: number, max: number) =>
  fc.tuple(fc.integer({ min, max }), fc.integer({ min, max })).map(([left, right]) => ({
    min: Math.min(left, right),
    max: Math.max(left, right),
  }));
const partOf = <T extends object>(arbitrary: fc.Arbitrary<T>) =>
  fc.tuple(arbitrary, fc.boolean(), fc.boolean()).map(([both, left, right]) => {
    const [low, high] = Object.entries(both);
    return Object.fromEntries([
      ...(left && low ? [low] : []),
      ...(right && high ? [high] : []),
    ]) as Partial<T>;
  });
const values = partOf(limits(-1_000, 1_000));
const sizes = partOf(limits(1, 50).map(({ min, max }) => ({ minSize: min, maxSize: max })));
const cases = fc
  .uniqueArray(fc.integer({ min: 0, max: 20 }), { minLength: 1, maxLength: 5 })
  .map((numbers) => Object.fromEntries(numbers.map((number) => [`case${number}`, number])));

// A generic caller cannot pick an overload; the constructors themselves look at `number` alone.
const made =
  (construct: unknown, constraints: object): Make =>
  (options) =>
    (construct as (all: object) => Property)({ ...constraints, ...options });

const scalar: fc.Arbitrary<Make> = fc.oneof(
  fc
    .tuple(sizes, fc.option(fc.constantFrom('[a-z]*', '\\d+', '.{1,9}'), { nil: undefined }))
    .map(([size, regex]) => made(string, { ...size, regex })),
  fc.constant(made(boolean, {})),
  values.map((value) => made(int32, value)),
  values.map((value) => made(float64, value)),
  values.map(({ min, max }) =>
    made(int64, {
      min: min === undefined ? undefined : BigInt(min),
      max: max === undefined ? undefined : BigInt(max),
    }),
  ),
  values.map(({ min, max }) =>
    made(timestamp, {
      min: min === undefined ? undefined : instantFromMs(min),
      max: max === undefined ? undefined : instantFromMs(max),
    }),
  ),
  values.map(({ min, max }) =>
    made(date, {
      min: min === undefined ? undefined : formatDay(min),
      max: max === undefined ? undefined : formatDay(max),
    }),
  ),
  fc.tuple(values, fc.integer({ min: 0, max: 4 })).map(([{ min, max }, scale]) =>
    made(decimal, {
      precision: 9,
      scale,
      min: min === undefined ? undefined : String(min),
      max: max === undefined ? undefined : String(max),
    }),
  ),
  sizes.map((size) => made(bytes, size)),
  cases.map((all) => made(enumeration, { cases: all })),
  fc
    .tuple(fc.constantFrom('Country', 'City'), fc.boolean())
    .map(([to, weak]) => made(reference, { to, weak })),
);

const type: fc.Arbitrary<Make> = fc.oneof(
  { weight: 6, arbitrary: scalar },
  {
    weight: 2,
    arbitrary: fc
      .tuple(scalar, sizes)
      .map(([of, size]) => made(list, { of: of({}) as unknown as ElementType, ...size })),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(scalar, scalar, sizes, fc.boolean()).map(([key, of, size, isMap]) =>
      isMap
        ? made(map, {
            key: key({}) as unknown as ElementType,
            of: of({}) as unknown as ElementType,
            ...size,
          })
        : made(set, { of: of({}) as unknown as ElementType, ...size }),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(scalar, scalar).map(([left, right]) =>
      made(union, {
        cases: {
          left: { number: 1, of: left({}) as unknown as ElementType },
          right: { number: 2, of: right({}) as unknown as ElementType },
        },
      }),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(scalar, fc.constantFrom('Inner', 'Other')).map(([inner, name]) => {
      // The same name means the same definition: one of each name is built per model, by the first draft that has it.
      const definition = defineEmbedded({ name, properties: { inner: inner({ number: 1 }) } });
      return made(embedded, { model: definition });
    }),
  },
);

export const modelDraft: fc.Arbitrary<ModelDraft> = fc
  .uniqueArray(fc.integer({ min: 2, max: 500 }), { minLength: 1, maxLength: 8 })
  .chain((numbers) =>
    fc.record({
      version: fc.tuple(fc.nat(3), fc.nat(3)).map((parts) => parts.join('.')),
      properties: fc.tuple(
        ...numbers.map((number) =>
          fc.record({
            number: fc.constant(number),
            required: fc.boolean(),
            hasAlias: fc.boolean(),
            make: type,
          }),
        ),
      ),
      indexes: fc.array(fc.tuple(fc.nat(numbers.length - 1), fc.boolean(), fc.boolean()), { maxLength: 3 }),
      reserved: fc.uniqueArray(fc.integer({ min: 501, max: 600 }), { maxLength: 4 }),
    }),
  );

/** Builds the model, everything without an order from last to first if `reversed`. */
export function buildModel(draft: ModelDraft, reversed = false): AnyModel {
  const inOrder = <T>(items: readonly T[]): readonly T[] => (reversed ? items.toReversed() : items);
  const embeddedByName = new Map<string, unknown>();
  const properties = draft.properties.flatMap(({ number, required, hasAlias, make }) => {
    const name = `p${number}`;
    const alternativeNames = hasAlias ? inOrder([`old${number}`, `older${number}`]) : [];
    const property = make({ number, required, alternativeNames });
    if (property.type.kind === 'embedded' && typeof property.type.model === 'object') {
      const { model } = property.type;
      if (embeddedByName.has(model.name)) return [];
      embeddedByName.set(model.name, model);
    }
    return [[name, property] as const];
  });
  const byName = { id: string({ number: 1, required: true }), ...Object.fromEntries(inOrder(properties)) };
  const indexes = draft.indexes.flatMap(([position, isReversed, unique], at): IndexOptions[] => {
    const property = draft.properties[position];
    const name = `p${property?.number}`;
    const kind = Object.hasOwn(byName, name) ? (byName as Record<string, Property>)[name]?.kind : undefined;
    if (kind === undefined || kind === 'embedded' || kind === 'map' || kind === 'union') return [];
    return [{ name: `by${at}`, on: ['id', { property: name, reversed: isReversed }], unique }];
  });
  return defineModel({
    name: 'City',
    version: draft.version,
    key: ['id'],
    properties: byName,
    indexes: inOrder(indexes) as readonly [],
    reservedNumbers: inOrder(draft.reserved),
    reservedNames: inOrder(draft.reserved.map((number) => `gone${number}`)),
  });
}
