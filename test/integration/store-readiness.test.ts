import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { Barrier, World } from '../rig/operators.ts';
import {
  codeOf,
  createBarrier,
  createWorld,
  heldHandler,
  RegionV1,
  TownV1,
  TownV2,
  toV2,
  waitForStatus,
  waitUntil,
} from '../rig/operators.ts';

const background = { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true } as const;
const townHandlers = { migrationHandler: { Town: backfill({ transform: toV2 }) } } as const;

let world: World;
let barrier: Barrier;
beforeEach(() => {
  world = createWorld();
  barrier = createBarrier();
});
afterEach(async () => {
  barrier.open();
  await world.close();
});

async function openHeld() {
  await world.fill(5);
  barrier.shut();
  const store = await world.open({
    dataModelsById: { 1: TownV2, 2: RegionV1 },
    ...townHandlers,
    ...background,
    migrationContractHandler: { Town: heldHandler(barrier) },
  });
  await waitUntil('it is held', () => barrier.waiting > 0);
  return store;
}

const ready = { ready: true, reason: null };
const migrating = { ready: false, reason: 'MODEL_MIGRATING' };

describe('readiness', () => {
  it('is false while a model is migrated, with the reason, and true after', async () => {
    const store = await openHeld();
    expect(store.readiness()).toEqual({ ready: false, models: { Town: migrating, Region: ready } });
    barrier.open();
    await store.awaitMigration(1);
    expect(store.readiness()).toEqual({ ready: true, models: { Town: ready, Region: ready } });
  });

  it('is true as soon as open returns with everything done', async () => {
    await world.fill(5);
    const store = await world.open({ dataModelsById: { 1: TownV2 }, ...townHandlers });
    expect(store.readiness()).toEqual({ ready: true, models: { Town: ready } });
  });

  it('costs no transaction', async () => {
    await world.fill(5);
    const store = await world.open({ dataModelsById: { 1: TownV2 }, ...townHandlers });
    await store.whenReady();
    const before = world.transactions;
    for (let probe = 0; probe < 1_000; probe += 1) store.readiness();
    await store.whenReady();
    expect(world.transactions).toBe(before);
  });

  it('follows what other processes do to the fence', async () => {
    await world.fill(5);
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    expect(old.readiness().ready).toBe(true);
    const store = await openHeldAgain();
    await waitUntil(
      'the old program sees the closed gate',
      () => old.readiness().models['Town']?.reason === 'MODEL_MIGRATING',
    );
    barrier.open();
    await store.whenReady();
    await waitUntil(
      'the old program sees the publication',
      () => old.readiness().models['Town']?.reason === 'MODEL_SCHEMA_CHANGED',
    );
  });

  it('is true again for the old program when the migration is canceled before its first record', async () => {
    await world.fill(5);
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    barrier.shut();
    world.beforeChunk = () => barrier.pass();
    const store = await world.open({ dataModelsById: { 1: TownV2 }, ...townHandlers, ...background });
    await waitUntil('the first chunk is ready', () => barrier.waiting > 0);
    await waitUntil('the old program is refused', () => !old.readiness().ready);
    const whenReady = old.whenReady();
    await store.cancelMigration(1);
    barrier.open();
    await whenReady;
    expect(await old.model(TownV1).count()).toBe(5);
    await waitForStatus(store, 'Canceled');
    expect(store.readiness().models['Town']).toEqual(migrating);
  });
});

async function openHeldAgain() {
  barrier.shut();
  const store = await world.open({
    dataModelsById: { 1: TownV2 },
    ...townHandlers,
    ...background,
    migrationContractHandler: heldHandler(barrier),
  });
  await waitUntil('it is held', () => barrier.waiting > 0);
  return store;
}

describe('whenReady', () => {
  it('waits for all models, or for those that are named', async () => {
    const store = await openHeld();
    await store.whenReady({ models: ['Region'] });
    let isReady = false;
    const all = store.whenReady().then(() => {
      isReady = true;
    });
    await store.migrationStatus(1);
    expect(isReady).toBe(false);
    barrier.open();
    await all;
    expect(await store.model(TownV2).count()).toBe(5);
  });

  it('follows another store’s publication', async () => {
    const store = await openHeld();
    const other = await world.open({
      dataModelsById: { 1: TownV2 },
      ...townHandlers,
      ...background,
    });
    const whenReady = other.whenReady();
    barrier.open();
    await whenReady;
    expect(await other.model(TownV2).count()).toBe(5);
    await store.awaitMigration(1);
  });

  it('rejects with ABORTED, STORE_CLOSED and MODEL_UNKNOWN', async () => {
    const store = await openHeld();
    const controller = new AbortController();
    const aborted = codeOf(store.whenReady({ signal: controller.signal }));
    controller.abort();
    expect(await aborted).toBe('ABORTED');
    expect(await codeOf(store.whenReady({ models: ['Nobody'] }))).toBe('MODEL_UNKNOWN');
    const closed = codeOf(store.whenReady());
    const closing = store.close();
    expect(await closed).toBe('STORE_CLOSED');
    barrier.open();
    await closing;
  });
});
