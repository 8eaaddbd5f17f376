import { afterEach, beforeEach, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationContext } from '../../src/migration/context.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { defineModel, float64, string } from '../../src/model/index.ts';
import { rangeOf } from '../../src/records/keys.ts';
import { answers, CityV2, cityOf, createLatch, succeed, thing, toCityV2 } from '../rig/migration.ts';
import { readRows } from '../rig/recompute-index.ts';
import type { TrapRig } from '../rig/trap-rig.ts';
import { createTrapRig, inBackground, outcomeOf } from '../rig/trap-rig.ts';

/** Traps 5 to 7, 12, 13, 15 and 17 of the design, each of which `npm run traps` shows to be caught here. */

let rig: TrapRig;
beforeEach(() => {
  rig = createTrapRig();
});
afterEach(() => rig.close());

const { Success, Partial, Retry, Fatal } = MigrationOutcome;
const models = { 1: CityV2 };
const migrationHandler = backfill({ transform: toCityV2 });
const attended = { continueMigrationsInBackground: true } as const;

const old = thing('Thing', '1.0');
const things = { 1: thing('Thing', '2.0') };

it('trap 5: what a model refers to is migrated before it in the background too', async () => {
  await rig.open({ dataModelsById: { 1: thing('Town', '1.0', ['Region']), 2: thing('Region', '1.0') } });
  const order: string[] = [];
  const write =
    (name: string) =>
    async ({ transact }: MigrationContext) => {
      // Long enough for a neighbour to begin.
      for (let n = 0; n < 20; n += 1) await transact(() => Promise.resolve());
      order.push(name);
      return Success;
    };
  const store = await rig.open({
    dataModelsById: { 1: thing('Town', '2.0', ['Region']), 2: thing('Region', '2.0') },
    migrationHandler: { Town: write('Town'), Region: write('Region') },
    ...inBackground,
  });
  await store.awaitMigration(1);
  const told = rig.events.filter(({ type }) => type === 'LeaseAcquired' || type === 'Completed');
  expect(told.map(({ type, modelName }) => `${modelName} ${type}`)).toEqual([
    'Region LeaseAcquired',
    'Region Completed',
    'Town LeaseAcquired',
    'Town Completed',
  ]);
  expect(order).toEqual(['Region', 'Town']);
});

it('trap 6: texts of handlers and operators say nothing about the state', async () => {
  await rig.open({ dataModelsById: { 1: old } });
  const failing = await rig.open({
    dataModelsById: things,
    migrationExpandHandler: succeed,
    migrationHandler: answers(Fatal('canceled, paused, completed')),
    ...attended,
  });
  expect((await failing.migrationStatus(1)).state).toBe('Failed');
  expect((await failing.pauseMigration(1, 'canceled')).state).toBe('Failed');
  await failing.cancelMigration(1, 'failed');
  expect((await failing.migrationStatus(1)).state).toBe('Canceled');
});

it('trap 7: steps that move on are no failed attempts', async () => {
  await rig.open({ dataModelsById: { 1: old } });
  const steps = Array.from({ length: 5 }, (_, n) => Partial({ nextCursor: `at ${n}` }));
  const handler = answers(...steps);
  const store = await rig.open({
    dataModelsById: things,
    migrationHandler: handler,
    migrationRetryPolicy: { maxAttempts: 1 },
    ...attended,
  });
  expect((await store.migrationStatus(1)).lastError).toBeNull();
  expect(handler.calls).toHaveLength(6);
});

it('trap 7: one retry is one retry, and one attempt is one attempt', async () => {
  await rig.open({ dataModelsById: { 1: old } });
  const handler = answers(Retry({ retryAfterMs: 0 }), Retry({ retryAfterMs: 0 }));
  const store = await rig.open({
    dataModelsById: things,
    migrationExpandHandler: answers(Success),
    migrationHandler: handler,
    migrationRetryPolicy: { maxRetryOutcomes: 1 },
    ...attended,
  });
  expect(handler.calls).toHaveLength(2);
  expect(await store.migrationStatus(1)).toMatchObject({
    state: 'Failed',
    lastError: { code: 'RETRIES_EXHAUSTED' },
  });
});

it('trap 7: one attempt is granted where one is allowed', async () => {
  await rig.open({ dataModelsById: { 1: old } });
  const handler = answers();
  const store = await rig.open({
    dataModelsById: things,
    migrationHandler: handler,
    migrationRetryPolicy: { maxAttempts: 1 },
    ...attended,
  });
  expect(handler.calls).toHaveLength(1);
  expect((await store.migrationStatus(1)).state).toBe('Idle');
});

it('trap 12: each audit event is a row of its own, and none is written again', async () => {
  await rig.fill(3);
  const seen: string[][] = [];
  const rows = async () =>
    (await readRows(rig.database, rangeOf(rig.keys.audit))).map(
      ({ key, value }) => `${key.toString('hex')} ${value.toString()}`,
    );
  rig.afterCommit = async () => {
    seen.push(await rows());
  };
  await rig.open({ dataModelsById: models, migrationHandler, persistMigrationAuditEvents: true });
  const last = await rows();
  expect(last).toHaveLength(rig.events.length);
  for (const some of seen) expect(last.slice(0, some.length)).toEqual(some);
});

