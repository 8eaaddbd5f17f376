import { limits } from '../limits.ts';
import type { RecordData } from './data.ts';

/** One way in which a record does not meet its model. Never contains a value. */
export interface Violation {
  /** Such as `address.city` or `tags[3]`; empty for the record as a whole. */
  readonly path: string;
  /** Which rule it is: `required`, `type`, `min`, `max`, `minSize`, `maxSize`, `regex`, `case`, `unknown`, ... */
  readonly constraint: string;
  /** What the rule demands, to be read behind the path: `must be at most 90`. */
  readonly message: string;
}

/** Answers what is wrong with a value; `depth` counts the embedded records around it. */
export type Check = (value: unknown, depth: number) => readonly Violation[];

/** The answer of every check that finds nothing, always this one array. */
export const fine: readonly Violation[] = Object.freeze([]);

/** Where a check stops to look for more. */
export const maxViolations = limits.model.violations.value;

/** One violation by the value itself. Made when compiling, so that finding it costs nothing. */
export function violated(constraint: string, message: string): readonly Violation[] {
  return Object.freeze([Object.freeze({ path: '', constraint, message })]);
}

/** The violations of a part, seen from the whole. */
export function at(part: string, violations: readonly Violation[]): readonly Violation[] {
  return violations.map(({ path, constraint, message }) => {
    const separator = path === '' || /^[[{]/.test(path) ? '' : '.';
    return { path: `${part}${separator}${path}`, constraint, message };
  });
}

/** Whether a value is an object with properties: no array, `Date`, bytes, map or promise. */
export function isObject(value: unknown): value is RecordData {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  // The first is what nearly all of them are, the last admits instances of the application's classes.
  return (
    prototype === Object.prototype ||
    prototype === null ||
    Object.prototype.toString.call(value) === '[object Object]'
  );
}
