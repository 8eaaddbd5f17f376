import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson } from '../../../src/model/canonical.ts';
import { drawSeed } from '../../rig/seed.ts';

const seed = drawSeed('canonical JSON');

/** The text that hashes in databases were made of. */
function bySortedEntries(value: unknown): string {
  return JSON.stringify(value, (_name, inner: unknown) => {
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([left], [right]) => (left < right ? -1 : 1)));
  });
}

describe('canonical JSON', () => {
  it('is the same whatever the order of keys, at every depth', () => {
    const text = '{"a":[{"x":null,"y":1}],"b":"2"}';
    expect(canonicalJson({ b: '2', a: [{ y: 1, x: null }] })).toBe(text);
    expect(canonicalJson({ a: [{ x: null, y: 1 }], b: '2' })).toBe(text);
  });

  it('never changes: definitions that are stored are known by its hash', () => {
    const values = fc.anything({ withDate: true, withNullPrototype: true, withSparseArray: true });
    fc.assert(
      fc.property(fc.oneof(values, fc.jsonValue({ maxDepth: 5 })), (value) => {
        expect(canonicalJson(value)).toBe(bySortedEntries(value));
      }),
      { seed },
    );
  });

  it.each(['{"__proto__":{"b":1,"a":2}}', '{"10":1,"9":2,"a":3}', '{"toJSON":1,"0":[]}'])(
    'of %s is that of the entries in order',
    (text) => {
      const value: unknown = JSON.parse(text);
      expect(canonicalJson(value)).toBe(bySortedEntries(value));
    },
  );
});
