import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { AnyActorRef, InspectionEvent } from 'xstate';
import { KeyValueError } from '../../src/kv/kv.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationContext } from '../../src/migration/context.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { systemClock } from '../../src/ports/clock.ts';
import { systemRandom } from '../../src/ports/random.ts';
import type { StoreOptions } from '../../src/store/options.ts';
import { createLog } from '../rig/log.ts';
import type { World } from '../rig/operators.ts';
import {
  codeOf,
  createBarrier,
  createWorld,
  expectIndexesToBeRight,
  latitudeOf,
  RegionV1,
  RegionV2,
  regionToV2,
  townId,
  townsOf,
  TownV1,
  TownV2,
  toV2,
  waitForStatus,
  waitUntil,
} from '../rig/operators.ts';

const towns = 350;
const background = { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true } as const;
const moves = { migrationHandler: backfill({ transform: toV2 }) } as const;

let world: World;
beforeEach(() => {
  world = createWorld();
});
afterEach(() => world.close());

/** What is told of crashes: the lines of the log and the metric. */
function createTelling() {
  const registry = new Registry();
  const log = createLog();
  return {
    options: { registry, logger: log.logger, storeName: 'geo' } satisfies Partial<StoreOptions>,
    lines: () => log.lines('error').filter(({ crashes }) => crashes !== undefined),
    async restarts(model = 'Town') {
      const metric = await registry.getSingleMetric('godwit_migration_actor_restarts_total')?.get();
      return metric?.values.find(({ labels }) => labels['model'] === model)?.value ?? 0;
    },
  };
}

const idOf = ({ actorRef }: InspectionEvent) => (actorRef as AnyActorRef).id;

/** Throws out of the machine of a migration as it comes to a state, so often. */
function crashingIn(state: string, times = 1, modelId = 1) {
  let left = times;
  return (event: InspectionEvent) => {
    if (left === 0 || event.type !== '@xstate.microstep' || idOf(event) !== `migration.${modelId}`) return;
    if (!('value' in event.snapshot) || event.snapshot.value !== state) return;
    left -= 1;
    throw new Error(`a bug in ${state}`);
  };
}

/** Throws out of the machine of a migration as soon as the work of a state is under way. */
function crashingBeside(state: string) {
  let isDone = false;
  return (event: InspectionEvent) => {
    if (isDone || event.type !== '@xstate.snapshot' || event.event.type !== 'xstate.init') return;
    if (!idOf(event).endsWith(`migration.${state}`)) return;
    isDone = true;
    throw new Error(`a bug beside ${state}`);
  };
}

async function expectToBeMovedOnce(store: Awaited<ReturnType<World['open']>>) {
  const found = await townsOf(store.model(TownV2).scan());
  expect(found).toEqual(
    Array.from({ length: towns }, (_, n) => ({ id: townId(n), latitude: latitudeOf(n) })),
  );
  expect(await store.migrationMetrics(1)).toMatchObject({ started: 1, completed: 1, recordsMoved: towns });
  await expectIndexesToBeRight(world);
}

