import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RemovablePlace } from '../rig/test-database.ts';
import { createTestPlace } from '../rig/test-database.ts';
import { openTestDatabase } from '../rig/test-place.ts';
import { expectEachMovedOnce, openItemsV2 } from './item-checks.ts';
import { ItemV1 } from './item-models.ts';
import { addItems, itemModelId, movedItem, openItemsV1, withDatabase } from './items.ts';
import type { MigrationProcess, StopPoint } from './migration-processes.ts';
import { isAudit, isReport, recordsIn, startMigrationProcess } from './migration-processes.ts';

const totalItems = 2_000;
/** Some records are moved for certain, most are not. */
const midway: StopPoint = { records: 300, side: 'after' };
/** Processes are started here: generous, for a machine that does something else too. */
const timeoutMs = 120_000;

describe('two processes on one database', () => {
  let place: RemovablePlace;
  let processes: MigrationProcess[];

  beforeEach(async () => {
    place = createTestPlace('two-processes');
    processes = [];
    await addItems(place, totalItems);
  });
  afterEach(async () => {
    await Promise.all(processes.map((started) => started.kill()));
    await place.remove();
  });

  const start = async (nodeId: string): Promise<MigrationProcess> => {
    const started = await startMigrationProcess({ place, nodeId, stopAt: midway });
    processes.push(started);
    return started;
  };
  /** Both open at the same time; answers when one is midway, and the one that does not lead has learnt that it does not. */
  const startTwo = async (): Promise<{ owner: MigrationProcess; other: MigrationProcess }> => {
    const [first, second] = await Promise.all([start('first'), start('second')]);
    for (const started of [first, second]) started.go();
    const both = [first, second];
    const owner = await Promise.race(
      both.map((started) => started.reported(isAudit('LeaseAcquired')).then(() => started)),
    );
    const other = owner === first ? second : first;
    await Promise.race(both.map((started) => started.reported(isReport('stopped'))));
    await other.reported(isAudit('LeaseRejected'));
    return { owner, other };
  };
  /** Whatever happened, each item was moved once, under as many owners. */
  const expectMovedUnder = (owners: number) =>
    withDatabase(place, async (database) => {
      const store = await openItemsV2(database, place);
      try {
        await expectEachMovedOnce({ database, subspace: place.subspace }, store, totalItems);
        const { started, completed, recordsMoved, takeovers } = await store.migrationMetrics(itemModelId);
        expect({ started, completed, recordsMoved, takeovers }).toEqual({
          started: 1,
          completed: 1,
          recordsMoved: totalItems,
          takeovers: owners - 1,
        });
        const events = await store.migrationAuditEvents(itemModelId);
        const acquired = events.filter(({ type }) => type === 'LeaseAcquired');
        expect(acquired.map(({ epoch }) => epoch)).toEqual([1, 2].slice(0, owners));
      } finally {
        await store.close();
      }
    });

  it(
    'has two that open at once move the records together, and both serve them',
    { timeout: timeoutMs },
    async () => {
      const { owner, other } = await startTwo();
      owner.release();
      other.release();
      await Promise.all([owner.reported(isReport('done')), other.reported(isReport('done'))]);
      const moved = [owner, other].map(({ reports }) => recordsIn(reports, 'acknowledged'));
      expect(moved.reduce((sum, records) => sum + records)).toBe(totalItems);
      for (const { reports } of [owner, other]) {
        expect(reports).toContainEqual({ type: 'serving', records: totalItems });
      }
      await expectMovedUnder(1);
    },
  );

  it('goes on in the one that waits when the owner is killed', { timeout: timeoutMs }, async () => {
    const { owner, other } = await startTwo();
    await owner.kill();
    other.release();
    await other.reported(isReport('done'));
    const sent = recordsIn(owner.reports, 'sending') + recordsIn(other.reports, 'sending');
    expect(sent).toBeGreaterThanOrEqual(totalItems);
    await expectMovedUnder(2);
  });

  it('refuses an older program while records are moved and after it', { timeout: timeoutMs }, async () => {
    const { id, text } = movedItem(0);
    const database = await openTestDatabase(place.address);
    const older = await openItemsV1(database, place);
    try {
      const items = older.model(ItemV1);
      expect(await items.get(id)).toMatchObject({ id, mark: '' });
      const requests = {
        get: () => items.get(id),
        put: () => items.put({ id, mark: 'late', rank: '1', text }),
        add: () => items.add({ id: 'late', mark: '', rank: '1', text }),
        scan: () => items.scan().page(),
      };
      const newer = await start('newer');
      newer.go();
      await newer.reported(isReport('stopped'));
      for (const request of Object.values(requests)) {
        await expect(request()).rejects.toMatchObject({
          name: 'RequestException',
          code: 'MODEL_MIGRATING',
          retryable: true,
          details: { modelName: 'Item', retryAfterMs: expect.any(Number) as number },
        });
      }
      newer.release();
      await newer.reported(isReport('done'));
      for (const request of Object.values(requests)) {
        await expect(request()).rejects.toMatchObject({
          name: 'RequestException',
          code: 'MODEL_SCHEMA_CHANGED',
          retryable: false,
        });
      }
    } finally {
      await older.close();
      await database.close();
    }
    await expectMovedUnder(1);
  });
});
