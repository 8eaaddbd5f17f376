import { isEmbedded, isModel } from './brand.ts';
import { parseDay } from './calendar.ts';
import type { DecimalTypeData } from './data.ts';
import { fitsPrecision, maxPrecision, parseDecimal } from './decimal.ts';
import { dateLimits, int32Limits, int64Limits, timestampLimits, wholeStringRegex } from './limits.ts';
import { duplicates, nameProblems } from './names.ts';
import { isKeyKind, self } from './property.ts';
import type { TypeSpec } from './property.ts';

/** The problems of one type, in words that begin with `label`. */
export function typeProblems(label: string, type: TypeSpec | undefined): string[] {
  switch (type?.kind) {
    case undefined:
      return [`${label} must be made by string(), float64() or another type`];
    case 'string':
      return [...sizeProblems(label, type), ...regexProblems(label, type.regex)];
    case 'boolean':
      return [];
    case 'int32':
      return valueProblems(label, type, int32Limits, true);
    case 'float64':
      return valueProblems(label, type, { min: -Number.MAX_VALUE, max: Number.MAX_VALUE }, false);
    case 'timestamp':
      return valueProblems(label, type, timestampLimits, true);
    case 'int64':
      return int64Problems(label, type);
    case 'date':
      return dateProblems(label, type);
    case 'decimal':
      return decimalProblems(label, type);
    case 'bytes':
      return sizeProblems(label, type);
    case 'enum':
      return enumProblems(label, type);
    case 'list':
      return [...sizeProblems(label, type), ...typeProblems(`element of ${label}`, type.of)];
    case 'set':
      return [...sizeProblems(label, type), ...orderedProblems(`element of ${label}`, type.of)];
    case 'map':
      return [
        ...sizeProblems(label, type),
        ...orderedProblems(`key of ${label}`, type.key),
        ...typeProblems(`value of ${label}`, type.of),
      ];
    case 'union':
      return unionProblems(label, type);
    case 'embedded':
      return type.model === self || isModel(type.model) || isEmbedded(type.model)
        ? []
        : [`${label} must embed a definition made by defineEmbedded or defineModel, or self`];
    case 'reference':
      return referenceProblems(label, type.to);
  }
}

