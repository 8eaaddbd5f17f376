import { types } from 'node:util';

/**
 * The values of timestamp properties. A `Date` is data here, not the clock: the only place that makes one, because
 * everything but the ports is kept from asking what time it is.
 */
export function timestampOf(timestampMs: number): Date {
  return new Date(timestampMs);
}

/** Whether a value is a `Date`, from whichever realm. It may still be an invalid one. */
export function isTimestamp(value: unknown): value is Date {
  return types.isDate(value);
}