describe('a migration whose machine crashes', () => {
  it.each(['acquiringLease', 'expand', 'backfill', 'verify', 'contract', 'publishing', 'done'])(
    'once, as it comes to %s, goes on, and each record is moved once',
    async (state) => {
      await world.fill(towns);
      const telling = createTelling();
      const store = await world.open(
        { dataModelsById: { 1: TownV2 }, ...moves, ...telling.options },
        { inspect: crashingIn(state) },
      );
      await expectToBeMovedOnce(store);
      expect(telling.lines()).toMatchObject([
        { model: 'Town', crashes: 1, err: { message: `a bug in ${state}` } },
      ]);
      expect(telling.lines()[0]?.['restartInMs']).toBeGreaterThanOrEqual(125);
      expect(telling.lines()[0]?.['restartInMs']).toBeLessThanOrEqual(250);
      expect(await telling.restarts()).toBe(1);
    },
  );

  it('because what recovers it throws goes on, too', async () => {
    await world.fill(towns);
    const telling = createTelling();
    let failures = 0;
    let hasThrown = false;
    world.beforeTransaction = () => {
      const isOwned = world.audit.some(({ type, nodeId }) => type === 'LeaseAcquired' && nodeId === 'one');
      // The start of the first phase is one of them; the other reads the status.
      if (!isOwned || failures === 2) return;
      failures += 1;
      throw new KeyValueError(1031);
    };
    const random = {
      ...systemRandom,
      fraction: () => {
        if (failures === 0 || hasThrown) return systemRandom.fraction();
        hasThrown = true;
        throw new Error('no chance');
      },
    };
    const store = await world.open(
      { dataModelsById: { 1: TownV2 }, ...moves, ...telling.options, nodeId: 'one' },
      { random },
    );
    await expectToBeMovedOnce(store);
    expect(telling.lines()).toMatchObject([{ crashes: 1, err: { message: 'no chance' } }]);
    expect(await telling.restarts()).toBe(1);
  });

  it('disturbs no other model', async () => {
    const before = await world.open({ dataModelsById: { 1: TownV1, 2: RegionV1 } });
    await before.model(TownV1).add({ id: townId(0), lat: '1' });
    await before.model(RegionV1).add({ id: 'r', size: '5' });
    await before.close();
    const telling = createTelling();
    const migrationHandler = {
      Town: backfill({ transform: toV2 }),
      Region: backfill({ transform: regionToV2 }),
    };
    const store = await world.open(
      {
        dataModelsById: { 1: TownV2, 2: RegionV2 },
        migrationHandler,
        ...background,
        ...telling.options,
      },
      { inspect: crashingIn('backfill', Number.POSITIVE_INFINITY) },
    );
    await store.awaitMigration(2);
    expect(await store.model(RegionV2).get('r')).toEqual({ id: 'r', size: 5 });
    await waitUntil('it crashed twice in a row', () => telling.lines().length >= 2);
    expect(telling.lines().map(({ model }) => model)).not.toContain('Region');
    expect(telling.lines().map(({ crashes }) => crashes)).toEqual(telling.lines().map((_, at) => at + 1));
    await waitUntil('it waits to be started again', async () => {
      const { state, reason, owner } = await store.migrationStatus(1);
      return state === 'Waiting' && reason?.code === 'retryBackoff' && owner === null;
    });
    await store.close();
    expect(await telling.restarts('Region')).toBe(0);
  });

  it('for ever spends the startup budget like one that takes too long, and leaves no lease', async () => {
    await world.fill(towns);
    const telling = createTelling();
    const opening = world.open(
      { dataModelsById: { 1: TownV2 }, ...moves, ...telling.options, migrationStartupBudgetMs: 300 },
      { inspect: crashingIn('backfill', Number.POSITIVE_INFINITY) },
    );
    expect(await codeOf(opening)).toBe('MIGRATION_PENDING');
    expect(telling.lines().length).toBeGreaterThan(0);
    const store = await world.open({ dataModelsById: { 1: TownV2 }, ...moves });
    await expectToBeMovedOnce(store);
    expect((await store.migrationMetrics(1)).takeovers).toBe(0);
  });

  it('gives its lease to another process while it waits to be started again', async () => {
    await world.fill(towns);
    const telling = createTelling();
    await world.open(
      { dataModelsById: { 1: TownV2 }, ...moves, ...background, ...telling.options },
      { inspect: crashingIn('backfill', Number.POSITIVE_INFINITY) },
    );
    const other = await world.open({ dataModelsById: { 1: TownV2 }, ...moves });
    await expectToBeMovedOnce(other);
    expect((await other.migrationMetrics(1)).takeovers).toBe(0);
  });

  it('keeps the process alive while it waits to be started again, and not longer', async () => {
    await world.fill(towns);
    const telling = createTelling();
    const kept = new Set<unknown>();
    const clock: Clock = {
      ...systemClock,
      setTimeout(callback, delayMs, options) {
        const timer = systemClock.setTimeout(callback, delayMs, options);
        if (delayMs > 86_400_000 && options?.ref === true) kept.add(timer);
        return timer;
      },
      clearTimeout(timer) {
        kept.delete(timer);
        systemClock.clearTimeout(timer);
      },
    };
    const crash = crashingIn('backfill');
    const atRestart: number[] = [];
    await world.open(
      { dataModelsById: { 1: TownV2 }, ...moves, ...telling.options },
      {
        clock,
        inspect(event) {
          if (event.type === '@xstate.event' && event.event.type === 'restart') atRestart.push(kept.size);
          crash(event);
        },
      },
    );
    expect(atRestart).toEqual([1]);
    expect(kept.size).toBe(0);
  });

  it('while it is paused obeys its operator all the same', async () => {
    await world.fill(towns);
    const barrier = createBarrier();
    barrier.shut();
    world.beforeChunk = (chunk) => (chunk === 0 ? undefined : barrier.pass());
    const telling = createTelling();
    const store = await world.open(
      { dataModelsById: { 1: TownV2 }, ...moves, ...background, ...telling.options },
      { inspect: crashingIn('paused') },
    );
    await waitUntil('a chunk is under way', () => barrier.waiting > 0);
    await store.pauseMigration(1);
    barrier.open();
    await waitForStatus(store, 'Paused');
    await waitUntil('it was started again', async () => (await telling.restarts()) === 1);
    expect((await store.migrationStatus(1)).state).toBe('Paused');
    await store.resumeMigration(1);
    await store.awaitMigration(1);
    await expectToBeMovedOnce(store);
  });
});

