import { describe, expect, it } from 'vitest';
import { killProcesses } from '../cluster/kill-cluster-scenario.ts';
import { drawSeed } from '../rig/seed.ts';

const rounds = 40;
const seed = drawSeed(`${rounds} rounds of kills in a cluster`);

describe('three processes that migrate one model from version to version', () => {
  it('move each record once, one owner at a time, whichever of them are killed', async () => {
    const kills = await killProcesses(seed, rounds);
    const owners = kills.filter(({ victim }) => victim === 'owner').length;
    process.stdout.write(`${owners} owners and ${kills.length - owners} others were killed\n`);
    expect(owners).toBeGreaterThan(rounds / 4);
    expect(kills.length - owners).toBeGreaterThan(rounds / 4);
  });
});
