import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationContext } from '../../src/migration/context.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import type { MigrationPhase } from '../../src/migration/state.ts';
import { migrationPhases } from '../../src/migration/state.ts';
import type { Barrier, World } from '../rig/operators.ts';
import {
  codeOf,
  createBarrier,
  createWorld,
  expectIndexesToBeRight,
  heldHandler,
  latitudeOf,
  RegionV1,
  RegionV2,
  regionToV2,
  townId,
  TownInRegionV1,
  TownInRegionV2,
  TownV1,
  TownV2,
  TownV3,
  toV2,
  toV3,
  waitForStatus,
  waitUntil,
} from '../rig/operators.ts';

const towns = 350;
const background = { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true } as const;
const moves = { migrationHandler: backfill({ transform: toV2 }) } as const;

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

/** A store whose migration waits in the middle of a phase. */
async function openHeldIn(phase: MigrationPhase) {
  await world.fill(towns);
  barrier.shut();
  if (phase === 'Backfill') world.beforeChunk = (chunk) => (chunk === 0 ? undefined : barrier.pass());
  const held = heldHandler(barrier);
  const store = await world.open({
    dataModelsById: { 1: TownV2 },
    ...moves,
    ...background,
    nodeId: 'leader',
    ...(phase === 'Expand' ? { migrationExpandHandler: held } : {}),
    ...(phase === 'Verify' ? { migrationVerifyHandler: held } : {}),
    ...(phase === 'Contract' ? { migrationContractHandler: held } : {}),
  });
  await waitUntil(`the migration is held in ${phase}`, () => barrier.waiting > 0);
  return store;
}

const openOperator = () =>
  world.open({ dataModelsById: { 1: TownV2 }, ...moves, ...background, nodeId: 'operator' });

describe.each(migrationPhases)('in %s', (phase) => {
  it('a pause from another store is answered with the wish, obeyed at the boundary, and undone by resume', async () => {
    const store = await openHeldIn(phase);
    const operator = await openOperator();

    const asked = await operator.pauseMigration(1, 'lunch', { by: 'kim' });
    expect(asked).toMatchObject({
      modelId: 1,
      modelName: 'Town',
      state: 'Running',
      phase,
      reason: { code: 'pausing', message: 'lunch (by kim)' },
      owner: { nodeId: 'leader' },
      intentRevision: 1,
      blocking: true,
    });

    barrier.open();
    await waitForStatus(operator, 'Paused');
    const { recordsRead } = await world.totals();
    const paused = await operator.migrationStatus(1);
    expect(paused).toMatchObject({ phase, owner: null, message: 'lunch', blocking: true, etaMs: null });
    if (phase === 'Backfill') expect(recordsRead).toBeLessThan(towns);
    expect(await codeOf(operator.model(TownV2).count())).toBe('MODEL_MIGRATING');

    const resumed = await operator.resumeMigration(1);
    expect(resumed.intentRevision).toBe(2);
    await Promise.all([store.awaitMigration(1), operator.awaitMigration(1)]);
    expect(await store.model(TownV2).count()).toBe(towns);
    expect(await operator.model(TownV2).get(townId(5))).toEqual({
      id: townId(5),
      latitude: latitudeOf(5),
    });
    await expectIndexesToBeRight(world);
    expect(await store.migrationMetrics(1)).toMatchObject({
      started: 1,
      paused: 1,
      resumed: 1,
      canceled: 0,
      failed: 0,
      completed: 1,
      recordsMoved: towns,
    });
  });

  it('a cancel from a store of the old program ends as Canceled, never as Failed, until it is resumed', async () => {
    const store = await openHeldIn(phase);
    const old = await world.open({ dataModelsById: { 1: TownV1 }, nodeId: 'old' });

    const asked = await old.cancelMigration(1);
    expect(asked).toMatchObject({
      state: 'Running',
      reason: { code: 'canceling', message: 'Canceled by operator (by old)' },
      intentRevision: 1,
    });
    barrier.open();
    await waitForStatus(store, 'Canceled');
    expect(await store.migrationStatus(1)).toMatchObject({
      phase,
      owner: null,
      message: expect.stringContaining('Canceled by operator') as string,
      lastError: null,
    });
    expect(await codeOf(store.awaitMigration(1))).toBe('MIGRATION_CANCELED');
    expect(world.audit.filter(({ type }) => type === 'Canceled')).toEqual([
      expect.objectContaining({ phase, message: 'Canceled by operator (by old)', nodeId: 'leader' }),
    ]);
    expect(world.audit.map(({ type }) => type)).not.toContain('Failed');

    await old.resumeMigration(1);
    await store.awaitMigration(1);
    expect(await store.model(TownV2).count()).toBe(towns);
    await expectIndexesToBeRight(world);
    expect(await codeOf(old.model(TownV1).count())).toBe('MODEL_SCHEMA_CHANGED');
    expect(await store.migrationMetrics(1)).toMatchObject({
      started: 1,
      canceled: 1,
      resumed: 1,
      failed: 0,
      completed: 1,
      recordsMoved: towns,
    });
  });

  it('a second pause or cancel changes nothing, and a cancel may follow a pause', async () => {
    const store = await openHeldIn(phase);
    const first = await store.pauseMigration(1);
    expect(await store.pauseMigration(1, 'again')).toEqual({
      ...first,
      progress: expect.anything() as unknown,
    });
    barrier.open();
    await waitForStatus(store, 'Paused');
    expect((await store.pauseMigration(1)).intentRevision).toBe(1);

    const canceled = await store.cancelMigration(1, 'enough');
    expect(canceled).toMatchObject({ state: 'Canceled', intentRevision: 2 });
    expect(canceled.message).toContain('enough');
    expect((await store.cancelMigration(1, 'more than enough')).intentRevision).toBe(2);
    // What is canceled does not become something milder by a pause.
    expect(await store.pauseMigration(1)).toMatchObject({ state: 'Canceled', intentRevision: 2 });
    expect(world.audit.filter(({ type }) => type === 'Paused' || type === 'Canceled')).toHaveLength(2);

    expect((await store.resumeMigration(1)).intentRevision).toBe(3);
    await store.awaitMigration(1);
    expect(await store.model(TownV2).count()).toBe(towns);
  });
});

