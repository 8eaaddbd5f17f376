import { describe, expect, it } from 'vitest';
import { applyAtomicOperation } from '../../../src/kv/engine/atomic.ts';
import { WriteBuffer } from '../../../src/kv/engine/write-buffer.ts';
import type { SeededRandom } from '../../rig/seed.ts';
import { createSeededRandom, drawSeed } from '../../rig/seed.ts';

const seed = drawSeed('writes of transactions');

/** What the store holds, and what it shall hold after the commit. */
interface Course {
  readonly stored: Map<string, Buffer>;
  readonly expected: Map<string, Buffer>;
  readonly writes: WriteBuffer;
  /** Keys that the transaction wrote by themselves since they were last cleared with a range. */
  readonly written: Set<string>;
}

const drawKey = (random: SeededRandom) => random.below(60).toString().padStart(2, '0');
const number = (value: number) => Buffer.from([value, 0, 0, 0, 0, 0, 0, 0]);

function draw(random: SeededRandom, { expected, writes, written }: Course): void {
  const key = drawKey(random);
  switch (random.below(6)) {
    case 0:
    case 1: {
      const value = number(random.below(100));
      writes.set(key, value);
      expected.set(key, value);
      written.add(key);
      return;
    }
    case 2:
      writes.clear(key);
      expected.delete(key);
      written.add(key);
      return;
    case 3: {
      const end = drawKey(random);
      writes.clearRange(key, end);
      for (const known of [...expected.keys(), ...written]) {
        if (known < key || known >= end) continue;
        expected.delete(known);
        written.delete(known);
      }
      return;
    }
    case 4: {
      const operand = number(1);
      writes.atomicOp('add', key, operand);
      expected.set(key, applyAtomicOperation('add', expected.get(key), operand) ?? Buffer.alloc(0));
      written.add(key);
      return;
    }
    default:
      // Whatever is asked in between, nothing changes.
      expect(writes.sortedKeys()).toEqual([...written].sort());
  }
}

const applied = ({ stored, writes }: Course): Map<string, Buffer> => {
  const left = new Map(stored);
  writes.apply(
    {
      get: (key) => left.get(key),
      put: (key, value) => void left.set(key, value),
      remove: (key) => void left.delete(key),
      removeRange(begin, end) {
        for (const key of left.keys()) if (key >= begin && key < end) left.delete(key);
      },
    },
    Buffer.alloc(10),
  );
  return left;
};

describe('the writes of a transaction', () => {
  it('are what their order made of them, whichever way their keys go', () => {
    const random = createSeededRandom(seed);
    for (let round = 0; round < 300; round += 1) {
      const stored = new Map(
        Array.from({ length: random.below(20) }, () => [drawKey(random), number(random.below(100))]),
      );
      const course = {
        stored,
        expected: new Map(stored),
        writes: new WriteBuffer(),
        written: new Set<string>(),
      };
      for (let step = random.below(60); step > 0; step -= 1) draw(random, course);
      const { writes, written } = course;
      expect(writes.isEmpty).toBe(written.size === 0 && [...writes.conflictRanges()].length === 0);
      expect(applied(course)).toEqual(course.expected);
      expect(writes.sortedKeys()).toEqual([...written].sort());
      for (const key of written) expect(writes.lookUp(key)).toBeDefined();
    }
  });
});
