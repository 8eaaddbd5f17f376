import { limits } from '../limits.ts';

/** What names, numbers and versions of a definition look like. */

const nameSource = `[A-Za-z][A-Za-z0-9_]{0,${limits.model.nameLength.value - 1}}`;
const namePattern = new RegExp(`^${nameSource}$`);

/** major.minor or major.minor.patch; at most nine digits each, so that they stay exact numbers. */
export const versionPattern = /^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})(?:\.(0|[1-9]\d{0,8}))?$/;

/** Largest number of a property, as in protobuf: 2^29 - 1. */
const maxPropertyNumber = 536_870_911;

/** Whether `value` can be the number of a property. */
export function isPropertyNumber(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= maxPropertyNumber;
}

/** The problems of a name, in words that begin with `label`. */
export function nameProblems(label: string, name: unknown): string[] {
  if (typeof name !== 'string' || !namePattern.test(name)) {
    return [`${label} must match ${nameSource}`];
  }
  // A record without the property would seem to have one: `record.constructor`.
  return name in Object.prototype ? [`${label} is a name that every object has`] : [];
}

/** Values that occur more than once, each once. */
export function duplicates<T>(values: readonly T[]): T[] {
  return [...new Set(values.filter((value, at) => values.indexOf(value) !== at))];
}

/** Whether a version is lower (-1), equal (0) or higher (1) than another; a missing patch is 0. */
export function compareVersions(left: string, right: string): -1 | 0 | 1 {
  const [leftParts, rightParts] = [left.split('.'), right.split('.')];
  for (const at of [0, 1, 2]) {
    const difference = Number(leftParts[at] ?? 0) - Number(rightParts[at] ?? 0);
    if (difference !== 0) return difference < 0 ? -1 : 1;
  }
  return 0;
}

/** The major part of a version. */
export function majorOf(version: string): number {
  return Number(version.split('.')[0]);
}