it('a cancel that is written before a failure is leaves the migration canceled, not failed', async () => {
  await world.fill(3);
  const operator = await world.open({ dataModelsById: { 1: TownV1 }, database: world.database });
  let hasFailed = false;
  let canceled: Promise<unknown> | undefined;
  world.beforeTransaction = async () => {
    if (hasFailed) await (canceled ??= operator.cancelMigration(1));
  };
  const store = await world.open({
    dataModelsById: { 1: TownV2 },
    ...moves,
    ...background,
    migrationExpandHandler: () => {
      hasFailed = true;
      return Promise.resolve(MigrationOutcome.Fatal('never'));
    },
  });
  await waitUntil('it stands still', async () => {
    const { state } = await store.migrationStatus(1);
    return state === 'Canceled' || state === 'Failed';
  });
  expect(await store.migrationStatus(1)).toMatchObject({
    state: 'Canceled',
    message: 'Canceled by operator',
  });
  expect(await codeOf(store.awaitMigration(1))).toBe('MIGRATION_CANCELED');
});

describe('before it has begun', () => {
  async function openWaiting() {
    const v1 = await world.open({ dataModelsById: { 1: TownInRegionV1, 2: RegionV1 } });
    await v1.model(RegionV1).add({ id: 'r', size: '1' });
    await v1.model(TownInRegionV1).add({ id: 'a', lat: '1', region: 'r' });
    await v1.close();
    barrier.shut();
    const store = await world.open({
      dataModelsById: { 1: TownInRegionV2, 2: RegionV2 },
      migrationExpandHandler: { Region: heldHandler(barrier) },
      migrationHandler: {
        Region: backfill({ transform: regionToV2 }),
        Town: backfill({ transform: (town) => ({ ...toV2(town), region: town['region'] }) }),
      },
      ...background,
    });
    await waitUntil('the dependency is held', () => barrier.waiting > 0);
    return store;
  }

  it('a pause stands at once, and outlasts the dependency', async () => {
    const store = await openWaiting();
    expect(await store.migrationStatus(1)).toMatchObject({
      state: 'Waiting',
      reason: { code: 'dependency' },
    });
    expect(await store.pauseMigration(1)).toMatchObject({ state: 'Paused', owner: null });

    barrier.open();
    await store.awaitMigration(2);
    expect(await store.migrationStatus(1)).toMatchObject({ state: 'Paused' });

    expect((await store.resumeMigration(1)).state).toBe('Waiting');
    await store.awaitMigration(1);
    expect(await store.model(TownInRegionV2).get('a')).toEqual({ id: 'a', latitude: 1, region: 'r' });
  });

  it('a cancel leaves the model to the old program', async () => {
    const store = await openWaiting();
    expect(await store.cancelMigration(1)).toMatchObject({ state: 'Canceled' });
    barrier.open();
    await store.awaitMigration(2);
    const old = await world.open({ dataModelsById: { 1: TownInRegionV1, 2: RegionV1 } });
    expect(await old.model(TownInRegionV1).get('a')).toEqual({ id: 'a', lat: '1', region: 'r' });
    expect(await codeOf(store.awaitMigration(1))).toBe('MIGRATION_CANCELED');
  });

  it('a resume that nothing preceded changes nothing', async () => {
    const store = await openWaiting();
    const resumed = await store.resumeMigration(1);
    expect(resumed).toMatchObject({ state: 'Waiting', intentRevision: 0 });
    expect(world.audit.filter(({ type }) => type === 'Resumed')).toEqual([]);
  });
});

