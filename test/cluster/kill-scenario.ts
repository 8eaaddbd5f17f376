import { expect } from 'vitest';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { readMetrics } from '../../src/migration/counters.ts';
import { readOwner } from '../../src/migration/owner.ts';
import { readRanges, totalsOf } from '../../src/migration/passes/ledger.ts';
import { readFence } from '../../src/records/fence.ts';
import { rangeOf } from '../../src/records/keys.ts';
import { schemaIdOf } from '../../src/records/record-codec.ts';
import { readRows } from '../rig/recompute-index.ts';
import { createSeededRandom, type SeededRandom } from '../rig/seed.ts';
import { createTestPlace } from '../rig/test-database.ts';
import type { TestPlace } from '../rig/test-place.ts';
import { expectEachMovedOnce, openItemsV2 } from './item-checks.ts';
import { addItems, itemKeysIn, itemModelId, withDatabase } from './items.ts';
import type { MigrationProcess, StopPoint } from './migration-processes.ts';
import { isReport, recordsIn, startMigrationProcess } from './migration-processes.ts';

const totalItems = 10_000;
export const killsPerMigration = 6;
/**
 * Drawn over the progress that is left, so that there is some for all kills to come: at each kill, the commits of other
 * ranges may be in flight. Only the first run may be killed before it has moved anything.
 */
function drawStopPoint(random: SeededRandom, at: number, moved: number): StopPoint {
  const killsToCome = killsPerMigration - at;
  return {
    records: 1 + random.below(Math.floor((totalItems - moved) / (2 * (killsToCome + 1)))),
    side: at > 0 && moved === 0 ? 'after' : random.pick(['before', 'after']),
  };
}

/** What a dead process left in the database. */
interface Census {
  readonly epoch: number;
  /** By the ledger. */
  readonly moved: number;
  /** By the persisted counters. */
  readonly counted: number;
  /** By the records themselves. */
  readonly rewritten: number;
}

/**
 * Kills a migration at drawn points of its progress, starts it again after each, and lets the last run end. Expects that
 * each record was moved exactly once.
 *
 * @returns how many kills fell between the first and the last commit that moved records
 */
export async function killAndRestart(seed: number): Promise<number> {
  const place = createTestPlace('kill-migration');
  const processes: MigrationProcess[] = [];
  const start = async (nodeId: string, stopAt?: StopPoint) => {
    const started = await startMigrationProcess({ place, nodeId, stopAt });
    processes.push(started);
    started.go();
    return started;
  };
  try {
    await addItems(place, totalItems);
    const censuses: Census[] = [];
    let before: Census = { epoch: 0, moved: 0, counted: 0, rewritten: 0 };
    const random = createSeededRandom(seed);
    for (let at = 0; at < killsPerMigration; at += 1) {
      const victim = await start(`node-${at}`, drawStopPoint(random, at, before.moved));
      await victim.reported(isReport('stopped'));
      await victim.kill();
      const after = await withDatabase(place, (database) => takeCensus(database, place));
      expectTrueLedger(before, after, victim);
      censuses.push(after);
      before = after;
    }
    const last = await start('last');
    await last.reported(isReport('done'));
    const moved = totalItems - before.moved;
    expect(recordsIn(last.reports, 'acknowledged')).toBe(moved);
    expect(last.reports.filter(isReport('verifying')).length).toBeGreaterThan(0);
    expect(last.reports).toContainEqual({ type: 'serving', records: totalItems });
    await withDatabase(place, (database) => expectMovedOnce(database, place, before.epoch));
    return censuses.filter((census) => census.moved > 0 && census.moved < totalItems).length;
  } finally {
    await Promise.all(processes.map((started) => started.kill()));
    await place.remove();
  }
}

/** What was acknowledged is there, what was not sent is not, and the ledger counts what is there. */
function expectTrueLedger(before: Census, after: Census, { reports }: MigrationProcess): void {
  expect({ counted: after.counted, rewritten: after.rewritten }).toEqual({
    counted: after.moved,
    rewritten: after.moved,
  });
  const moved = after.moved - before.moved;
  expect(moved).toBeGreaterThanOrEqual(recordsIn(reports, 'acknowledged'));
  expect(moved).toBeLessThanOrEqual(recordsIn(reports, 'sending'));
  expect(after.epoch).toBeGreaterThan(before.epoch);
}

async function takeCensus(database: KeyValueDatabase, place: TestPlace): Promise<Census> {
  const itemKeys = itemKeysIn(place);
  const { fence, ...found } = await database.transact(async (tx) => ({
    fence: await readFence(tx, itemKeys),
    epoch: (await readOwner(tx, itemKeys))?.epoch ?? 0,
    moved: totalsOf(await readRanges(tx, itemKeys, 'backfill')).moved,
    counted: (await readMetrics(tx, itemKeys)).recordsMoved,
  }));
  if (fence === undefined || fence.target === null)
    throw new Error('the process died before the gate was closed');
  const { keySpace, schemaId } = fence.target;
  const rows = await readRows(database, rangeOf(itemKeys.records(keySpace)));
  return { ...found, rewritten: rows.filter(({ value }) => schemaIdOf(value) === schemaId).length };
}

async function expectMovedOnce(
  database: KeyValueDatabase,
  { subspace }: TestPlace,
  lastEpoch: number,
): Promise<void> {
  const store = await openItemsV2(database, { subspace });
  try {
    await expectEachMovedOnce({ database, subspace }, store, totalItems);
    expect(await store.migrationMetrics(itemModelId)).toMatchObject({
      started: 1,
      completed: 1,
      failed: 0,
      retries: 0,
      recordsMoved: totalItems,
      takeovers: killsPerMigration,
    });
    expect(await store.migrationStatus(itemModelId)).toMatchObject({ state: 'Idle', lastError: null });

    const events = await store.migrationAuditEvents(itemModelId);
    // A holder that died on this machine is known to be dead: nobody waits for the end of its lease.
    expect(events.filter(({ type }) => type === 'LeaseRejected')).toEqual([]);
    const epochs = events.filter(({ type }) => type === 'LeaseAcquired').map(({ epoch }) => epoch);
    expect(epochs).toEqual(Array.from({ length: killsPerMigration + 1 }, (_, run) => run + 1));
    expect(epochs.at(-1)).toBeGreaterThan(lastEpoch);
    const verified = events.filter(({ type, phase }) => type === 'PhaseCompleted' && phase === 'Verify');
    expect(verified).toHaveLength(1);
    expect(events.at(-1)).toMatchObject({ type: 'Completed' });
  } finally {
    await store.close();
  }
}
