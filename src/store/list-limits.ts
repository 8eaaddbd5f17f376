import { ModelException } from '../errors.ts';
import { limits } from '../limits.ts';

/** `limit` of a list when none is given, and the largest one. */
export const listLimits = { default: 100, max: limits.store.listedEntries.value } as const;

/** @throws ModelException OPTION_INVALID */
export function checkLimit(limit: number): void {
  if (Number.isSafeInteger(limit) && limit >= 1 && limit <= listLimits.max) return;
  throw new ModelException('OPTION_INVALID', `limit must be an integer from 1 to ${listLimits.max}.`);
}