describe('where there is nothing to steer', () => {
  it('says so for a model with nothing to do', async () => {
    const store = await world.open({ dataModelsById: { 1: TownV1 } });
    for (const call of [
      store.pauseMigration(1),
      store.resumeMigration(1),
      store.cancelMigration(1),
      store.resetMigration(1),
    ]) {
      expect(await codeOf(call)).toBe('MIGRATION_NOT_PENDING');
    }
    expect(world.audit).toEqual([]);
  });

  it('refuses an id that is no model', async () => {
    const store = await world.open({ dataModelsById: { 1: TownV1 } });
    for (const call of [
      store.pauseMigration(7),
      store.resumeMigration(7),
      store.cancelMigration(7),
      store.resetMigration(7),
      store.migrationStatus(7),
      store.awaitMigration(7),
      store.migrationMetrics(7),
      store.migrationAuditEvents(7),
      store.quarantined(7),
      store.retryQuarantined(7),
    ]) {
      expect(await codeOf(call)).toBe('MODEL_UNKNOWN');
    }
  });
});

describe('across restarts', () => {
  it('an intent that nobody obeyed yet is obeyed by the next process', async () => {
    const store = await openHeldIn('Backfill');
    await store.pauseMigration(1, 'before the restart');
    const closed = store.close();
    barrier.open();
    await closed;

    const next = await world.open({ dataModelsById: { 1: TownV2 }, ...moves, ...background });
    await waitForStatus(next, 'Paused');
    expect(await next.migrationStatus(1)).toMatchObject({ message: 'before the restart' });
    await next.resumeMigration(1);
    await next.awaitMigration(1);
    expect(await next.model(TownV2).count()).toBe(towns);
    expect((await next.migrationMetrics(1)).recordsMoved).toBe(towns);
  });

  it('open restarts nothing that is paused or canceled; only resume does', async () => {
    const store = await openHeldIn('Backfill');
    await store.pauseMigration(1);
    barrier.open();
    await waitForStatus(store, 'Paused');
    await store.close();
    const { recordsRead } = await world.totals();

    const withoutBackground = () => world.open({ dataModelsById: { 1: TownV2 }, ...moves });
    expect(await codeOf(withoutBackground())).toBe('MIGRATION_PAUSED');
    const next = await world.open({ dataModelsById: { 1: TownV2 }, ...moves, ...background });
    expect(await next.migrationStatus(1)).toMatchObject({ state: 'Paused' });
    await next.cancelMigration(1, 'not today');
    await next.close();
    expect(await codeOf(withoutBackground())).toBe('MIGRATION_CANCELED');
    expect((await world.totals()).recordsRead).toBe(recordsRead);

    const last = await world.open({
      dataModelsById: { 1: TownV2 },
      ...moves,
      continueMigrationsInBackground: true,
    });
    await last.resumeMigration(1);
    await last.awaitMigration(1);
    expect(await last.model(TownV2).count()).toBe(towns);
  });

  it('a failure is not tried again by open; resume goes on with a mended transform, behind what was moved', async () => {
    await world.fill(towns);
    const broken = backfill({
      transform(town) {
        if (town['id'] === townId(250)) throw new Error('this one is odd');
        return toV2(town);
      },
    });
    const failed = () => world.open({ dataModelsById: { 1: TownV2 }, migrationHandler: broken });
    expect(await codeOf(failed())).toBe('MIGRATION_FAILED');
    const { moved } = await world.totals();
    expect(moved).toBeGreaterThan(0);
    expect(await codeOf(failed())).toBe('MIGRATION_FAILED');
    expect((await world.totals()).moved).toBe(moved);
    expect(world.audit.filter(({ type }) => type === 'Failed')).toHaveLength(1);

    let seen = 0;
    const mended = backfill({
      transform(town) {
        seen += 1;
        return toV2(town);
      },
    });
    const store = await world.open({
      dataModelsById: { 1: TownV2 },
      migrationHandler: mended,
      continueMigrationsInBackground: true,
    });
    expect(await store.migrationStatus(1)).toMatchObject({
      state: 'Failed',
      lastError: { code: 'TRANSFORM_FAILED', retryable: false },
    });
    await store.resumeMigration(1);
    await store.awaitMigration(1);
    expect(seen).toBe(towns - moved);
    expect(await store.model(TownV2).count()).toBe(towns);
    await expectIndexesToBeRight(world);
    expect(await store.migrationMetrics(1)).toMatchObject({
      failed: 1,
      resumed: 1,
      completed: 1,
      recordsMoved: towns,
    });
  });

  it('open without the background fails only after the other models are done', async () => {
    const v1 = await world.open({ dataModelsById: { 1: TownV1, 2: RegionV1 } });
    await v1.model(TownV1).add({ id: 'a', lat: '1' });
    await v1.model(RegionV1).add({ id: 'r', size: '2' });
    await v1.close();
    const failing = world.open({
      dataModelsById: { 1: TownV2, 2: RegionV2 },
      migrationHandler: {
        Town: () => Promise.resolve(MigrationOutcome.Fatal('no')),
        Region: backfill({ transform: regionToV2 }),
      },
    });
    expect(await codeOf(failing)).toBe('MIGRATION_FAILED');
    const regions = await world.open({ dataModelsById: { 2: RegionV2 } });
    expect(await regions.model(RegionV2).get('r')).toEqual({ id: 'r', size: 2 });
  });
});

