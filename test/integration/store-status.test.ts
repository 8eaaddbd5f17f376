import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { readState } from '../../src/migration/state.ts';
import type { MigrationStatus } from '../../src/migration/status.ts';
import { defineModel, int32, string } from '../../src/model/index.ts';
import type { Barrier, World } from '../rig/operators.ts';
import {
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
  TownV3,
  toV2,
  waitForStatus,
  waitUntil,
} from '../rig/operators.ts';
import { createSeededRandom, drawSeed } from '../rig/seed.ts';
import { createVirtualClock } from '../rig/virtual-clock.ts';

const towns = 700;
const background = { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true } as const;
const moves = { dataModelsById: { 1: TownV2 }, migrationHandler: backfill({ transform: toV2 }) } as const;

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

const idle = {
  modelId: 1,
  modelName: 'Town',
  migrationId: null,
  state: 'Idle',
  reason: undefined,
  phase: null,
  attempt: 0,
  lastError: null,
  hasCursor: false,
  retryCount: 0,
  etaMs: null,
  blocking: false,
  message: null,
  progress: { recordsDone: 0, recordsEstimated: null, fraction: null, recordsPerSecond: 0 },
  owner: null,
  movers: [],
  intentRevision: 0,
  bus: { type: 'connected', sinceMs: expect.any(Number) as number },
};

/** Held before the commit of the third chunk: from two on there is a rate. */
async function openHalfWay() {
  await world.fill(towns);
  barrier.shut();
  let reached = 0;
  world.beforeChunk = () => (reached++ < 2 ? undefined : barrier.pass());
  const store = await world.open({ ...moves, ...background, nodeId: 'here' });
  await waitUntil('it is half-way', () => barrier.waiting > 0);
  return store;
}

