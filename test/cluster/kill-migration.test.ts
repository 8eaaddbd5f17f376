import { describe, expect, it } from 'vitest';
import { drawSeed } from '../rig/seed.ts';
import { killAndRestart, killsPerMigration } from './kill-scenario.ts';

const seed = drawSeed('kills of a migration');

describe('a migration that is killed again and again', () => {
  // Seven processes, one after another: generous, for a machine that does something else too.
  it('moves each record exactly once, wherever its process dies', { timeout: 120_000 }, async () => {
    expect(await killAndRestart(seed)).toBeGreaterThanOrEqual(killsPerMigration - 1);
  });
});
