import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { MigrationAuditEvent } from '../../src/migration/audit.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationHandler } from '../../src/migration/handlers.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { inBackground } from '../rig/trap-rig.ts';
import {
  CityV1,
  CityV2,
  answers,
  cityId,
  cityOf,
  createLatch,
  createMigrationRig,
  succeed,
  thing,
  toCityV2,
  typesOf,
} from '../rig/migration.ts';

let rig: MigrationRig;
beforeEach(() => {
  rig = createMigrationRig();
});
afterEach(() => rig.close());

const { Success, Partial, Retry, Fatal } = MigrationOutcome;
const cities = Array.from({ length: 40 }, (_, n) => cityOf(n));
const moves = { City: backfill({ transform: toCityV2 }) };

async function expectPublished(): Promise<void> {
  const store = await rig.open({ 1: CityV2 });
  expect(await store.model(CityV2).count()).toBe(cities.length);
  expect(await store.model(CityV2).get(cityId(7))).toMatchObject({ latitude: -83 });
  for (const { state, expected, actual } of await rig.indexes(1, CityV2)) {
    expect(state).toBe('ready');
    expect(actual).toEqual(expected);
  }
  expect(await store.migrationMetrics(1)).toMatchObject({
    completed: 1,
    recordsMoved: cities.length,
    failed: 0,
  });
}

const phases = ['Expand', 'Backfill', 'Verify', 'Contract'] as const;
const deaths = [
  'LeaseAcquired',
  ...phases.flatMap((phase) => [`${phase} PhaseStarted`, `${phase} PhaseCompleted`]),
  'Contract Completed',
];
const nameOf = (event: MigrationAuditEvent) => typesOf([event])[0];

describe('a process that dies', () => {
  it('before it can tell that it is done leaves that to those who have waited', async () => {
    await rig.seed(CityV1, cities);
    const [begun, go, isTold] = [createLatch(), createLatch(), createLatch()];
    const held: MigrationHandler = async () => {
      begun.open();
      await go.opened;
      return Success;
    };
    const options = { migrationExpandHandler: held, migrationHandler: moves };
    const dying = rig.openUntil({ 1: CityV2 }, options, (event) => nameOf(event) === 'Contract Completed');
    await rig.settle(begun.opened);
    const store = await rig.open({ 1: CityV2 }, { migrationHandler: moves, ...inBackground });
    const following = (async () => {
      for await (const event of store.migrationEvents()) {
        if (event.type === 'status' && event.status.state === 'Idle') isTold.open();
      }
    })();
    go.open();
    await dying;
    await expect(rig.settle(isTold.opened)).resolves.toBeUndefined();
    await rig.settle(store.close());
    await following;
  });

  it.each(deaths)('right behind "%s" is succeeded by one that goes on there', async (death) => {
    await rig.seed(CityV1, cities);
    const calls: string[] = [];
    const handler =
      (phase: string): MigrationHandler =>
      () => {
        calls.push(phase);
        return Promise.resolve(Success);
      };
    const options = {
      migrationExpandHandler: handler('Expand'),
      migrationHandler: moves,
      migrationVerifyHandler: handler('Verify'),
      migrationContractHandler: handler('Contract'),
    };
    await rig.openUntil({ 1: CityV2 }, options, (event) => nameOf(event) === death);
    const before = rig.events.length;
    if (death !== 'Contract Completed') await rig.open({ 1: CityV2 }, options);
    const after = typesOf(rig.events.slice(before));
    await expectPublished();
    // Nothing that was completed is done again.
    const completed = typesOf(rig.events).filter((type) => type.endsWith('Completed'));
    expect(completed).toEqual([...phases.map((phase) => `${phase} PhaseCompleted`), 'Contract Completed']);
    if (death !== 'Contract Completed') expect(after[0]).toBe('LeaseAcquired');
    for (const phase of ['Expand', 'Verify', 'Contract']) {
      const started = death === `${phase} PhaseStarted` ? [phase, phase] : [phase];
      expect(calls.filter((call) => call === phase).length).toBeLessThanOrEqual(started.length);
    }
  });

  it('at every event in turn still leaves each record moved once', async () => {
    await rig.seed(CityV1, cities);
    const passed = new Set<string | undefined>();
    let lives = 0;
    for (; !passed.has('Contract Completed'); lives += 1) {
      expect(lives).toBeLessThan(2 * deaths.length);
      await rig.openUntil({ 1: CityV2 }, { migrationHandler: moves }, (event) => {
        const isNew = !passed.has(nameOf(event));
        passed.add(nameOf(event));
        return isNew;
      });
    }
    await expectPublished();
    const epochs = rig.events.filter(({ type }) => type === 'LeaseAcquired').map(({ epoch }) => epoch);
    expect(epochs).toEqual(Array.from({ length: lives }, (_, at) => at + 1));
  });
});

