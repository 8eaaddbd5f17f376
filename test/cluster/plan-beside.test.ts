import { afterEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { planOf, planOn } from '../rig/plan.ts';
import type { RemovablePlace } from '../rig/test-database.ts';
import { createTestPlace } from '../rig/test-database.ts';
import { openTestDatabase } from '../rig/test-place.ts';
import { createWorkerPool } from '../../src/ports/pool.ts';
import { ItemV2 } from './item-models.ts';
import { addItems, itemModelId } from './items.ts';
import type { MigrationProcess } from './migration-processes.ts';
import { isReport, startMigrationProcess } from './migration-processes.ts';

let place: RemovablePlace | undefined;
let other: MigrationProcess | undefined;
afterEach(async () => {
  await other?.kill();
  await place?.remove();
});

describe('a plan beside a process that migrates', () => {
  it('says that the migration is gone on with, how far it is and who has it, and does not hold it up', async () => {
    place = createTestPlace('plan-beside');
    await addItems(place, 2_000);
    other = await startMigrationProcess({ place, nodeId: 'mover', stopAt: { records: 300, side: 'after' } });
    other.go();
    await other.reported(isReport('stopped'));
    // By its address, as another process would: where the product knows it.
    const isAddress = /^(?:embedded|fdb):/u.test(place.address);
    const opened = isAddress ? undefined : await openTestDatabase(place.address);
    const pool = createWorkerPool({ maxThreads: 1 });
    const report = await planOn(
      { database: opened ?? place.address, subspace: place.subspace },
      { [itemModelId]: ItemV2 },
      {
        migrationHandler: backfill({ module: new URL('./mark-item.ts', import.meta.url) }),
        sample: 100,
        pool,
      },
    );
    await pool.close();
    await opened?.close();
    expect(report.problems).toEqual([]);
    const { action, status, sample, blocking } = planOf(report, itemModelId);
    expect({ action, blocking }).toEqual({ action: 'goOn', blocking: true });
    expect(status).toMatchObject({ state: 'Running', phase: 'Backfill', owner: { nodeId: 'mover' } });
    expect(status?.progress.recordsDone).toBeGreaterThan(0);
    expect(sample).toMatchObject({ sampled: 100, failed: 0 });
    expect((sample?.moved ?? 0) + (sample?.unchanged ?? 0)).toBe(100);
    other.release();
    await other.reported(isReport('done'));
    expect(other.reports).toContainEqual({ type: 'serving', records: 2_000 });
  });
});
