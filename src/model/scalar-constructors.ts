import { build, ifGiven, sizeLimits, valueLimits } from './build-property.ts';
import type { SizeLimits, ValueLimits } from './build-property.ts';
import type { TypeKind } from './data.ts';
import type { DefaultOptions, ElementOptions, ElementType, OptionalOptions, Property } from './property.ts';
import type { RequiredOptions } from './property.ts';

/**
 * The types of properties that contain no other. Each constructor makes a property when given a `number`, else the element type of a
 * list. They check nothing: `defineModel` checks a definition as a whole and reports every problem at once.
 */

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

/** Makes properties and element types of one kind. */
export interface TypeConstructor<Constraints, Value, Kind extends TypeKind> {
  (options: Constraints & DefaultOptions<Value> & RequiredOptions): Property<Value, true, Kind, true>;
  (options: Constraints & DefaultOptions<Value> & OptionalOptions): Property<Value, false, Kind, true>;
  (options: Constraints & RequiredOptions): Property<Value, true, Kind, false>;
  (options: Constraints & OptionalOptions): Property<Value, false, Kind, false>;
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

/** A day without a time, as text `YYYY-MM-DD`, from year 0000 to 9999. */
export const date: TypeConstructor<ValueLimits<string>, string, 'date'> = (
  options: ValueLimits<string> = {},
) => build(options, { kind: 'date', ...valueLimits(options, String) });

export interface DecimalConstraints extends ValueLimits<string> {
  /** Digits in all, 1 to 38. Another precision is a migration. */
  readonly precision: number;
  /** Digits behind the point, 0 to `precision`. Another scale is a migration. Default 0. */
  readonly scale?: number | undefined;
}

/**
 * An exact number, as text such as `-12.50`: digits, and a point followed by at most `scale` digits. It is read back with
 * exactly `scale` of them.
 */
export function decimal(
  options: DecimalConstraints & DefaultOptions<string> & RequiredOptions,
): Property<string, true, 'decimal', true>;
export function decimal(
  options: DecimalConstraints & DefaultOptions<string> & OptionalOptions,
): Property<string, false, 'decimal', true>;
export function decimal(
  options: DecimalConstraints & RequiredOptions,
): Property<string, true, 'decimal', false>;
export function decimal(
  options: DecimalConstraints & OptionalOptions,
): Property<string, false, 'decimal', false>;
export function decimal(options: DecimalConstraints & ElementOptions): ElementType<string, 'decimal'>;
export function decimal(options: DecimalConstraints) {
  const { precision, scale = 0 } = options;
  return build(options, { kind: 'decimal', precision, scale, ...valueLimits(options, String) });
}

/** A `Uint8Array`. */
export const bytes: TypeConstructor<SizeLimits, Uint8Array, 'bytes'> = (options: SizeLimits = {}) =>
  build(options, { kind: 'bytes', ...sizeLimits(options) });

/** Cases of an enumeration by name. */
type Cases = Readonly<Record<string, number>>;

/** The name of one of a set of cases. */
export function enumeration<const C extends Cases>(
  options: EnumConstraints<C> & DefaultOptions<keyof C & string> & RequiredOptions,
): Property<keyof C & string, true, 'enum', true>;
export function enumeration<const C extends Cases>(
  options: EnumConstraints<C> & DefaultOptions<keyof C & string> & OptionalOptions,
): Property<keyof C & string, false, 'enum', true>;
export function enumeration<const C extends Cases>(
  options: EnumConstraints<C> & RequiredOptions,
): Property<keyof C & string, true, 'enum', false>;
export function enumeration<const C extends Cases>(
  options: EnumConstraints<C> & OptionalOptions,
): Property<keyof C & string, false, 'enum', false>;
export function enumeration<const C extends Cases>(
  options: EnumConstraints<C> & ElementOptions,
): ElementType<keyof C & string, 'enum'>;
export function enumeration(options: EnumConstraints<Cases>) {
  const { cases, reservedNumbers = [], reservedNames = [] } = options;
  return build(options, { kind: 'enum', cases: { ...cases }, reservedNumbers, reservedNames });
}