describe('what a crashed machine was doing', () => {
  /** A migration that crashes while its first Expand handler is under way. */
  async function crashBesideHandler(
    handler: (context: MigrationContext, call: number) => Promise<void>,
    { isShort = false } = {},
  ) {
    await world.fill(towns);
    const telling = createTelling();
    const times = { isShort };
    const calls: MigrationContext[] = [];
    const seen: string[] = [];
    const crash = crashingBeside('expand');
    const store = await world.open(
      {
        dataModelsById: { 1: TownV2 },
        ...moves,
        ...background,
        ...telling.options,
        migrationExpandHandler: async (context: MigrationContext) => {
          calls.push(context);
          await handler(context, calls.length);
          return MigrationOutcome.Success;
        },
      },
      {
        inspect(event) {
          if (event.type === '@xstate.event') seen.push(event.event.type);
          crash(event);
        },
        clock: {
          ...systemClock,
          setTimeout: (callback, delayMs, options) =>
            systemClock.setTimeout(callback, times.isShort && delayMs === 10_000 ? 0 : delayMs, options),
        },
      },
    );
    return { store, telling, times, calls, seen };
  }

  it('is told to stop, and has ended before the next one begins', async () => {
    const barrier = createBarrier();
    barrier.shut();
    let running = 0;
    let most = 0;
    const { store, calls, telling, seen } = await crashBesideHandler(async (context, call) => {
      running += 1;
      most = Math.max(most, running);
      if (call === 1) await barrier.pass();
      running -= 1;
      context.signal.throwIfAborted();
    });
    await waitUntil('it is told to stop', () => calls[0]?.signal.aborted === true);
    expect(await store.explainLease(1)).toMatchObject({ epoch: 1, held: true });
    expect(seen).toContain('xstate.error.actor.migration.1');
    expect(seen).not.toContain('xstate.done.actor.retirement.1');
    barrier.open();
    await store.awaitMigration(1);
    expect(await telling.restarts()).toBe(1);
    expect(most).toBe(1);
    expect(calls.map(({ attempt }) => attempt)).toEqual([1, 1]);
    expect((await store.explainLease(1))?.epoch).toBe(2);
    await expectToBeMovedOnce(store);
    expect((await store.migrationMetrics(1)).takeovers).toBe(0);
  });

  it('commits nothing any more when it does not end in time, and the next one is not disturbed', async () => {
    const barrier = createBarrier();
    barrier.shut();
    const end = createBarrier();
    end.shut();
    let written: Promise<string> | undefined;
    const { store, calls, times } = await crashBesideHandler(
      async (context, call) => {
        if (call === 1) {
          await barrier.pass();
          written = codeOf(
            (async () => context.transact((tx) => Promise.resolve(tx.advance('one', { records: 1 }))))(),
          );
          await written;
        } else {
          times.isShort = false;
          barrier.open();
          await end.pass();
        }
      },
      { isShort: true },
    );
    await waitUntil('the next one is in its handler', () => calls.length === 2 && end.waiting > 0);
    await waitUntil('the first one wrote', () => written !== undefined);
    expect(['CONTEXT_EXPIRED', 'LEASE_LOST']).toContain(await written);
    expect(calls[1]?.signal.aborted).toBe(false);
    expect(await store.explainLease(1)).toMatchObject({ epoch: 2, held: true });
    end.open();
    await store.awaitMigration(1);
    expect(calls).toHaveLength(2);
    await expectToBeMovedOnce(store);
  });

  it('is waited for by close', async () => {
    const barrier = createBarrier();
    barrier.shut();
    let hasEnded = false;
    const { store, calls } = await crashBesideHandler(async () => {
      await barrier.pass();
      hasEnded = true;
    });
    await waitUntil('it is told to stop', () => calls[0]?.signal.aborted === true);
    const closing = store.close();
    barrier.open();
    await closing;
    expect(hasEnded).toBe(true);
    const next = await world.open({ dataModelsById: { 1: TownV2 }, ...moves });
    expect((await next.migrationMetrics(1)).takeovers).toBe(0);
    await expectToBeMovedOnce(next);
  });
});
