import { afterEach, beforeEach, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { chunkLimits } from '../../src/migration/passes/controller.ts';
import { readRanges } from '../../src/migration/passes/ledger.ts';
import { defineModel, string } from '../../src/model/index.ts';
import { CityV2, createLatch, toCityV2 } from '../rig/migration.ts';
import type { TrapRig } from '../rig/trap-rig.ts';
import { createTrapRig, inBackground } from '../rig/trap-rig.ts';

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

const Guest = defineModel({
  name: 'Guest',
  version: '1.0',
  key: ['id'],
  properties: { id: string({ number: 1, required: true }) },
});

it.each([
  ['gentle', true],
  ['gentle', false],
  ['fast', true],
] as const)(
  'chunks are small while requests to another model are answered: %s, %s',
  async (pace, isAsked) => {
    await rig.fill(6_000);
    const sizes: number[] = [];
    const opened = createLatch();
    let ask = () => Promise.resolve();
    const store = await rig.open({
      ...inBackground,
      dataModelsById: { 1: CityV2, 2: Guest },
      migrationHandler: backfill({ transform: toCityV2 }),
      maxBackfillConcurrency: 1,
      migrationPace: pace,
      async migrationThrottle({ records }) {
        await opened.opened;
        if (isAsked) await ask();
        sizes.push(records);
        return undefined;
      },
    });
    ask = async () => {
      for (let n = 0; n < 5; n += 1) await store.model(Guest).get('anybody');
    };
    opened.open();
    await store.awaitMigration(1);
    expect(sizes.reduce((sum, records) => sum + records, 0)).toBe(6_000);
    // Each city is a record and an entry. The first chunk was read before anybody asked, the second while it was written.
    const settled = Math.max(...sizes.slice(2));
    if (pace === 'gentle' && isAsked) expect(settled).toBe(chunkLimits.gentleMutations / 2);
    else expect(settled).toBeGreaterThan(chunkLimits.gentleMutations);
  },
);
