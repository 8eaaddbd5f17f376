import { afterEach, beforeEach, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationHandler } from '../../src/migration/handlers.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { defineModel } from '../../src/model/index.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { CityV1, CityV2, cityOf, createLatch, createMigrationRig, toCityV2 } from '../rig/migration.ts';

/** What one migration leaves to the next of the same model. */

let rig: MigrationRig;
beforeEach(() => {
  rig = createMigrationRig();
});
afterEach(() => rig.close());

const CityV3 = defineModel({ ...CityV2, version: '3.0' });
const inBackground = { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true } as const;
const cities = 5;

/** A handler that says when it is called, and is under way until it is told to stop; from then on it succeeds. */
function createStay() {
  const called = createLatch();
  let calls = 0;
  const handler: MigrationHandler = async ({ signal }) => {
    called.open();
    if (calls++ === 0) await new Promise((resolve) => signal.addEventListener('abort', resolve));
    return calls === 1 ? MigrationOutcome.Partial() : MigrationOutcome.Success;
  };
  return { handler, called: called.opened };
}

it('a migration leaves no intent and no mark behind, and the next one can be taken back like the first', async () => {
  await rig.seed(
    CityV1,
    Array.from({ length: cities }, (_, n) => cityOf(n)),
  );
  const contract = createStay();
  const second = await rig.open(
    { 1: CityV2 },
    {
      ...inBackground,
      migrationHandler: { City: backfill({ transform: toCityV2 }) },
      migrationContractHandler: { City: contract.handler },
    },
  );
  await rig.settle(contract.called);
  await rig.settle(second.pauseMigration(1));
  await rig.settle(second.resumeMigration(1));
  await rig.settle(second.awaitMigration(1));
  const { state, intent, touched } = rig.keysOf(1);
  const left = await rig.database.transact((tx) =>
    Promise.all([state, intent, touched].map((key) => tx.get(key))),
  );
  expect(left).toEqual([undefined, undefined, undefined]);

  const backfilling = createStay();
  const third = await rig.open(
    { 1: CityV3 },
    { ...inBackground, migrationHandler: { City: backfilling.handler } },
  );
  await rig.settle(backfilling.called);
  await rig.settle(third.cancelMigration(1));
  await expect(rig.settle(third.awaitMigration(1))).rejects.toMatchObject({ code: 'MIGRATION_CANCELED' });
  expect(await second.model(CityV2).count()).toBe(cities);
});
