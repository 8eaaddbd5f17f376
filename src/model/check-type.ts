import { isEmbedded, isModel } from './brand.ts';
import { int32Limits, int64Limits, timestampLimits, wholeStringRegex } from './limits.ts';
import { duplicates, nameProblems } from './names.ts';
import { self } from './property.ts';
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
    case 'bytes':
      return sizeProblems(label, type);
    case 'enum':
      return enumProblems(label, type);
    case 'list':
      return [...sizeProblems(label, type), ...typeProblems(`element of ${label}`, type.of)];
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
