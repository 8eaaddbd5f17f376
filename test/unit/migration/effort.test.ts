import { describe, expect, it } from 'vitest';
import type { ChunkEffort } from '../../../src/migration/passes/effort.ts';
import { addEffort, paceMemoryMs, weightAfter } from '../../../src/migration/passes/effort.ts';

const chunk: ChunkEffort = { records: 10, bytes: 1_000, ownMs: 40, sharedMs: 20, leastMs: 5, atMs: 1_000 };

describe('what a range took', () => {
  it('adds up, chunk after chunk', () => {
    const timed = { records: 20, bytes: 2_000, ownMs: 80, sharedMs: 40, leastMs: 10 };
    expect(addEffort(addEffort(undefined, chunk), chunk)).toEqual({
      records: 20,
      bytes: 2_000,
      timed,
      atMs: 1_000,
    });
  });

  it('counts what is not timed as read, and as nothing else', () => {
    const before = addEffort(undefined, chunk);
    const after = addEffort(before, { ...chunk, sharedMs: undefined });
    expect(after).toEqual({ ...before, records: 20, bytes: 2_000 });
  });

  it('fades with its age, and what was read does not', () => {
    const late = { ...chunk, atMs: chunk.atMs + paceMemoryMs };
    const { records, timed } = addEffort(addEffort(undefined, chunk), late);
    expect(records).toBe(20);
    expect(timed.records).toBeCloseTo(10 * (1 + Math.exp(-1)), 2);
    expect(timed.sharedMs).toBeCloseTo(20 * (1 + Math.exp(-1)), 2);
  });

  it('never counts for more because another clock is behind', () => {
    expect(weightAfter(-5_000)).toBe(1);
    expect(weightAfter(0)).toBe(1);
    expect(weightAfter(paceMemoryMs)).toBeLessThan(0.4);
  });
});
