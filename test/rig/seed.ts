import { randomBytes } from 'node:crypto';
import type { Random } from '../../src/ports/random.ts';

/** `Random` that draws the same numbers for the same seed, and what a test wants to draw besides. */
export interface SeededRandom extends Random {
  readonly seed: number;
  /** A whole number in [0, bound). */
  below(bound: number): number;
  /** One of `items`. */
  pick<T>(items: readonly T[]): T;
  /** Another generator, determined by this one: for a second actor that must not disturb the first. */
  fork(): SeededRandom;
}

/**
 * The seed of this run: `GODWIT_SEED` if set, else a fresh one. Printed, so that a failure can be replayed with
 * `GODWIT_SEED=<seed> npx vitest run <file>`.
 */
export function drawSeed(purpose: string): number {
  const given = process.env['GODWIT_SEED'];
  const seed = given === undefined ? randomBytes(4).readUInt32LE() : Number(given) >>> 0;
  process.stdout.write(`seed of ${purpose}: GODWIT_SEED=${seed}\n`);
  return seed;
}

/** Mulberry32: 32 bits of state, which is plenty for choosing test cases and nothing else. */
export function createSeededRandom(seed: number): SeededRandom {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const below = (bound: number): number => Math.floor((next() / 2 ** 32) * bound);
  return {
    seed,
    fraction: () => next() / 2 ** 32,
    id: () => Array.from({ length: 4 }, () => next().toString(16).padStart(8, '0')).join(''),
    below,
    pick(items) {
      if (items.length === 0) throw new Error('there is nothing to pick from');
      return items[below(items.length)] as (typeof items)[number];
    },
    fork: () => createSeededRandom(next()),
  };
}
