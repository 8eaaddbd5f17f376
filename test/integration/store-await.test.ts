import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { defineModel, float64, reference, string } from '../../src/model/index.ts';
import type { StoreOptions } from '../../src/store/options.ts';
import type { Barrier, World } from '../rig/operators.ts';
import {
  codeOf,
  createBarrier,
  createWorld,
  errorFrom,
  heldHandler,
  TownV1,
  TownV2,
  toV2,
  waitForStatus,
  waitUntil,
} from '../rig/operators.ts';
import { createVirtualClock } from '../rig/virtual-clock.ts';

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

/** Held in Contract: everything is moved, nothing is published. */
async function openHeld(options: Pick<StoreOptions, 'migrationAuditEventReporter'> = {}) {
  await world.fill(20);
  barrier.shut();
  const store = await world.open({
    ...moves,
    ...background,
    ...options,
    migrationContractHandler: heldHandler(barrier),
  });
  await waitUntil('it is held', () => barrier.waiting > 0);
  return store;
}

/** Whether a promise has settled by the time that everything that is ready has run. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const settle = () => {
    settled = true;
  };
  promise.then(settle, settle);
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  return !settled;
}

describe('awaitMigration resolves', () => {
  it('at once when there is nothing to do', async () => {
    await world.fill(1);
    const store = await world.open({ dataModelsById: { 1: TownV1 } });
    await expect(store.awaitMigration(1)).resolves.toBeUndefined();
    await expect(store.awaitMigration(1, { timeoutMs: 60_000 })).resolves.toBeUndefined();
  });

  it('after publication, in every store, when each of them can serve the model', async () => {
    const store = await openHeld();
    const other = await world.open({ ...moves, ...background });
    const served = [store, other].map(async (one) => {
      await one.awaitMigration(1);
      expect(one.readiness().ready).toBe(true);
      return one.model(TownV2).count();
    });
    expect(await isPending(Promise.race(served))).toBe(true);
    barrier.open();
    expect(await Promise.all(served)).toEqual([20, 20]);
  });

  it('not while it is paused, but after it was resumed', async () => {
    const store = await openHeld();
    await store.pauseMigration(1);
    barrier.open();
    await waitForStatus(store, 'Paused');
    const waiting = store.awaitMigration(1);
    expect(await isPending(waiting)).toBe(true);
    await store.resumeMigration(1);
    await waiting;
  });
});

it('whoever hears of the completion finds the model open', async () => {
  const found: Promise<number>[] = [];
  let store: Awaited<ReturnType<typeof openHeld>> | undefined;
  const look = () => {
    if (store !== undefined) found.push(store.model(TownV2).count());
  };
  store = await openHeld({ migrationAuditEventReporter: ({ type }) => type === 'Completed' && look() });
  const events = store.migrationEvents()[Symbol.asyncIterator]();
  const completed = (async () => {
    for (;;) {
      const { value, done } = await events.next();
      if (done === true) throw new Error('the events ended before the completion');
      if (value.type === 'audit' && value.event.type === 'Completed') return look();
    }
  })();
  barrier.open();
  await completed;
  expect(await Promise.all(found)).toEqual([20, 20]);
});

describe('awaitMigration rejects', () => {
  it('with MIGRATION_FAILED, also for those who ask late or in another process', async () => {
    await world.fill(20);
    const store = await world.open({
      dataModelsById: { 1: TownV2 },
      ...background,
      migrationHandler: async () => {
        await barrier.pass();
        return MigrationOutcome.Fatal('no way');
      },
    });
    const error = await errorFrom(store.awaitMigration(1));
    expect(error).toMatchObject({
      code: 'MIGRATION_FAILED',
      details: { modelId: 1, modelName: 'Town', lastError: { code: 'HANDLER_FAILED', message: 'no way' } },
    });
    expect(await codeOf(store.awaitMigration(1))).toBe('MIGRATION_FAILED');
    const late = await world.open({ ...moves, ...background });
    expect(await codeOf(late.awaitMigration(1))).toBe('MIGRATION_FAILED');
  });

  it('with MIGRATION_CANCELED, whoever cancels', async () => {
    const store = await openHeld();
    const early = codeOf(store.awaitMigration(1));
    const other = await world.open({ ...moves, ...background });
    await other.cancelMigration(1);
    barrier.open();
    expect(await early).toBe('MIGRATION_CANCELED');
    expect(await codeOf(store.awaitMigration(1))).toBe('MIGRATION_CANCELED');
    expect(await codeOf(other.awaitMigration(1))).toBe('MIGRATION_CANCELED');
  });

  it('with TIMEOUT after exactly its time', async () => {
    const clock = createVirtualClock();
    await world.fill(20);
    barrier.shut();
    const opening = world.open(
      { ...moves, ...background, migrationContractHandler: heldHandler(barrier) },
      { clock },
    );
    await waitUntil('it is held', async () => {
      await clock.advanceAsync(0);
      return barrier.waiting > 0;
    });
    const store = await opening;
    const waiting = codeOf(store.awaitMigration(1, { timeoutMs: 500 }));
    await clock.advanceAsync(499);
    expect(await isPending(waiting)).toBe(true);
    await clock.advanceAsync(1);
    expect(await waiting).toBe('TIMEOUT');
    barrier.open();
    await waitUntil('it is published', async () => {
      await clock.advanceAsync(1_000);
      return (await store.migrationStatus(1)).state === 'Idle';
    });
  });

  it('with ABORTED when its signal aborts, before or meanwhile', async () => {
    const store = await openHeld();
    expect(await codeOf(store.awaitMigration(1, { signal: AbortSignal.abort() }))).toBe('ABORTED');
    const controller = new AbortController();
    const waiting = codeOf(store.awaitMigration(1, { signal: controller.signal }));
    expect(await isPending(waiting)).toBe(true);
    controller.abort();
    expect(await waiting).toBe('ABORTED');
  });

  it('with STORE_CLOSED also when the store closes while it takes its last look', async () => {
    await world.fill(1);
    for (const transactions of [0, 1]) {
      const store = await world.open({ dataModelsById: { 1: TownV1 } });
      let left = transactions;
      world.beforeTransaction = () => {
        if (left === 0) void store.close();
        left -= 1;
      };
      expect(await codeOf(store.awaitMigration(1))).toBe('STORE_CLOSED');
      world.beforeTransaction = () => undefined;
    }
  });

  it('with STORE_CLOSED when the store closes, and afterwards', async () => {
    const store = await openHeld();
    const waiting = codeOf(store.awaitMigration(1));
    const closed = store.close();
    expect(await waiting).toBe('STORE_CLOSED');
    barrier.open();
    await closed;
    expect(await codeOf(store.awaitMigration(1))).toBe('STORE_CLOSED');
  });
});

describe('with DEPENDENCY_BLOCKED', () => {
  const id = string({ number: 1, required: true });
  const model = (name: string, version: '1.0' | '2.0', to?: string) =>
    defineModel({
      name,
      version,
      key: ['id'],
      properties: {
        id,
        size: version === '1.0' ? string({ number: 2 }) : float64({ number: 2 }),
        parent: reference({ number: 3, to: to ?? name }),
      },
    });
  const modelsOf = (version: '1.0' | '2.0') => ({
    1: model('Street', version, 'City'),
    2: model('City', version, 'Land'),
    3: model('Land', version),
  });

  async function openChain(land: 'fails' | 'held') {
    await (await world.open({ dataModelsById: modelsOf('1.0') })).close();
    barrier.shut();
    const unchanged = backfill({ transform: (record) => record });
    return world.open({
      dataModelsById: modelsOf('2.0'),
      ...background,
      migrationExpandHandler: {
        Land: async () => {
          if (land === 'held') await barrier.pass();
          return land === 'held' ? MigrationOutcome.Success : MigrationOutcome.Fatal('no land');
        },
      },
      migrationHandler: unchanged,
    });
  }

  it('names the path to the model that failed, to those who ask early and late', async () => {
    const store = await openChain('fails');
    for (let asked = 0; asked < 2; asked += 1) {
      const error = await errorFrom(store.awaitMigration(1));
      expect(error).toMatchObject({
        code: 'DEPENDENCY_BLOCKED',
        details: { path: ['Street', 'City', 'Land'] },
        cause: { code: 'MIGRATION_FAILED' },
      });
      expect(error.message).toContain('Street -> City -> Land');
    }
    expect(await codeOf(store.awaitMigration(2))).toBe('DEPENDENCY_BLOCKED');
    expect(await codeOf(store.awaitMigration(3))).toBe('MIGRATION_FAILED');
  });

  it('so does a cancel of the dependency; a resume of it lets all of them go on', async () => {
    const store = await openChain('held');
    const waiting = errorFrom(store.awaitMigration(1));
    expect(await store.migrationStatus(1)).toMatchObject({
      state: 'Waiting',
      reason: { code: 'dependency', message: expect.stringContaining('City') as string },
    });
    await store.cancelMigration(3);
    barrier.open();
    expect(await waiting).toMatchObject({
      code: 'DEPENDENCY_BLOCKED',
      cause: { code: 'MIGRATION_CANCELED' },
    });
    await store.resumeMigration(3);
    await Promise.all([1, 2, 3].map((modelId) => store.awaitMigration(modelId)));
    expect((await store.migrationStatuses()).map(({ state }) => state)).toEqual(['Idle', 'Idle', 'Idle']);
  });
});
