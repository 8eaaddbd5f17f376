import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { keyAfterPrefix } from '../../src/records/keys.ts';
import type { StoredStore } from '../../src/store/open-stored.ts';
import { openStored } from '../../src/store/open-stored.ts';
import type { FoundationDBDataStore } from '../../src/store/store.ts';
import { manual, waitForApproval } from '../rig/approval.ts';
import type { Barrier, World } from '../rig/operators.ts';
import {
  codeOf,
  createBarrier,
  createWorld,
  heldHandler,
  RegionV1,
  RegionV2,
  regionToV2,
  TownInRegionV1,
  TownInRegionV2,
  TownV1,
  TownV2,
  toV2,
  waitForStatus,
  waitUntil,
} from '../rig/operators.ts';

const background = { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true } as const;
const moves = { dataModelsById: { 1: TownV2 }, migrationHandler: backfill({ transform: toV2 }) } as const;
const call = { by: 'ann', reason: 'as a test' };

let world: World;
let barrier: Barrier;
let stored: StoredStore | undefined;
beforeEach(() => {
  world = createWorld();
  barrier = createBarrier();
});
afterEach(async () => {
  barrier.open();
  await stored?.close();
  stored = undefined;
  await world.close();
});

async function openConsole(): Promise<StoredStore> {
  stored = await openStored({ database: world.database, subspace: world.subspace, nodeId: 'console' });
  return stored;
}

/** Held before the commit of the third chunk. */
async function openHalfWay(options: { readonly persistMigrationAuditEvents?: boolean } = {}) {
  await world.fill(700);
  barrier.shut();
  let reached = 0;
  world.beforeChunk = () => (reached++ < 2 ? undefined : barrier.pass());
  const store = await world.open({ ...moves, ...background, ...options, nodeId: 'here' });
  await waitUntil('it is half-way', () => barrier.waiting > 0);
  return store;
}

/** Held in Expand: no record was written, but a handler runs. */
async function openHeld() {
  await world.fill(10);
  barrier.shut();
  const store = await world.open({
    ...moves,
    ...background,
    migrationExpandHandler: heldHandler(barrier),
    persistMigrationAuditEvents: true,
  });
  await waitUntil('it is held', () => barrier.waiting > 0);
  return store;
}

/** Everything of the world's subspace. */
function dump(): Promise<readonly string[]> {
  const { prefix } = world.storeKeys;
  return world.database.transact(async (tx) =>
    (await tx.getRangeAll(prefix, keyAfterPrefix(prefix))).map(
      ({ key, value }) => `${key.toString('hex')} ${value.toString('hex')}`,
    ),
  );
}

const auditTypes = async (store: FoundationDBDataStore) =>
  (await store.migrationAuditEvents(1)).map(({ type, message }) => `${type} ${message ?? ''}`.trim());

