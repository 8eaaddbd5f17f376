import { describe, expect, it } from 'vitest';
import { drawSeed } from '../rig/seed.ts';
import { killProcesses } from './kill-cluster-scenario.ts';

const rounds = 3;
const seed = drawSeed(`${rounds} rounds of kills in a cluster`);

describe('three processes that migrate one model', () => {
  // Some fifteen processes: generous, for a machine that does something else too.
  it(
    'move each record once, one owner at a time, whichever of them are killed',
    { timeout: 180_000 },
    async () => {
      const kills = await killProcesses(seed, rounds);
      expect(kills.length).toBeGreaterThanOrEqual(2 * rounds);
    },
  );
});
