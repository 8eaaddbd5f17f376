import { parseDay } from './calendar.ts';
import type { DecimalTypeData, EnumTypeData, TypeData, UnionTypeData } from './data.ts';
import { parseDecimal } from './decimal.ts';
import type { Difference } from './difference.ts';
import { dateLimits, int32Limits, int64Limits, timestampLimits } from './limits.ts';

/** Two types of the same value. */
export interface TypePair {
  readonly stored: TypeData;
  readonly configured: TypeData;
  readonly path: string;
}

/** Compares types and constraints, of a list its own and not those of its elements. */
export function compareType(pair: TypePair, difference: Difference): void {
  const { stored, configured, path } = pair;
  compareLimits(pair, difference);
  if (stored.kind === 'string' && configured.kind === 'string') {
    compareRegex(stored.regex, configured.regex, path, difference);
  } else if (stored.kind === 'enum' && configured.kind === 'enum') {
    compareCases(stored, configured, path, difference);
  } else if (stored.kind === 'reference' && configured.kind === 'reference') {
    compareReference(stored, configured, path, difference);
  } else if (stored.kind === 'decimal' && configured.kind === 'decimal') {
    compareDigits(stored, configured, path, difference);
  } else if (stored.kind === 'union' && configured.kind === 'union') {
    compareCases(numbersOfCases(stored), numbersOfCases(configured), path, difference);
  } else if (stored.kind !== configured.kind) {
    difference.breaks('type', path, `is of type ${configured.kind} now, was ${stored.kind}`);
  }
}

/** Whether the same value may be written as other bytes in a key or an index. */
export function hasOtherEncoding(stored: TypeData, configured: TypeData): boolean {
  if (stored.kind === 'list' && configured.kind === 'list') return hasOtherEncoding(stored.of, configured.of);
  if (stored.kind === 'set' && configured.kind === 'set') return hasOtherEncoding(stored.of, configured.of);
  if (stored.kind === 'decimal' && configured.kind === 'decimal') return stored.scale !== configured.scale;
  if (stored.kind === 'reference' && configured.kind === 'reference') return stored.to !== configured.to;
  if (stored.kind === 'enum' && configured.kind === 'enum') {
    return Object.entries(configured.cases).some(([name, number]) => {
      const before = stored.cases[name];
      return before === undefined ? Object.values(stored.cases).includes(number) : before !== number;
    });
  }
  return stored.kind !== configured.kind;
}

interface Bounds {
  readonly min: number | bigint;
  readonly max: number | bigint;
  readonly minSize: number;
  readonly maxSize: number;
}

/** The limits of a type, those of its nature where none are given. */
function boundsOf(type: TypeData): Bounds {
  const open = { min: -Infinity, max: Infinity, minSize: 0, maxSize: Infinity };
  switch (type.kind) {
    case 'int32':
      return { ...open, ...int32Limits, ...type };
    case 'float64':
      return { ...open, ...type };
    case 'timestamp':
      return { ...open, ...timestampLimits, ...type };
    case 'int64':
      return {
        ...open,
        min: type.min === undefined ? int64Limits.min : BigInt(type.min),
        max: type.max === undefined ? int64Limits.max : BigInt(type.max),
      };
    case 'date':
      return { ...open, min: dayOf(type.min ?? dateLimits.min), max: dayOf(type.max ?? dateLimits.max) };
    case 'decimal': {
      const { scale, min, max } = type;
      return {
        ...open,
        min: (min === undefined ? undefined : parseDecimal(min, scale)) ?? -Infinity,
        max: (max === undefined ? undefined : parseDecimal(max, scale)) ?? Infinity,
      };
    }
    case 'string':
    case 'bytes':
    case 'list':
    case 'set':
    case 'map':
      return { ...open, minSize: type.minSize ?? 0, maxSize: type.maxSize ?? Infinity };
    case 'boolean':
    case 'enum':
    case 'embedded':
    case 'reference':
    case 'union':
      return open;
  }
}

const dayOf = (text: string): number => parseDay(text) ?? 0;