describe('a store that knows its models from the database', () => {
  it('tells of a migration under way what the program that runs it tells', async () => {
    const store = await openHalfWay();
    const console = await openConsole();
    expect(await console.models()).toEqual([{ modelId: 1, modelName: 'Town', version: '1.0' }]);
    const told = { ...(await store.migrationStatus(1)), bus: null };
    expect(await console.status(1)).toEqual(told);
    expect(await console.statuses()).toEqual([told]);
    expect(await console.metrics(1)).toEqual(await store.migrationMetrics(1));
    expect(await console.explainLease(1)).toEqual(await store.explainLease(1));
    expect(await console.standing(1)).toEqual({ gateClosed: true, touched: true });
  });

  it('reads without a trace: not one byte of the database changes', async () => {
    await world.fill(40);
    const store = await world.open({ ...moves, persistMigrationAuditEvents: true });
    await store.close();
    const before = await dump();
    const console = await openConsole();
    await console.models();
    await console.statuses();
    await console.standing(1);
    await console.metrics(1);
    await console.explainLease(1);
    expect(await console.auditEvents(1, 3)).toHaveLength(3);
    expect(await console.verify(1)).toMatchObject({ passed: true, version: '2.0', records: { checked: 40 } });
    await console.close();
    expect(await dump()).toEqual(before);
  });

  it('pauses, resumes and cancels what another process runs, and is in its audit', async () => {
    const store = await openHalfWay({ persistMigrationAuditEvents: true });
    const console = await openConsole();
    expect(await console.pause(1, call)).toMatchObject({ reason: { code: 'pausing' }, intentRevision: 1 });
    barrier.open();
    await waitForStatus(store as unknown as FoundationDBDataStore, 'Paused');
    barrier.shut();
    await console.resume(1, call);
    await waitUntil('it goes on', () => barrier.waiting > 0);
    await console.cancel(1, call);
    barrier.open();
    await waitForStatus(store as unknown as FoundationDBDataStore, 'Canceled');
    // The resumption is the console's own doing, the others are the owner's.
    const own = (await console.auditEvents(1)).filter(({ nodeId }) => nodeId === 'console');
    expect(own).toMatchObject([{ type: 'Resumed', message: 'as a test (by ann)', epoch: 0 }]);
    expect(await auditTypes(store as unknown as FoundationDBDataStore)).toEqual(
      expect.arrayContaining(['Paused as a test (by ann)', 'Canceled as a test (by ann)']),
    );
    await store.close();
    await console.reset(1, call);
    expect(await console.standing(1)).toEqual({ gateClosed: true, touched: true });
    expect(await codeOf(console.reset(1, call))).toBe('MIGRATION_NOT_PENDING');
  });

  it('keeps no audit event where the programs keep none', async () => {
    const store = await openHalfWay();
    const console = await openConsole();
    await console.pause(1, call);
    barrier.open();
    await waitForStatus(store as unknown as FoundationDBDataStore, 'Paused');
    await console.resume(1, call);
    expect(await console.auditEvents(1)).toEqual([]);
  });

  it('lets a failed migration go on that has changed nothing, under the definition that it was to lead to', async () => {
    await world.fill(10);
    let isBroken = true;
    const broken = (record: Parameters<typeof toV2>[0]) => {
      if (isBroken) throw new Error('broken');
      return toV2(record);
    };
    const store = await world.open({
      ...background,
      dataModelsById: { 1: TownV2 },
      migrationHandler: backfill({ transform: broken }),
    });
    await waitForStatus(store as unknown as FoundationDBDataStore, 'Failed');
    const console = await openConsole();
    expect(await console.status(1)).toMatchObject({
      state: 'Failed',
      lastError: { code: 'TRANSFORM_FAILED' },
    });
    expect(await console.standing(1)).toEqual({ gateClosed: false, touched: false });
    isBroken = false;
    await console.resume(1, call);
    await store.awaitMigration(1);
    expect(await console.status(1)).toMatchObject({ state: 'Idle', migrationId: null });
    expect(await console.models()).toMatchObject([{ version: '2.0' }]);
  });

  it('steers what an operator had stopped before anybody began', async () => {
    await world.fill(10);
    const waiting = await world.open({ ...moves, ...background, migrationRole: 'wait' });
    await waiting.pauseMigration(1);
    await waiting.close();
    const console = await openConsole();
    expect(await console.status(1)).toMatchObject({ state: 'Paused', migrationId: expect.any(String) });
    await console.resume(1, call);
    const store = await world.open(moves);
    expect(await store.migrationStatus(1)).toMatchObject({ state: 'Idle' });
  });

  it('approves what waits for it, and says where nothing does', async () => {
    await world.fill(10);
    const store = await world.open(manual);
    await waitForApproval(store);
    const console = await openConsole();
    expect(await console.status(1)).toMatchObject({ state: 'Waiting', reason: { code: 'approval' } });
    await console.approve(1, call);
    await store.awaitMigration(1);
    expect(await console.models()).toMatchObject([{ version: '2.0' }]);
    expect(await codeOf(console.approve(1, call))).toBe('MIGRATION_NOT_PENDING');
  });

  it('takes a lease away from its holder, which takes it again', async () => {
    const store = await openHeld();
    const console = await openConsole();
    const { epoch, nodeId } = (await console.releaseLease(1, call)) ?? { epoch: 0, nodeId: '' };
    expect({ epoch, nodeId }).toEqual({ epoch: 1, nodeId: (await store.explainLease(1))?.nodeId });
    barrier.open();
    await store.awaitMigration(1);
    expect(await store.explainLease(1)).toMatchObject({ epoch: 3, held: false });
    expect(await auditTypes(store as unknown as FoundationDBDataStore)).toContain(
      `LeaseRejected taken from ${nodeId}: as a test (by ann)`,
    );
    expect(await console.releaseLease(1, call)).toBeUndefined();
  });

  it('lists several models, whatever their ids, and verifies those that refer to others', async () => {
    const models = { 7: RegionV1, 300: TownInRegionV1 } as const;
    const before = await world.open({ dataModelsById: models });
    await before.model(RegionV1).add({ id: 'r', size: '7' });
    await before.model(TownInRegionV1).add({ id: 't', lat: '1', region: 'r' });
    await before.close();
    const store = await world.open({
      dataModelsById: { 7: RegionV2, 300: TownInRegionV2 },
      migrationHandler: {
        Region: backfill({ transform: regionToV2 }),
        Town: backfill({ transform: ({ region, ...town }) => ({ ...toV2(town), region }) }),
      },
    });
    await store.close();
    const console = await openConsole();
    expect(await console.models()).toEqual([
      { modelId: 7, modelName: 'Region', version: '2.0' },
      { modelId: 300, modelName: 'Town', version: '2.0' },
    ]);
    expect((await console.statuses()).map(({ modelId, state }) => [modelId, state])).toEqual([
      [7, 'Idle'],
      [300, 'Idle'],
    ]);
    expect(await console.verify(300)).toMatchObject({ passed: true, records: { checked: 1 } });
    expect(await codeOf(console.status(8))).toBe('MODEL_UNKNOWN');
    expect(await codeOf(console.pause(7, call))).toBe('MIGRATION_NOT_PENDING');
  });

  it('is refused where there is none, and makes none', async () => {
    const at = { database: world.database, subspace: world.subspace };
    expect(await codeOf(openStored(at))).toBe('STORE_MISSING');
    expect(await dump()).toEqual([]);
  });

  it('answers nothing once it is closed', async () => {
    await world.fill(1);
    await world.open({ dataModelsById: { 1: TownV1 } });
    const console = await openConsole();
    await console.close();
    expect(await codeOf(console.statuses())).toBe('STORE_CLOSED');
  });
});
