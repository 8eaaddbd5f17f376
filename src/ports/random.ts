import { randomBytes } from 'node:crypto';

/** Chance. The only file that touches the runtime's random sources, so that a simulation can own them. */
export interface Random {
  /** A number in [0, 1), for jitter and sampling. */
  fraction(): number;
  /** An id that nobody else has: 128 random bits as 32 hexadecimal digits. */
  id(): string;
}

export const systemRandom: Random = {
  fraction: () => Math.random(),
  id: () => randomBytes(16).toString('hex'),
};

/** The same numbers for the same seed. Mulberry32: enough to draw a sample, and nothing that has to be secret. */
export function createSeededRandom(seed: number): Pick<Random, 'fraction'> {
  // Both halves of a safe integer count.
  let state = (seed ^ Math.floor(seed / 2 ** 32)) >>> 0;
  return {
    fraction() {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    },
  };
}
