import { types } from 'node:util';

/** Values of type `Date`. The only file that touches the global: asking it for the time stays with `Clock`. */

/** Whether `value` is a `Date` that denotes a point in time. From any realm; an invalid `Date` is none. */
export function isInstant(value: unknown): value is Date {
  return types.isDate(value) && !Number.isNaN(value.getTime());
}

/** The `Date` for milliseconds since 1970 (-8.64e15 to 8.64e15; outside that it is an invalid `Date`). */
export function instantFromMs(ms: number): Date {
  return new Date(ms);
}
