import { afterEach, beforeEach, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { chunkLimits } from '../../src/migration/passes/controller.ts';
import { readRanges } from '../../src/migration/passes/ledger.ts';
import { CityV2, toCityV2 } from '../rig/migration.ts';
import type { TrapRig } from '../rig/trap-rig.ts';
import { createTrapRig } from '../rig/trap-rig.ts';

let rig: TrapRig;
beforeEach(() => {
  rig = createTrapRig();
});
afterEach(() => rig.close());

it('a range begins with chunks of the size that the one before it ended with', async () => {
  await rig.fill(12_000);
  const firstChunks = new Map<number, number>();
  rig.afterCommit = async (commit) => {
    if (!commit.setsUnder(rig.keys.ranges('backfill'))) return;
    const rows = await rig.database.transact((tx) => readRanges(tx, rig.keys, 'backfill'));
    rows.forEach(({ seq, recordsRead }, number) => {
      if (seq === 1) firstChunks.set(number, recordsRead);
    });
  };
  await rig.open({
    dataModelsById: { 1: CityV2 },
    migrationHandler: backfill({ transform: toCityV2 }),
    maxBackfillConcurrency: 1,
  });
  const [first, ...later] = [...firstChunks.values()];
  expect(first).toBe(chunkLimits.startRecords);
  expect(later.length).toBeGreaterThan(0);
  expect(Math.min(...later)).toBeGreaterThan(2 * chunkLimits.startRecords);
});
