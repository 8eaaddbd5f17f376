import { createHash } from 'node:crypto';

import type { DefinitionData } from './data.ts';

/** JSON with the keys of every object sorted: equal data has equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_name, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([left], [right]) => (left < right ? -1 : 1)));
  });
}

/** What tells one definition from another: SHA-256 over its normal form, as 64 hexadecimal digits. */
export function hashOf(data: DefinitionData): string {
  return createHash('sha256').update(canonicalJson(data)).digest('hex');
}