function sizeProblems(label: string, limits: { readonly minSize?: number; readonly maxSize?: number }) {
  const { minSize = 0, maxSize = Number.MAX_SAFE_INTEGER } = limits;
  if (!isSize(minSize) || !isSize(maxSize))
    return [`${label}: minSize and maxSize must be integers from 0 up`];
  return minSize > maxSize ? [`${label}: minSize ${minSize} is above maxSize ${maxSize}`] : [];
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

interface Bounds<Value> {
  readonly min: Value;
  readonly max: Value;
}

function valueProblems(
  label: string,
  limits: Partial<Bounds<number>>,
  bounds: Bounds<number>,
  whole: boolean,
) {
  const { min = bounds.min, max = bounds.max } = limits;
  const fits = (value: number) =>
    value >= bounds.min && value <= bounds.max && (!whole || Number.isInteger(value));
  if (!fits(min) || !fits(max)) return [`${label}: min and max must be values of its own type`];
  return min > max ? [`${label}: min ${min} is above max ${max}`] : [];
}

function int64Problems(label: string, limits: { readonly min?: string; readonly max?: string }): string[] {
  const parse = (text: string) => (/^-?\d+$/.test(text) ? BigInt(text) : undefined);
  const min = limits.min === undefined ? int64Limits.min : parse(limits.min);
  const max = limits.max === undefined ? int64Limits.max : parse(limits.max);
  const fits = (value: bigint) => value >= int64Limits.min && value <= int64Limits.max;
  if (min === undefined || max === undefined || !fits(min) || !fits(max)) {
    return [`${label}: min and max must be values of its own type`];
  }
  return min > max ? [`${label}: min ${min} is above max ${max}`] : [];
}

function dateProblems(label: string, limits: { readonly min?: string; readonly max?: string }): string[] {
  const { min = dateLimits.min, max = dateLimits.max } = limits;
  if (parseDay(min) === undefined || parseDay(max) === undefined) {
    return [`${label}: min and max must be days as text, such as "2026-02-28"`];
  }
  return min > max ? [`${label}: min ${min} is above max ${max}`] : [];
}

function decimalProblems(label: string, { precision, scale, min, max }: DecimalTypeData): string[] {
  const isIn = (value: number, low: number, high: number) =>
    Number.isSafeInteger(value) && value >= low && value <= high;
  if (!isIn(precision, 1, maxPrecision)) {
    return [`${label}: precision must be an integer from 1 to ${maxPrecision}`];
  }
  if (!isIn(scale, 0, precision)) return [`${label}: scale must be an integer from 0 to the precision`];
  const limits = [min, max].map((limit) => (limit === undefined ? undefined : parseDecimal(limit, scale)));
  const [low, high] = limits;
  const fits = (given: string | undefined, limit: bigint | undefined) =>
    given === undefined || (limit !== undefined && fitsPrecision(limit, precision));
  if (!fits(min, low) || !fits(max, high)) return [`${label}: min and max must be values of its own type`];
  return low !== undefined && high !== undefined && low > high
    ? [`${label}: min ${min} is above max ${max}`]
    : [];
}

/** Problems of a type whose values need an order, and to be told apart by what they are. */
function orderedProblems(label: string, type: TypeSpec | undefined): string[] {
  const problems = typeProblems(label, type);
  if (type === undefined || problems.length > 0 || isKeyKind(type.kind)) return problems;
  return [`${label} is of type ${type.kind}, which has no order`];
}

function unionProblems(label: string, type: TypeSpec & { readonly kind: 'union' }): string[] {
  const { cases, reservedNumbers, reservedNames } = type;
  const numbers = Object.fromEntries(Object.entries(cases).map(([name, { number }]) => [name, number]));
  return [
    ...enumProblems(label, { kind: 'enum', cases: numbers, reservedNumbers, reservedNames }),
    ...Object.entries(cases).flatMap(([name, of]) => typeProblems(`case "${name}" of ${label}`, of.type)),
  ];
}

function regexProblems(label: string, regex: string | undefined): string[] {
  if (regex === undefined) return [];
  try {
    // Alone too: a stray bracket could be closed by what is put around it.
    new RegExp(regex, 'u');
    wholeStringRegex(regex);
    return [];
  } catch {
    return [`${label}: regex is not a regular expression`];
  }
}

function enumProblems(label: string, type: TypeSpec & { readonly kind: 'enum' }): string[] {
  const { cases, reservedNumbers, reservedNames } = type;
  const names = Object.keys(cases);
  const numbers = Object.values(cases);
  const problems = names.length === 0 ? [`${label} must have at least one case`] : [];
  for (const [name, number] of Object.entries(cases)) {
    problems.push(...nameProblems(`case "${name}" of ${label}`, name));
    if (reservedNames.includes(name)) problems.push(`case "${name}" of ${label} is reserved`);
    if (reservedNumbers.includes(number)) {
      problems.push(`number ${number} of case "${name}" of ${label} is reserved`);
    }
  }
  if (![...numbers, ...reservedNumbers].every((number) => isCaseNumber(number))) {
    problems.push(`numbers of the cases of ${label} must be integers from 0 to ${int32Limits.max}`);
  }
  problems.push(...duplicates(numbers).map((number) => `two cases of ${label} have the number ${number}`));
  return problems;
}

function isCaseNumber(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= int32Limits.max;
}

function referenceProblems(label: string, to: unknown): string[] {
  if (typeof to === 'string') return nameProblems(`target of ${label}`, to);
  // What a thunk gives is known only once all modules are loaded: `definitionData` checks it.
  if (typeof to === 'function' || isModel(to)) return [];
  return [`${label} must refer to a definition made by defineModel, a function that gives one, or a name`];
}