describe('what is persisted as', () => {
  it('Partial goes on at its cursor', async () => {
    await rig.open({ 1: thing('Thing', '1.0') });
    const first = answers(Partial({ nextCursor: 'a' }), Partial({ nextCursor: 'b' }));
    let partials = 0;
    await rig.openUntil({ 1: thing('Thing', '2.0') }, { migrationHandler: first }, ({ type }) => {
      partials += type === 'Partial' ? 1 : 0;
      return partials === 2;
    });
    expect(await rig.stateOf(1)).toMatchObject({ status: 'Partial', cursor: 'b', phase: 'Backfill' });
    const second = answers();
    await rig.open({ 1: thing('Thing', '2.0') }, { migrationHandler: second });
    expect(second.calls.map(({ previousState }) => previousState.cursor)).toEqual(['b']);
    expect(second.calls[0]?.attempt).toBe(1);
  });

  it('Retry is tried again, with what it counted', async () => {
    await rig.open({ 1: thing('Thing', '1.0') });
    const first = answers(Retry({ nextCursor: 'a', retryAfterMs: 10_000 }));
    await rig.openUntil(
      { 1: thing('Thing', '2.0') },
      { migrationHandler: first },
      ({ type }) => type === 'RetryScheduled',
    );
    const second = answers();
    await rig.open({ 1: thing('Thing', '2.0') }, { migrationHandler: second });
    expect(second.calls[0]?.previousState).toMatchObject({ cursor: 'a', retryCount: 1 });
  });

  it.each([
    ['Paused', 'MIGRATION_PAUSED'],
    ['Canceled', 'MIGRATION_CANCELED'],
    ['Failed', 'MIGRATION_FAILED'],
  ])('%s is not restarted by open, only by resumeMigration', async (status, code) => {
    await rig.open({ 1: thing('Thing', '1.0') });
    const models = { 1: thing('Thing', '2.0') };
    const inside = createLatch();
    const store = await rig.open(models, {
      continueMigrationsInBackground: true,
      migrationStartupBudgetMs: 0,
      migrationExpandHandler: succeed,
      migrationHandler: async ({ signal }) => {
        inside.open();
        if (status === 'Failed') return Fatal('broken');
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        return Partial();
      },
    });
    await rig.settle(inside.opened);
    const halted = createLatch();
    void (async () => {
      for await (const event of store.migrationEvents()) {
        if (event.type === 'status' && event.status.state === status) return halted.open();
      }
    })();
    if (status === 'Paused') await store.pauseMigration(1);
    if (status === 'Canceled') await store.cancelMigration(1);
    await rig.settle(halted.opened);
    await rig.settle(store.close());
    expect(await rig.stateOf(1)).toMatchObject({ status, phase: 'Backfill' });

    const handler = answers();
    const options = { migrationExpandHandler: answers(), migrationHandler: handler };
    await expect(rig.open(models, options)).rejects.toMatchObject({ code });
    expect(handler.calls).toHaveLength(0);

    const next = await rig.open(models, { ...options, continueMigrationsInBackground: true });
    expect(await next.migrationStatus(1)).toMatchObject({ state: status, owner: null });
    expect(handler.calls).toHaveLength(0);
    await next.resumeMigration(1);
    await rig.settle(next.awaitMigration(1));
    expect(handler.calls).toHaveLength(1);
    expect(options.migrationExpandHandler.calls).toHaveLength(0);
  });
});

describe('a store that waited for another one', () => {
  it('finds nothing to do, calls no handler, and serves', async () => {
    await rig.seed(CityV1, cities);
    const goOn = createLatch();
    const inside = createLatch();
    const first = await rig.open(
      { 1: CityV2 },
      {
        continueMigrationsInBackground: true,
        migrationStartupBudgetMs: 0,
        migrationHandler: moves,
        migrationContractHandler: async () => {
          inside.open();
          await goOn.opened;
          return Success;
        },
      },
    );
    await rig.settle(inside.opened);
    const handler = answers();
    const second = await rig.open(
      { 1: CityV2 },
      {
        continueMigrationsInBackground: true,
        migrationStartupBudgetMs: 1_000,
        migrationExpandHandler: handler,
        migrationHandler: moves,
        nodeId: 'second',
      },
    );
    await expect(second.model(CityV2).count()).rejects.toMatchObject({ code: 'MODEL_MIGRATING' });
    goOn.open();
    await rig.settle(Promise.all([first.awaitMigration(1), second.awaitMigration(1)]));
    expect(handler.calls).toHaveLength(0);
    expect(await second.model(CityV2).count()).toBe(cities.length);
    expect(await second.migrationStatus(1)).toMatchObject({ state: 'Idle', lastError: null });
    expect(rig.events.filter(({ type }) => type === 'LeaseAcquired')).toHaveLength(1);
    expect(rig.events.filter(({ type }) => type === 'Completed')).toHaveLength(1);
  });

  it('takes over under the next epoch when the first one closes', async () => {
    await rig.open({ 1: thing('Thing', '1.0') });
    const models = { 1: thing('Thing', '2.0') };
    const inside = createLatch();
    const first = await rig.open(models, {
      continueMigrationsInBackground: true,
      migrationStartupBudgetMs: 0,
      migrationHandler: async ({ signal }) => {
        inside.open();
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        return Partial();
      },
    });
    await rig.settle(inside.opened);
    const handler = answers();
    const opening = rig.open(models, { migrationHandler: handler, nodeId: 'second' });
    await rig.settle(first.close());
    await opening;
    expect(handler.calls).toHaveLength(1);
    const acquired = rig.events.filter(({ type }) => type === 'LeaseAcquired');
    expect(acquired.map(({ nodeId, epoch }) => [nodeId, epoch])).toEqual([
      ['node', 1],
      ['second', 2],
    ]);
  });
});