it('trap 12: an audit reporter that throws fails no migration', async () => {
  await rig.fill(3);
  const store = await rig.open({
    dataModelsById: models,
    migrationHandler,
    migrationAuditEventReporter() {
      throw new Error('the audit service is down');
    },
    ...attended,
  });
  expect(await store.migrationStatus(1)).toMatchObject({ state: 'Idle', lastError: null });
});

it('trap 13: a cursor that is too large fails the step with a clear error', async () => {
  await rig.open({ dataModelsById: { 1: old } });
  const tooLarge = Partial({ nextCursor: 'x'.repeat(200_000) });
  const store = await rig.open({
    dataModelsById: things,
    migrationExpandHandler: succeed,
    migrationHandler: answers(tooLarge, Fatal('the state could not be written, and it was tried again')),
    ...attended,
  });
  expect(await store.migrationStatus(1)).toMatchObject({
    state: 'Failed',
    lastError: { code: 'CURSOR_TOO_LARGE' },
  });
});

it('trap 13: a message that is too long is cut', async () => {
  await rig.open({ dataModelsById: { 1: old } });
  const handler = answers(Fatal('x'.repeat(200_000)));
  const store = await rig.open({
    dataModelsById: things,
    migrationExpandHandler: succeed,
    migrationHandler: handler,
    ...attended,
  });
  expect(handler.calls).toHaveLength(1);
  const { state, lastError } = await store.migrationStatus(1);
  expect(state).toBe('Failed');
  expect(lastError?.message).toMatch(/^x{900}/);
});

/** Another target for a database that is half-way to `CityV2`. */
const id = string({ number: 1, required: true });
const CityV3 = defineModel({
  name: 'City',
  version: '3.0',
  key: ['id'],
  properties: {
    id,
    name: string({ number: 2, required: true }),
    latitude: float64({ number: 3, required: true, alternativeNames: ['lat'] }),
    longitude: float64({ number: 4, required: true, alternativeNames: ['lng'] }),
    hemisphere: string({ number: 5, required: true }),
  },
});
const toCityV3 = (city: Readonly<Record<string, unknown>>) => {
  const latitude = Number(city['latitude'] ?? city['lat']);
  const longitude = Number(city['longitude'] ?? city['lng']);
  return { ...city, latitude, longitude, hemisphere: latitude < 0 ? 'south' : 'north' };
};

const stopHalfWay = async () => {
  await rig.fill(300);
  await rig.stopHalfWay({ dataModelsById: models, migrationHandler });
};

it('trap 15: another target is refused half-way, and a reset leads to it with nothing left behind', async () => {
  await stopHalfWay();
  const options = {
    dataModelsById: { 1: CityV3 },
    migrationHandler: backfill({ transform: toCityV3, accepts: ['1.0', '2.0'] }),
  };
  expect(await outcomeOf(rig.open(options))).toBe('MIGRATION_TARGET_CHANGED');
  const store = await rig.open({ ...options, ...attended });
  await store.resetMigration(1);
  expect(await outcomeOf(store.awaitMigration(1))).toBe('done');
  const hemispheres: string[] = [];
  for await (const { hemisphere } of store.model(CityV3).scan()) hemispheres.push(hemisphere);
  expect(hemispheres).toEqual(
    Array.from({ length: 300 }, (_, n) => (Number(cityOf(n).lat) < 0 ? 'south' : 'north')),
  );
});

it('trap 15: another transform to the same target is refused half-way', async () => {
  await stopHalfWay();
  const mirrored = (city: Readonly<Record<string, unknown>>) => ({
    ...toCityV2(city),
    latitude: -Number(city['lat']),
  });
  const other = backfill({ transform: mirrored });
  const opening = rig.open({ dataModelsById: models, migrationHandler: other });
  expect(await outcomeOf(opening)).toBe('MIGRATION_TARGET_CHANGED');
});

it('trap 17: a store that does not move records tells the same progress as the one that does', async () => {
  await rig.fill(300);
  const halfWay = createLatch();
  const goOn = createLatch();
  rig.afterCommit = async (commit) => {
    if (!commit.setsUnder(rig.keys.records(1))) return;
    halfWay.open();
    await goOn.opened;
  };
  const mover = await rig.open({ dataModelsById: models, migrationHandler, ...inBackground });
  await halfWay.opened;
  const other = await rig.open({ dataModelsById: models, migrationHandler, ...inBackground });
  const [here, there] = [await mover.migrationStatus(1), await other.migrationStatus(1)];
  goOn.open();
  expect(here.progress.recordsDone).toBe(100);
  expect(there.progress.recordsDone).toBe(100);
  expect(there.progress.fraction).toBe(here.progress.fraction);
  await other.awaitMigration(1);
});