function compareLimits({ stored, configured, path }: TypePair, difference: Difference): void {
  if (stored.kind !== configured.kind) return;
  // Scaled by different scales they are not to be compared; the scale is a reason of its own.
  if (stored.kind === 'decimal' && configured.kind === 'decimal' && stored.scale !== configured.scale) return;
  const [before, after] = [boundsOf(stored), boundsOf(configured)];
  for (const limit of ['min', 'max', 'minSize', 'maxSize'] as const) {
    if (before[limit] === after[limit]) continue;
    const isHigher = after[limit] > before[limit];
    const isStricter = limit.startsWith('min') ? isHigher : !isHigher;
    if (isStricter)
      difference.breaks('limit', path, `${limit} is stricter: ${after[limit]}, was ${before[limit]}`);
    else difference.allows(path, `${limit} is ${after[limit]} now, was ${before[limit]}`);
  }
}

/** Whether one expression takes all that another takes is not to be told: any other one counts as stricter. */
function compareRegex(
  stored: string | undefined,
  configured: string | undefined,
  path: string,
  difference: Difference,
): void {
  if (stored === configured) return;
  if (configured === undefined) difference.allows(path, 'needs to match no regex any more');
  else if (stored === undefined) difference.breaks('regex', path, 'must match a regex now');
  else difference.breaks('regex', path, 'must match another regex now');
}

function compareDigits(
  stored: DecimalTypeData,
  configured: DecimalTypeData,
  path: string,
  difference: Difference,
): void {
  for (const part of ['precision', 'scale'] as const) {
    if (stored[part] === configured[part]) continue;
    difference.breaks('type', path, `has another ${part} now: ${configured[part]}, was ${stored[part]}`);
  }
}

type Cases = Pick<EnumTypeData, 'cases' | 'reservedNumbers' | 'reservedNames'>;

function numbersOfCases({ cases, reservedNumbers, reservedNames }: UnionTypeData): Cases {
  const numbers = Object.entries(cases).map(([name, { number }]) => [name, number] as const);
  return { cases: Object.fromEntries(numbers), reservedNumbers, reservedNames };
}

function compareCases(stored: Cases, configured: Cases, path: string, difference: Difference): void {
  const namesByNumber = new Map(Object.entries(configured.cases).map(([name, number]) => [number, name]));
  for (const [name, number] of Object.entries(stored.cases)) {
    const after = configured.cases[name];
    const renamed = namesByNumber.get(number);
    if (after === number) continue;
    if (after !== undefined) {
      difference.breaks('caseChanged', path, `case "${name}" has number ${after} now, was ${number}`);
    } else if (renamed !== undefined) {
      difference.breaks('caseChanged', path, `case "${name}" is called "${renamed}" now`);
    } else if (configured.reservedNumbers.includes(number) && configured.reservedNames.includes(name)) {
      difference.allows(path, `case "${name}" was removed; its number and name are reserved`);
    } else {
      difference.breaks('caseRemoved', path, `case "${name}" was removed without reserving number and name`);
    }
  }
  for (const [name, number] of Object.entries(configured.cases)) {
    if (stored.reservedNumbers.includes(number) || stored.reservedNames.includes(name)) {
      difference.breaks('reservedUsed', path, `case "${name}" uses a number or name that was reserved`);
    } else if (stored.cases[name] === undefined && !Object.values(stored.cases).includes(number)) {
      difference.allows(path, `case "${name}" is new`);
    }
  }
  const isUsed = (number: number) => namesByNumber.has(number);
  const dropped = [
    ...stored.reservedNumbers.filter(
      (number) => !configured.reservedNumbers.includes(number) && !isUsed(number),
    ),
    ...stored.reservedNames
      .filter((name) => !configured.reservedNames.includes(name) && configured.cases[name] === undefined)
      .map((name) => `"${name}"`),
  ];
  if (dropped.length > 0) {
    difference.breaks('reservationDropped', path, `cases ${dropped.join(', ')} are not reserved any more`);
  }
}

type ReferenceTypeData = TypeData & { readonly kind: 'reference' };

function compareReference(
  stored: ReferenceTypeData,
  configured: ReferenceTypeData,
  path: string,
  difference: Difference,
): void {
  if (stored.to !== configured.to) {
    difference.breaks('referenceTarget', path, `refers to ${configured.to} now, was ${stored.to}`);
  }
  if (stored.weak && !configured.weak)
    difference.breaks('referenceStrong', path, 'is no weak reference any more');
  if (!stored.weak && configured.weak) difference.allows(path, 'is a weak reference now');
}
