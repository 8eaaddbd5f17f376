import { describe, expect, it } from 'vitest';
import { killAndRestart, killsPerMigration } from '../cluster/kill-scenario.ts';
import { drawSeed } from '../rig/seed.ts';

const kills = 60;
const seed = drawSeed(`${kills} kills of migrations`);
// Each seed replays alone too: GODWIT_SEED=<seed> npx vitest run --config .config/vitest.ts test/cluster/kill-migration
const seeds = Array.from({ length: kills / killsPerMigration }, (_, round) => (seed + round) >>> 0);

describe('migrations that are killed again and again', () => {
  it.each(seeds)('move each record exactly once, wherever their processes die (seed %i)', async (each) => {
    expect(await killAndRestart(each)).toBeGreaterThanOrEqual(killsPerMigration - 1);
  });
});
