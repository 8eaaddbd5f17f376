import type { AnyEmbedded, AnyModel } from './define.ts';
import type { KeyOfTarget, RecordOf } from './infer.ts';
import type { ElementOptions, ElementType, OptionalOptions, Property, PropertyOptions } from './property.ts';
import type { ReferenceTarget, RequiredOptions, Self, TypeSpec, ValueIn } from './property.ts';
import type { TypeKind } from './data.ts';

/**
 * The types of properties. Each constructor makes a property when given a `number`, else the element type of a
 * list. They check nothing: `defineModel` checks a definition as a whole and reports every problem at once.
 */

/** Limits of a size, both inclusive: UTF-16 code units of a string, bytes, or elements of a list. Default none. */
export interface SizeLimits {
  readonly minSize?: number | undefined;
  readonly maxSize?: number | undefined;
}

/** Limits of a value, both inclusive. Default none beyond those of the type. */
export interface ValueLimits<Value> {
  readonly min?: Value | undefined;
  readonly max?: Value | undefined;
}

export interface StringConstraints extends SizeLimits {
  /** Source of a regular expression (flag `u`) that the whole string has to match. Default any. */
  readonly regex?: string | undefined;
}

export interface EnumConstraints<Cases> {
  /** Name of each case to its number: 0 to 2,147,483,647, stays with the case for ever. */
  readonly cases: Cases;
  /** Numbers of former cases. */
  readonly reservedNumbers?: readonly number[] | undefined;
  /** Names of former cases. */
  readonly reservedNames?: readonly string[] | undefined;
}

export interface ListConstraints<Element extends ElementType> extends SizeLimits {
  readonly of: Element;
}

export interface EmbeddedConstraints<M> {
  /** Made by `defineEmbedded` or `defineModel`, or `self` for the definition that this property stands in. */
  readonly model: M;
}

export interface ReferenceConstraints<Target> {
  /** The model referred to: a definition, a thunk, or a name, which is resolved when the store is opened. */
  readonly to: Target;
  /** Orders no migrations, and its target may be missing. Default false. */
  readonly weak?: boolean | undefined;
}

/** Makes properties and element types of one kind. */
export interface TypeConstructor<Constraints, Value, Kind extends TypeKind> {
  (options: Constraints & RequiredOptions): Property<Value, true, Kind>;
  (options: Constraints & OptionalOptions): Property<Value, false, Kind>;
  (options?: Constraints & ElementOptions): ElementType<Value, Kind>;
}

/** Text without lone surrogates, which UTF-8 cannot hold. */
export const string: TypeConstructor<StringConstraints, string, 'string'> = (
  options: StringConstraints = {},
) => build(options, { kind: 'string', ...sizeLimits(options), ...ifGiven('regex', options.regex) });

/** `true` or `false`. */
export const boolean: TypeConstructor<unknown, boolean, 'boolean'> = (options: unknown = {}) =>
  build(options, { kind: 'boolean' });

/** An integer from -2^31 to 2^31 - 1. */
export const int32: TypeConstructor<ValueLimits<number>, number, 'int32'> = (
  options: ValueLimits<number> = {},
) => build(options, { kind: 'int32', ...valueLimits(options, Number) });

/** A `bigint` from -2^63 to 2^63 - 1. */
export const int64: TypeConstructor<ValueLimits<bigint>, bigint, 'int64'> = (
  options: ValueLimits<bigint> = {},
) => build(options, { kind: 'int64', ...valueLimits(options, String) });

/** A finite number of double precision. */
export const float64: TypeConstructor<ValueLimits<number>, number, 'float64'> = (
  options: ValueLimits<number> = {},
) => build(options, { kind: 'float64', ...valueLimits(options, Number) });

/** A point in time as a `Date`, in whole milliseconds. */
export const timestamp: TypeConstructor<ValueLimits<Date>, Date, 'timestamp'> = (
  options: ValueLimits<Date> = {},
) => build(options, { kind: 'timestamp', ...valueLimits(options, Number) });

/** A `Uint8Array`. */
export const bytes: TypeConstructor<SizeLimits, Uint8Array, 'bytes'> = (options: SizeLimits = {}) =>
  build(options, { kind: 'bytes', ...sizeLimits(options) });

