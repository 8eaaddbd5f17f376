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
