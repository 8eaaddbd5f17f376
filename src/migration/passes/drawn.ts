import type { Disagreement } from '../../records/index-agreement.ts';
import type { FindingSample } from './ledger.ts';

/** Drawn by the key, so that a repeated chunk draws the same. */
export function isDrawn(key: Buffer, ratio: number, seed: number): boolean {
  if (ratio >= 1) return true;
  let hash = Math.imul(0x811c9dc5 ^ (seed % 0x1_0000_0000), 0x01000193);
  for (const byte of key) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  hash = Math.imul(hash ^ (hash >>> 12), 0x297a2d39);
  return (hash ^ (hash >>> 15)) >>> 0 < ratio * 0x1_0000_0000;
}

export function sampleOf({ kind, indexId, primaryKey, problem }: Disagreement): FindingSample {
  return { kind, indexId, key: Buffer.from(primaryKey).toString('hex'), problem };
}
