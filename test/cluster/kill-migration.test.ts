import { describe, expect, it } from 'vitest';
import { drawSeed } from '../rig/seed.ts';
import { killAndRestart, killsPerMigration } from './kill-scenario.ts';

const seed = drawSeed('kills of a migration');

describe('a migration that is killed again and again', () => {
  it('moves each record exactly once, wherever its process dies', async () => {
    expect(await killAndRestart(seed)).toBeGreaterThanOrEqual(killsPerMigration - 1);
  });
});