describe('a way back while nothing was written', () => {
  /** Held in the first chunk, before its commit. */
  async function openUntouched() {
    await world.fill(towns);
    barrier.shut();
    world.beforeChunk = () => barrier.pass();
    const store = await world.open({ dataModelsById: { 1: TownV2 }, ...moves, ...background });
    await waitUntil('the first chunk is ready', () => barrier.waiting > 0);
    return store;
  }

  it('a cancel opens the model under its stored definition, and a later resume migrates it all the same', async () => {
    const store = await openUntouched();
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    expect(await codeOf(old.model(TownV1).count())).toBe('MODEL_MIGRATING');
    await store.cancelMigration(1);
    barrier.open();
    await waitForStatus(store, 'Canceled');
    expect(await old.model(TownV1).count()).toBe(towns);
    await old.model(TownV1).add({ id: 'new', lat: '5' });
    expect(await codeOf(store.model(TownV2).count())).toBe('MODEL_MIGRATING');

    await store.resumeMigration(1);
    await store.awaitMigration(1);
    expect(await store.model(TownV2).get('new')).toEqual({ id: 'new', latitude: 5 });
    expect(await store.model(TownV2).count()).toBe(towns + 1);
    await expectIndexesToBeRight(world);
  });

  it('so does a failure before the first record', async () => {
    await world.fill(towns);
    const failing = world.open({
      dataModelsById: { 1: TownV2 },
      migrationHandler: backfill({
        transform: () => {
          throw new Error('never');
        },
      }),
    });
    expect(await codeOf(failing)).toBe('MIGRATION_FAILED');
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    expect(await old.model(TownV1).count()).toBe(towns);
  });

  it('not once an Expand handler was called', async () => {
    await world.fill(towns);
    barrier.shut();
    const store = await world.open({
      dataModelsById: { 1: TownV2 },
      ...moves,
      ...background,
      migrationExpandHandler: heldHandler(barrier),
    });
    await waitUntil('it is in Expand', () => barrier.waiting > 0);
    await store.cancelMigration(1);
    barrier.open();
    await waitForStatus(store, 'Canceled');
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    expect(await codeOf(old.model(TownV1).count())).toBe('MODEL_MIGRATING');
  });

  it('not once a record was written, and the error then names the ways out', async () => {
    await world.fill(towns);
    const failing = world.open({
      dataModelsById: { 1: TownV2 },
      migrationHandler: backfill({
        transform(town) {
          if (town['id'] === townId(250)) throw new Error('this one is odd');
          return toV2(town);
        },
      }),
    });
    await expect(failing).rejects.toThrow(/resumeMigration[^]*resetMigration/);
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    expect(await codeOf(old.model(TownV1).count())).toBe('MODEL_MIGRATING');
    const store = await world.open({
      dataModelsById: { 1: TownV2 },
      ...moves,
      continueMigrationsInBackground: true,
    });
    await expect(store.awaitMigration(1)).rejects.toThrow(/resumeMigration[^]*resetMigration/);
  });

  it('a cancel after the first record names the ways out too', async () => {
    const store = await openHeldIn('Backfill');
    await store.cancelMigration(1);
    barrier.open();
    await waitForStatus(store, 'Canceled');
    await expect(store.awaitMigration(1)).rejects.toThrow(/resumeMigration[^]*resetMigration/);
  });
});

