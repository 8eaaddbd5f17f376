import { isInstant } from '../ports/instant.ts';
import { parseDay } from './calendar.ts';
import type { DecimalTypeData, EnumTypeData, StringTypeData, TypeData } from './data.ts';
import { fitsPrecision, formatDecimal, parseDecimal } from './decimal.ts';
import { int32Limits, int64Limits, wholeStringRegex } from './limits.ts';
import { fine, violated } from './violation.ts';
import type { Check, Violation } from './violation.ts';

/** Checks of the types that contain no other type. */

type ScalarTypeData = Exclude<
  TypeData,
  { readonly kind: 'enum' | 'list' | 'set' | 'map' | 'union' | 'embedded' | 'reference' }
>;

/** Compiles the check of one scalar type. */
export function scalarCheck(type: ScalarTypeData): Check {
  switch (type.kind) {
    case 'string':
      return stringCheck(type);
    case 'boolean':
      return (value) => (typeof value === 'boolean' ? fine : noBoolean);
    case 'int32':
      return numberCheck(type, noInt32, isInt32);
    case 'float64':
      return numberCheck(type, noFloat64, Number.isFinite);
    case 'int64':
      return int64Check(type);
    case 'timestamp':
      return timestampCheck(type);
    case 'date':
      return dateCheck(type);
    case 'decimal':
      return decimalCheck(type);
    case 'bytes':
      return bytesCheck(type);
  }
}

const noBoolean = violated('type', 'must be true or false');
const noString = violated('type', 'must be a string');
const notWellFormed = violated('type', 'must be a string without lone surrogates');
const noInt32 = violated('type', 'must be an integer from -2147483648 to 2147483647');
const noFloat64 = violated('type', 'must be a finite number');
const noInt64 = violated('type', 'must be a bigint from -2^63 to 2^63 - 1');
const noTimestamp = violated('type', 'must be a valid Date');
const noDate = violated('type', 'must be a day as text, such as "2026-02-28"');
const noBytes = violated('type', 'must be a Uint8Array');

/** A string that UTF-8 can hold. (Node 20 has the method, the compiler's library of its time not yet.) */
export function isWellFormed(text: string): boolean {
  return (text as unknown as { isWellFormed(): boolean }).isWellFormed();
}

function isInt32(value: number): boolean {
  return Number.isInteger(value) && value >= int32Limits.min && value <= int32Limits.max;
}

function stringCheck(type: StringTypeData): Check {
  const size = sizeChecks(type, 'characters');
  const regex = type.regex === undefined ? undefined : wholeStringRegex(type.regex);
  const noMatch = violated('regex', `must match ${type.regex}`);
  return (value) => {
    if (typeof value !== 'string') return noString;
    if (!isWellFormed(value)) return notWellFormed;
    const found = size(value.length);
    // A text of the wrong size is not matched: time spent on it could be long.
    return found !== fine || regex === undefined || regex.test(value) ? found : noMatch;
  };
}

interface Limits<T> {
  readonly min?: T;
  readonly max?: T;
}

function numberCheck(
  limits: Limits<number>,
  noSuchType: readonly Violation[],
  isOfType: (value: number) => boolean,
): Check {
  const range = rangeCheck(limits, String);
  return (value) => (typeof value === 'number' && isOfType(value) ? range(value) : noSuchType);
}

function int64Check({ min, max }: Limits<string>): Check {
  const limits = {
    ...(min === undefined ? {} : { min: BigInt(min) }),
    ...(max === undefined ? {} : { max: BigInt(max) }),
  };
  const range = rangeCheck<bigint>(limits, String);
  return (value) =>
    typeof value === 'bigint' && value >= int64Limits.min && value <= int64Limits.max
      ? range(value)
      : noInt64;
}

function timestampCheck(limits: Limits<number>): Check {
  const range = rangeCheck(limits, (limit) => `${limit} ms since 1970`);
  return (value) => (isInstant(value) ? range(value.getTime()) : noTimestamp);
}

function dateCheck({ min, max }: Limits<string>): Check {
  const below = violated('min', `must be ${min} or later`);
  const above = violated('max', `must be ${max} or earlier`);
  return (value) => {
    if (typeof value !== 'string' || parseDay(value) === undefined) return noDate;
    // Days as text sort as they follow each other.
    if (min !== undefined && value < min) return below;
    return max !== undefined && value > max ? above : fine;
  };
}

function decimalCheck({ precision, scale, min, max }: DecimalTypeData): Check {
  const noDecimal = violated(
    'type',
    `must be a decimal number as text with at most ${scale} digits behind the point`,
  );
  const tooLong = violated('precision', `must have at most ${precision - scale} digits before the point`);
  const limits = {
    ...(min === undefined ? {} : { min: parseDecimal(min, scale) ?? 0n }),
    ...(max === undefined ? {} : { max: parseDecimal(max, scale) ?? 0n }),
  };
  const range = rangeCheck<bigint>(limits, (limit) => formatDecimal(limit, scale));
  return (value) => {
    const scaled = typeof value === 'string' ? parseDecimal(value, scale) : undefined;
    if (scaled === undefined) return noDecimal;
    return fitsPrecision(scaled, precision) ? range(scaled) : tooLong;
  };
}

function bytesCheck(type: TypeData & { readonly kind: 'bytes' }): Check {
  const size = sizeChecks(type, 'bytes');
  return (value) => (value instanceof Uint8Array ? size(value.length) : noBytes);
}

function rangeCheck<T extends number | bigint>({ min, max }: Limits<T>, textOf: (limit: T) => string) {
  const below = min === undefined ? fine : violated('min', `must be at least ${textOf(min)}`);
  const above = max === undefined ? fine : violated('max', `must be at most ${textOf(max)}`);
  return (value: T): readonly Violation[] => {
    if (min !== undefined && value < min) return below;
    return max !== undefined && value > max ? above : fine;
  };
}

/** Checks a size against the limits of a type. */
export function sizeChecks(
  limits: { readonly minSize?: number; readonly maxSize?: number },
  units: string,
): (size: number) => readonly Violation[] {
  const { minSize = 0, maxSize = Number.POSITIVE_INFINITY } = limits;
  const below = violated('minSize', `must have at least ${minSize} ${units}`);
  const above = violated('maxSize', `must have at most ${maxSize} ${units}`);
  return (size) => {
    if (size < minSize) return below;
    return size > maxSize ? above : fine;
  };
}

/** Checks that a value is the name of a case; or, where allowed, a number that no case has. */
export function enumCheck({ cases }: EnumTypeData, unknownCases: boolean): Check {
  const names = new Set<unknown>(Object.keys(cases));
  const numbers = new Set(Object.values(cases));
  const noCase = violated('case', `must be one of ${Object.keys(cases).join(', ')}`);
  return (value) => {
    if (names.has(value)) return fine;
    const isUnknown = typeof value === 'number' && isInt32(value) && !numbers.has(value);
    return unknownCases && isUnknown ? fine : noCase;
  };
}
