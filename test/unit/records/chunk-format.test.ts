import { describe, expect, it } from 'vitest';
import type { Mutation } from '../../../src/records/chunk-format.ts';
import {
  MutationCursor,
  MutationWriter,
  packRecords,
  readMutations,
  readRecords,
} from '../../../src/records/chunk-format.ts';
import type { SeededRandom } from '../../rig/seed.ts';
import { createSeededRandom, drawSeed } from '../../rig/seed.ts';

const seed = drawSeed('mutations of chunks');

/** None of them begins with another one, as those of a model. */
const prefixes = ['records', 'index 1', 'index 2', 'quarantine'].map((name) => Buffer.from(name));
const bytesOf = (random: SeededRandom, most: number) =>
  Buffer.from(Array.from({ length: random.below(most) }, () => random.below(256)));

/** Text compares in no time, and buffers byte by byte. */
const textOf = (mutation: Mutation) => [
  mutation.op,
  mutation.ordinal,
  mutation.key.toString('latin1'),
  mutation.op === 'clear' ? '' : mutation.value.toString('latin1'),
];

/** Writes what is drawn, and answers it as it was written. */
function writeDrawn(random: SeededRandom, writer: MutationWriter): Mutation[] {
  const keys = Array.from({ length: 1 + random.below(30) }, () => bytesOf(random, 12));
  const isAscending = random.below(2) === 0;
  return Array.from({ length: random.below(200) }, (_, ordinal): Mutation => {
    const prefix = random.pick(prefixes);
    // Now and then another array with the same bytes.
    const given = random.below(4) === 0 ? Uint8Array.from(prefix) : prefix;
    const key = isAscending ? Buffer.from(ordinal.toString().padStart(5, '0')) : random.pick(keys);
    const whole = Buffer.concat([prefix, key]);
    if (random.below(4) === 0) {
      writer.clear(ordinal, given, key);
      return { op: 'clear', ordinal, key: whole };
    }
    const value = bytesOf(random, random.below(50) === 0 ? 200_000 : 40);
    const op = random.pick(['set', 'setIfAbsent'] as const);
    writer[op](ordinal, given, key, value);
    return { op, ordinal, key: whole, value };
  });
}

describe('the mutations of a chunk', () => {
  it('come in the order of their keys, several of one key as they were written', () => {
    const random = createSeededRandom(seed);
    const writer = new MutationWriter();
    for (let round = 0; round < 60; round += 1) {
      writer.reset();
      const written = writeDrawn(random, writer);
      const chunk = writer.finish();
      const inOrder = written.toSorted((one, other) => one.key.compare(other.key));
      expect([...readMutations(chunk)].map(textOf)).toEqual(inOrder.map(textOf));
      expect(writer.count).toBe(written.length);
      expect(writer.conditional).toBe(written.filter(({ op }) => op === 'setIfAbsent').length);
      const bytes = written.map((one) => one.key.length + (one.op === 'clear' ? 0 : one.value.length));
      expect(writer.payloadBytes).toBe(bytes.reduce((sum, size) => sum + size, 0));
    }
  });

  it('keep what they are when the writer goes on with the next chunk', () => {
    const writer = new MutationWriter();
    writer.set(0, Buffer.from('a'), Buffer.from('b'), Buffer.from('c'));
    const chunk = writer.finish();
    writer.reset();
    writer.set(0, Buffer.from('a'), Buffer.from('x'), Buffer.from('y'));
    expect([...readMutations(chunk)]).toEqual([
      { op: 'set', ordinal: 0, key: Buffer.from('ab'), value: Buffer.from('c') },
    ]);
  });

  it('are none where none were written', () => {
    expect(new MutationCursor(new MutationWriter().finish()).next()).toBe(false);
  });
});

describe('the records of a chunk', () => {
  it('are those that were packed, without their prefix', () => {
    const rows = [
      { key: Buffer.from('p1'), value: Buffer.alloc(0) },
      { key: Buffer.from('p'), value: Buffer.from('a value') },
      { key: Buffer.from('p\0\xff', 'latin1'), value: Buffer.alloc(100_000, 7) },
    ];
    const text = (row: { readonly key: Buffer; readonly value: Buffer }, from = 0) =>
      [row.key.subarray(from), row.value].map((bytes) => bytes.toString('latin1'));
    const read = [...readRecords(packRecords(rows, 1))];
    expect(read.map((row) => text(row))).toEqual(rows.map((row) => text(row, 1)));
  });
});