/** Cases of an enumeration by name. */
type Cases = Readonly<Record<string, number>>;

/** The name of one of a set of cases. */
export function enumeration<const C extends Cases>(
  options: EnumConstraints<C> & RequiredOptions,
): Property<keyof C & string, true, 'enum'>;
export function enumeration<const C extends Cases>(
  options: EnumConstraints<C> & OptionalOptions,
): Property<keyof C & string, false, 'enum'>;
export function enumeration<const C extends Cases>(
  options: EnumConstraints<C> & ElementOptions,
): ElementType<keyof C & string, 'enum'>;
export function enumeration(options: EnumConstraints<Cases>) {
  const { cases, reservedNumbers = [], reservedNames = [] } = options;
  return build(options, { kind: 'enum', cases: { ...cases }, reservedNumbers, reservedNames });
}

/** An array whose elements are all of one type. */
export function list<E extends ElementType>(
  options: ListConstraints<E> & RequiredOptions,
): Property<readonly ValueIn<E>[], true, 'list'>;
export function list<E extends ElementType>(
  options: ListConstraints<E> & OptionalOptions,
): Property<readonly ValueIn<E>[], false, 'list'>;
export function list<E extends ElementType>(
  options: ListConstraints<E> & ElementOptions,
): ElementType<readonly ValueIn<E>[], 'list'>;
export function list(options: ListConstraints<ElementType>) {
  return build(options, { kind: 'list', of: options.of.type, ...sizeLimits(options) });
}

type Embeddable = AnyModel | AnyEmbedded | Self;
type RecordEmbedded<M extends Embeddable> = M extends AnyModel | AnyEmbedded ? RecordOf<M> : Self;

/** A record inside the record. */
export function embedded<M extends Embeddable>(
  options: EmbeddedConstraints<M> & RequiredOptions,
): Property<RecordEmbedded<M>, true, 'embedded'>;
export function embedded<M extends Embeddable>(
  options: EmbeddedConstraints<M> & OptionalOptions,
): Property<RecordEmbedded<M>, false, 'embedded'>;
export function embedded<M extends Embeddable>(
  options: EmbeddedConstraints<M> & ElementOptions,
): ElementType<RecordEmbedded<M>, 'embedded'>;
export function embedded(options: EmbeddedConstraints<Embeddable>) {
  return build(options, { kind: 'embedded', model: options.model });
}

/** The key of a record of another model, or of the same. */
export function reference<T extends ReferenceTarget>(
  options: ReferenceConstraints<T> & RequiredOptions,
): Property<KeyOfTarget<T>, true, 'reference'>;
export function reference<T extends ReferenceTarget>(
  options: ReferenceConstraints<T> & OptionalOptions,
): Property<KeyOfTarget<T>, false, 'reference'>;
export function reference<T extends ReferenceTarget>(
  options: ReferenceConstraints<T> & ElementOptions,
): ElementType<KeyOfTarget<T>, 'reference'>;
export function reference(options: ReferenceConstraints<ReferenceTarget>) {
  return build(options, { kind: 'reference', to: options.to, weak: options.weak ?? false });
}

function build(options: unknown, type: TypeSpec): never {
  const { number, required = false, alternativeNames = [] } = options as Partial<PropertyOptions>;
  const built =
    number === undefined
      ? { kind: type.kind, type: Object.freeze(type) }
      : {
          kind: type.kind,
          type: Object.freeze(type),
          number,
          required,
          alternativeNames: [...alternativeNames],
        };
  // `never` fits whatever the overloads promise; the branch above keeps it: with a number it is a property.
  return Object.freeze(built) as never;
}

function sizeLimits({ minSize, maxSize }: SizeLimits) {
  return { ...ifGiven('minSize', minSize), ...ifGiven('maxSize', maxSize) };
}

function valueLimits<V, D>({ min, max }: ValueLimits<V>, dataOf: (limit: V) => D) {
  return {
    ...ifGiven('min', min === undefined ? undefined : dataOf(min)),
    ...ifGiven('max', max === undefined ? undefined : dataOf(max)),
  };
}

function ifGiven<Name extends string, Value>(name: Name, value: Value | undefined): { [N in Name]?: Value } {
  return value === undefined ? {} : ({ [name]: value } as { [N in Name]: Value });
}
