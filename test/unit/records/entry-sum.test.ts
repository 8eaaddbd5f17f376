import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addEntrySums, EntrySum } from '../../../src/records/entry-sum.ts';

const part = fc.uint8Array({ maxLength: 24 });
const entry = fc.tuple(part, part);
const entries = fc.array(entry, { maxLength: 30 });
type Entries = readonly (readonly [Uint8Array, Uint8Array])[];

function sumOf(all: Entries): EntrySum {
  const sum = new EntrySum();
  for (const [key, value] of all) sum.add(key, value);
  return sum;
}

describe('the sum of index entries', () => {
  it('is 16 hexadecimal digits, zero for none', () => {
    expect(String(new EntrySum())).toBe('0000000000000000');
    expect(String(sumOf([[Buffer.from('key'), Buffer.from('value')]]))).toMatch(/^[0-9a-f]{16}$/);
  });

  it('does not depend on their order', () => {
    fc.assert(
      fc.property(
        entries.chain((all) =>
          fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length })),
        ),
        ([all, shuffled]) => {
          expect(String(sumOf(shuffled))).toBe(String(sumOf(all)));
          expect(sumOf(shuffled).count).toBe(all.length);
        },
      ),
    );
  });

  it('is the sum of the sums of its parts', () => {
    fc.assert(
      fc.property(entries, entries, (left, right) => {
        const both = addEntrySums(String(sumOf(left)), String(sumOf(right)));
        expect(both).toBe(String(sumOf([...left, ...right])));
      }),
    );
  });

  it('changes when one entry is changed in one bit, of its key or its value', () => {
    const place = fc.tuple(fc.nat(), fc.nat(), fc.nat(7), fc.boolean());
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1, maxLength: 10 }), place, (all, [which, at, bit, inKey]) => {
        const index = which % all.length;
        const [key, value] = all[index] as (typeof all)[number];
        const target = inKey ? key : value;
        fc.pre(target.length > 0);
        const flipped = Uint8Array.from(target);
        flipped[at % target.length] = (flipped[at % target.length] ?? 0) ^ (1 << bit);
        const changed: Entries = all.with(index, inKey ? [flipped, value] : [key, flipped]);
        expect(String(sumOf(changed))).not.toBe(String(sumOf(all)));
      }),
    );
  });

  it('tells a byte of the key from a byte of the value', () => {
    const bytes = (text: string) => Buffer.from(text);
    expect(String(sumOf([[bytes('ab'), bytes('c')]]))).not.toBe(String(sumOf([[bytes('a'), bytes('bc')]])));
  });

  it('changes when an entry is missing or there twice', () => {
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1, maxLength: 10 }), (all) => {
        expect(String(sumOf(all.slice(1)))).not.toBe(String(sumOf(all)));
        expect(String(sumOf([...all, all[0] as (typeof all)[number]]))).not.toBe(String(sumOf(all)));
      }),
    );
  });

  it('does not collide for ten thousand entries that hardly differ', () => {
    const sums = new Set<string>();
    for (let n = 0; n < 10_000; n += 1) sums.add(String(sumOf([[Buffer.from(`entry ${n}`), Buffer.of(8)]])));
    expect(sums.size).toBe(10_000);
  });
});
