import { afterEach, beforeEach, expect, it } from 'vitest';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { CityV1, CityV2, createLatch } from '../rig/migration.ts';
import type { TrapRig } from '../rig/trap-rig.ts';
import { createTrapRig, inBackground } from '../rig/trap-rig.ts';

let rig: TrapRig;
beforeEach(() => {
  rig = createTrapRig();
});
afterEach(() => rig.close());

it('a cancel stands at once where a paused migration has not released its lease yet, and may never do so', async () => {
  await rig.fill(3);
  const [called, releasing, released] = [createLatch(), createLatch(), createLatch()];
  const store = await rig.open({
    ...inBackground,
    dataModelsById: { 1: CityV2 },
    migrationHandler: {
      City: async ({ signal }) => {
        called.open();
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        return MigrationOutcome.Partial();
      },
    },
  });
  await called.opened;
  rig.beforeCommit = async (commit) => {
    if (!commit.sets(rig.keys.owner)) return;
    releasing.open();
    await released.opened;
  };
  await store.pauseMigration(1);
  await releasing.opened;
  const { held } = (await store.explainLease(1)) ?? {};
  const { state } = await store.cancelMigration(1);
  released.open();
  expect({ held, state }).toEqual({ held: true, state: 'Canceled' });
  // Nothing was written: the old program is served again.
  const old = await rig.open({ dataModelsById: { 1: CityV1 } });
  expect(await old.model(CityV1).count()).toBe(3);
});

it('a migration that stands still holds no lease', async () => {
  await rig.fill(3);
  const store = await rig.open({
    continueMigrationsInBackground: true,
    dataModelsById: { 1: CityV2 },
    migrationHandler: { City: () => Promise.resolve(MigrationOutcome.Fatal('never')) },
  });
  expect((await store.migrationStatus(1)).state).toBe('Failed');
  expect((await store.explainLease(1))?.held).toBe(false);
});
