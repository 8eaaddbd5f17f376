import { createHash } from 'node:crypto';

import type { DefinitionData } from './data.ts';

/** JSON with the keys of every object sorted: equal data has equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(inOrder(value));
}

/** A copy whose keys are sorted. A replacer is called for each value, and `open` hashes every model. */
function inOrder(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((element) => inOrder(element));
  const source = value as Readonly<Record<string, unknown>>;
  // What a Date does, for one.
  if (typeof source['toJSON'] === 'function') return inOrder(source['toJSON']());
  const copy: Record<string, unknown> = {};
  for (const name of Object.keys(source).sort()) {
    const inner = inOrder(source[name]);
    if (name !== '__proto__') copy[name] = inner;
    else Object.defineProperty(copy, name, { value: inner, enumerable: true });
  }
  return copy;
}

/** What tells one definition from another: SHA-256 over its normal form, as 64 hexadecimal digits. */
export function hashOf(data: DefinitionData): string {
  return createHash('sha256').update(canonicalJson(data)).digest('hex');
}