describe('migrationStatus', () => {
  it('of a model with nothing to do is Idle', async () => {
    await world.fill(1);
    const store = await world.open({ dataModelsById: { 1: TownV1 } });
    expect(await store.migrationStatus(1)).toEqual(idle);
  });

  it('of one that is being moved says who, where, how far', async () => {
    const store = await openHalfWay();
    const status = await store.migrationStatus(1);
    expect(status).toEqual({
      ...idle,
      migrationId: expect.stringMatching(/^Town:1\.0->2\.0#[0-9a-f]{12}$/) as string,
      state: 'Running',
      phase: 'Backfill',
      attempt: 1,
      hasCursor: true,
      etaMs: expect.any(Number) as number,
      blocking: true,
      progress: {
        recordsDone: expect.any(Number) as number,
        recordsEstimated: expect.any(Number) as number,
        fraction: expect.any(Number) as number,
        recordsPerSecond: expect.any(Number) as number,
      },
      owner: { nodeId: 'here', epoch: 1 },
      movers: [{ nodeId: 'here', ranges: 1, recordsPerSecond: expect.any(Number) as number }],
    });
    const { fraction, recordsDone, recordsEstimated } = status.progress;
    expect(recordsDone).toBeGreaterThan(100);
    expect(recordsDone).toBeLessThan(towns);
    expect(fraction).toBeGreaterThan(0);
    expect(fraction).toBeLessThan(1);
    expect(recordsEstimated).toBeGreaterThanOrEqual(recordsDone);
  });

  it('is the same from every store, an older program’s too', async () => {
    const store = await openHalfWay();
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    // Each has a bus of its own.
    const there = await store.migrationStatus(1);
    expect(await old.migrationStatus(1)).toEqual({ ...there, bus: expect.anything() as object });
  });

  it('waits for the lease while nobody, or another node, has it', async () => {
    await world.fill(1);
    barrier.shut();
    const first = await world.open({
      ...moves,
      ...background,
      nodeId: 'first',
      migrationLease: {
        acquire: async () => {
          await barrier.pass();
          return { refused: true, holder: undefined, worthRetrying: () => Promise.resolve() };
        },
        explain: () => Promise.resolve(undefined),
      },
    });
    expect(await first.migrationStatus(1)).toMatchObject({
      state: 'Waiting',
      reason: { code: 'lease', message: 'no node has begun' },
      migrationId: expect.stringContaining('Town:1.0->2.0') as string,
      phase: null,
      blocking: true,
    });
    const closed = first.close();
    barrier.open();
    await closed;
  });

  it('waits for dependencies by name', async () => {
    await (await world.open({ dataModelsById: { 1: TownInRegionV1, 2: RegionV1 } })).close();
    barrier.shut();
    const store = await world.open({
      dataModelsById: { 1: TownInRegionV2, 2: RegionV2 },
      ...background,
      migrationExpandHandler: { Region: heldHandler(barrier) },
      migrationHandler: {
        Town: backfill({ transform: toV2 }),
        Region: backfill({ transform: regionToV2 }),
      },
    });
    await waitUntil('the region is held', () => barrier.waiting > 0);
    const [town, region] = await store.migrationStatuses();
    expect(town).toMatchObject({
      modelId: 1,
      state: 'Waiting',
      reason: { code: 'dependency', message: expect.stringContaining('Region') as string },
    });
    expect(region).toMatchObject({ modelId: 2, state: 'Running', phase: 'Expand' });
  });

  it('waits before a retry until a time that is named', async () => {
    await world.fill(1);
    const clock = createVirtualClock();
    let calls = 0;
    const opening = world.open(
      {
        ...moves,
        ...background,
        migrationExpandHandler: () => {
          calls += 1;
          return Promise.resolve(
            calls === 1
              ? MigrationOutcome.Retry({ retryAfterMs: 60_000, message: 'the other system is away' })
              : MigrationOutcome.Success,
          );
        },
      },
      { clock },
    );
    await waitUntil('it was called', async () => {
      await clock.advanceAsync(0);
      return calls === 1;
    });
    const store = await opening;
    await waitUntil('the retry is scheduled', async () => {
      const { reason } = await store.migrationStatus(1);
      return reason?.code === 'retryBackoff';
    });
    expect(await store.migrationStatus(1)).toMatchObject({
      state: 'Running',
      reason: { code: 'retryBackoff', untilMs: clock.wallMs() + 60_000 },
      message: 'the other system is away',
      retryCount: 1,
      phase: 'Expand',
    });
    await clock.advanceAsync(59_000);
    expect(calls).toBe(1);
    await waitUntil('it was called again', async () => {
      await clock.advanceAsync(1_000);
      return calls === 2;
    });
    await waitUntil('it is published', async () => {
      await clock.advanceAsync(1_000);
      return (await store.migrationStatus(1)).state === 'Idle';
    });
  });

  it('of a failed one has the last error, and no ETA', async () => {
    await world.fill(1);
    const clock = createVirtualClock();
    const store = await world.open({
      dataModelsById: { 1: TownV2 },
      continueMigrationsInBackground: true,
      migrationHandler: () => Promise.reject(new TypeError('a mistake')),
    });
    expect(await store.migrationStatus(1)).toMatchObject({
      state: 'Failed',
      reason: undefined,
      phase: 'Backfill',
      lastError: { code: 'HANDLER_FAILED', message: 'a mistake', retryable: false },
      etaMs: null,
      owner: null,
    });
    expect(clock.pendingTimers).toBe(0);
  });

  it('of an index that is being built blocks nobody', async () => {
    await world.fill(towns);
    const indexed = defineModel({
      name: 'Town',
      version: '1.1',
      key: ['id'],
      properties: {
        id: string({ number: 1, required: true }),
        lat: string({ number: 2, required: true }),
        people: int32({ number: 3 }),
      },
      indexes: [
        { name: 'byLat', on: ['lat'] },
        { name: 'byLatAndId', on: ['lat', 'id'] },
      ],
    });
    barrier.shut();
    let reached = 0;
    world.beforeChunk = () => (reached++ === 0 ? undefined : barrier.pass());
    const store = await world.open({ dataModelsById: { 1: indexed }, ...background });
    await waitUntil('the second chunk is ready', () => barrier.waiting > 0);
    expect(await store.migrationStatus(1)).toMatchObject({
      state: 'Running',
      phase: 'Backfill',
      blocking: false,
      progress: { recordsDone: 100 },
    });
    expect(await store.pendingMigrations()).toEqual(
      new Map([[1, { modelName: 'Town', migrationId: expect.any(String) as string, reasons: [] }]]),
    );
    expect(await store.model(indexed).count()).toBe(towns);
    expect(store.readiness().ready).toBe(true);
    barrier.open();
    await store.awaitMigration(1);
    expect(await store.model(indexed).scan({ by: 'byLatAndId' }).toArray()).toHaveLength(towns);
  });
});

it('migrationStatuses has every model by id, the idle ones too', async () => {
  await world.fill(1);
  barrier.shut();
  const store = await world.open({
    dataModelsById: { 2: RegionV1, 1: TownV2 },
    migrationHandler: { Town: backfill({ transform: toV2 }) },
    migrationExpandHandler: { Town: heldHandler(barrier) },
    ...background,
  });
  await waitUntil('it is held', () => barrier.waiting > 0);
  expect((await store.migrationStatuses()).map(({ modelId, state }) => [modelId, state])).toEqual([
    [1, 'Running'],
    [2, 'Idle'],
  ]);
});

it('pendingMigrations has the reasons of what waits, and nothing else', async () => {
  await world.fill(1);
  barrier.shut();
  const store = await world.open({
    dataModelsById: { 1: TownV3, 2: RegionV1 },
    migrationHandler: { Town: backfill({ transform: (town) => ({ ...toV2(town), hemisphere: 'north' }) }) },
    migrationExpandHandler: { Town: heldHandler(barrier) },
    ...background,
  });
  const pending = await store.pendingMigrations();
  expect([...pending.keys()]).toEqual([1]);
  expect(pending.get(1)).toMatchObject({
    modelName: 'Town',
    migrationId: expect.stringMatching(/^Town:1\.0->3\.0#/) as string,
  });
  const messages = pending
    .get(1)
    ?.reasons.map(({ message }) => message)
    .join('; ');
  expect(messages).toContain('major version');
  expect(messages).toContain('hemisphere');
  barrier.open();
  await store.awaitMigration(1);
  expect(await store.pendingMigrations()).toEqual(new Map());
});

describe('progress', () => {
  it('never falls over restarts and takeovers, and is 1 exactly when the phase is over', async () => {
    const random = createSeededRandom(drawSeed('progress over restarts'));
    await world.fill(towns * 3);
    const watcher = await world.open({ dataModelsById: { 1: TownV1 } });
    const seen: MigrationStatus[] = [];
    let isOver = false;
    const look = async () => {
      const status = await watcher.migrationStatus(1);
      // Read after it: what was over is still over.
      const state = await world.database.transact((tx) => readState(tx, world.keys));
      if (state?.phase === 'Backfill' && status.phase === 'Backfill' && status.progress.fraction === 1) {
        expect(state.phaseCompleted).toBe(true);
      }
      seen.push(status);
    };
    const watchAll = async () => {
      while (!isOver) {
        await look();
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const watching = watchAll();
    let left = 0;
    let dying: (() => void) | undefined;
    // Each process dies with a chunk in its hands, at a drawn one.
    world.beforeChunk = () => {
      left -= 1;
      if (left > 0) return undefined;
      dying?.();
      return new Promise<void>(() => undefined);
    };
    for (let death = 0; death < 5; death += 1) {
      left = 1 + random.below(3);
      const died = new Promise<void>((resolve) => {
        dying = resolve;
      });
      const store = await world.open({ ...moves, ...background, maxBackfillConcurrency: 1 });
      await Promise.race([died, store.awaitMigration(1)]);
      await store.close({ timeoutMs: 1 });
    }
    world.beforeChunk = () => undefined;
    const last = await world.open({ ...moves });
    isOver = true;
    await watching;

    for (const phase of ['Backfill', 'Verify'] as const) {
      const progress = seen.filter((status) => status.phase === phase).map((status) => status.progress);
      const fractions = progress.flatMap(({ fraction }) => (fraction === null ? [] : [fraction]));
      expect(fractions).toEqual(fractions.toSorted((a, b) => a - b));
      const records = progress.map(({ recordsDone }) => recordsDone);
      expect(records).toEqual(records.toSorted((a, b) => a - b));
      for (const { recordsEstimated, recordsDone } of progress) {
        if (recordsEstimated !== null) expect(recordsEstimated).toBeGreaterThanOrEqual(recordsDone);
      }
    }
    expect(await last.migrationMetrics(1)).toMatchObject({ recordsMoved: towns * 3, completed: 1 });
  });

  it('reaches 1 with the transaction that ends Backfill, and Verify begins its own', async () => {
    await world.fill(towns);
    const fractions: (readonly [string | null, number | null, number | null])[] = [];
    const watcher = await world.open({ dataModelsById: { 1: TownV1 } });
    let busy = false;
    world.beforeTransaction = async () => {
      if (busy) return;
      busy = true;
      const { phase, progress } = await watcher.migrationStatus(1);
      fractions.push([phase, progress.fraction, progress.recordsEstimated]);
      busy = false;
    };
    await world.open({ ...moves, maxBackfillConcurrency: 1 });
    const backfilled = fractions.filter(([phase]) => phase === 'Backfill');
    expect(backfilled.at(-1)).toEqual(['Backfill', 1, towns]);
    expect(backfilled.filter(([, fraction]) => fraction === 1).length).toBeLessThan(backfilled.length);
    // Null until its ranges are planned.
    const verified = fractions.filter(([phase, fraction]) => phase === 'Verify' && fraction !== null);
    expect(verified.at(0)?.[1]).toBeLessThan(1);
    expect(verified.at(-1)?.[1]).toBe(1);
  });

  it('an ETA comes from what was timed, and there is none while it is paused', async () => {
    const clock = createVirtualClock();
    await world.fill(towns);
    let chunk = 0;
    barrier.shut();
    // Every chunk takes a second.
    world.beforeChunk = async () => {
      chunk += 1;
      if (chunk === 3) await barrier.pass();
      await clock.advanceAsync(1_000);
    };
    const opening = world.open({ ...moves, ...background, maxBackfillConcurrency: 1 }, { clock });
    await waitUntil('it is half-way', async () => {
      await clock.advanceAsync(0);
      return barrier.waiting > 0;
    });
    const store = await opening;
    const { etaMs, progress } = await store.migrationStatus(1);
    expect(progress.recordsPerSecond).toBeGreaterThan(0);
    // The first chunk of a process is not timed; the second one took a second for 100 records.
    const { recordsDone, recordsEstimated } = progress;
    expect(recordsDone).toBe(200);
    expect(progress.fraction).toBeLessThan(0.9);
    expect(Math.abs((recordsEstimated ?? 0) - towns)).toBeLessThan(0.05 * towns);
    const expected = (((recordsEstimated ?? 0) - recordsDone) / 100) * 1_000;
    expect(Math.abs((etaMs ?? 0) - expected)).toBeLessThan(0.05 * expected);
    await store.pauseMigration(1);
    barrier.open();
    await waitForStatus(store, 'Paused');
    expect(await store.migrationStatus(1)).toMatchObject({ etaMs: null, progress: { recordsPerSecond: 0 } });
    await store.cancelMigration(1);
  });
});