it('a handler hears of a pause by its signal, and what it then throws is no failure', async () => {
  await world.fill(3);
  let calls = 0;
  const store = await world.open({
    dataModelsById: { 1: TownV2 },
    ...moves,
    ...background,
    migrationExpandHandler: async ({ signal }: MigrationContext) => {
      calls += 1;
      if (calls > 1) return MigrationOutcome.Success;
      await new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
      throw new Error('told to stop');
    },
  });
  await waitUntil('the handler was called', () => calls === 1);
  await store.pauseMigration(1);
  await waitForStatus(store, 'Paused');
  expect(await store.migrationStatus(1)).toMatchObject({ lastError: null, phase: 'Expand', attempt: 0 });
  await store.resumeMigration(1);
  await store.awaitMigration(1);
  expect(calls).toBe(2);
});

it('closing says nothing on stderr', async () => {
  const warn = vi.spyOn(console, 'warn');
  const store = await openHeldIn('Expand');
  const closed = store.close();
  barrier.open();
  await closed;
  expect(warn).not.toHaveBeenCalled();
  warn.mockRestore();
});

describe('while a retry is waited for', () => {
  /** The first call asks for an hour. */
  async function openWaitingForRetry() {
    await world.fill(3);
    let calls = 0;
    const store = await world.open({
      dataModelsById: { 1: TownV2 },
      ...moves,
      ...background,
      migrationExpandHandler: () => {
        calls += 1;
        return Promise.resolve(
          calls === 1 ? MigrationOutcome.Retry({ retryAfterMs: 3_600_000 }) : MigrationOutcome.Success,
        );
      },
    });
    await waitUntil(
      'the retry is scheduled',
      async () => (await store.migrationStatus(1)).reason?.code === 'retryBackoff',
    );
    return store;
  }

  it('a pause stands at once, and a resume does not wait for the rest', async () => {
    const store = await openWaitingForRetry();
    await store.pauseMigration(1);
    await waitForStatus(store, 'Paused');
    await store.resumeMigration(1);
    await store.awaitMigration(1);
    expect(await store.model(TownV2).count()).toBe(3);
  });

  it('a cancel stands at once, and close does not wait either', async () => {
    const store = await openWaitingForRetry();
    await store.cancelMigration(1);
    await waitForStatus(store, 'Canceled');
    await store.close();
    const again = await openWaitingForRetryOf(1);
    await again.close();
    expect(await codeOf(again.migrationStatus(1))).toBe('STORE_CLOSED');
  });

  /** The same migration, resumed in another process, with `calls` further retries. */
  async function openWaitingForRetryOf(calls: number) {
    let left = calls;
    const store = await world.open({
      dataModelsById: { 1: TownV2 },
      ...moves,
      ...background,
      migrationExpandHandler: () => {
        left -= 1;
        return Promise.resolve(
          left >= 0 ? MigrationOutcome.Retry({ retryAfterMs: 3_600_000 }) : MigrationOutcome.Success,
        );
      },
    });
    await store.resumeMigration(1);
    await waitUntil(
      'the retry is scheduled',
      async () => (await store.migrationStatus(1)).reason?.code === 'retryBackoff',
    );
    return store;
  }
});

it('an intent is for one migration: a program with another target ignores it', async () => {
  await world.fill(towns);
  const never = {
    acquire: () =>
      Promise.resolve({
        refused: true as const,
        holder: undefined,
        worthRetrying: (signal: AbortSignal) =>
          new Promise<void>((resolve) => {
            signal.addEventListener('abort', () => resolve(), { once: true });
          }),
      }),
    explain: () => Promise.resolve(undefined),
  };
  const store = await world.open({
    dataModelsById: { 1: TownV2 },
    ...moves,
    ...background,
    migrationLease: never,
  });
  expect(await store.pauseMigration(1)).toMatchObject({ state: 'Paused' });
  await store.close();
  expect(await codeOf(world.open({ dataModelsById: { 1: TownV2 }, ...moves }))).toBe('MIGRATION_PAUSED');

  const newer = await world.open({
    dataModelsById: { 1: TownV3 },
    migrationHandler: backfill({ transform: toV3 }),
  });
  expect(await newer.model(TownV3).count()).toBe(towns);
  expect(await newer.migrationStatus(1)).toMatchObject({ state: 'Idle', intentRevision: 0 });
  await expectIndexesToBeRight(world);
});
