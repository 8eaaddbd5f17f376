import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { MigrationHandler } from '../../src/migration/handlers.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { answers, createLatch, createMigrationRig, succeed, thing, typesOf } from '../rig/migration.ts';

let rig: MigrationRig;
beforeEach(async () => {
  rig = createMigrationRig();
  await rig.open({ 1: thing('A', '1.0'), 2: thing('B', '1.0', ['A']), 3: thing('C', '1.0', ['B']) });
});
afterEach(() => rig.close());

const { Success } = MigrationOutcome;
const A = thing('A', '2.0');
const B = thing('B', '2.0', ['A']);
const C = thing('C', '2.0', ['B']);
const models = { 1: A, 2: B, 3: C };
const background = { continueMigrationsInBackground: true } as const;

/** A handler that waits for its latch before it succeeds. */
function held(): { readonly handler: MigrationHandler; readonly goOn: () => void } {
  const latch = createLatch();
  return {
    handler: async ({ signal }) => {
      const stopped = new Promise((resolve) => signal.addEventListener('abort', resolve));
      await Promise.race([latch.opened, stopped]);
      if (signal.aborted) throw new Error('told to stop');
      return Success;
    },
    goOn: () => latch.open(),
  };
}

describe('without a startup budget', () => {
  it('open returns when every model is published', async () => {
    const store = await rig.open(models, { migrationExpandHandler: succeed });
    expect((await store.migrationStatuses()).map(({ state }) => state)).toEqual(['Idle', 'Idle', 'Idle']);
    expect(store.readiness().ready).toBe(true);
  });

  it('open waits for all of them although it might go on in the background', async () => {
    const slow = answers(MigrationOutcome.Retry({ retryAfterMs: 3_600_000 }));
    const store = await rig.open(models, {
      migrationExpandHandler: { B: slow, A: succeed, C: succeed },
      ...background,
    });
    expect((await store.migrationStatuses()).map(({ state }) => state)).toEqual(['Idle', 'Idle', 'Idle']);
    expect(slow.calls).toHaveLength(2);
  });
});

describe.each([0, 1_000])('a startup budget of %i ms', (migrationStartupBudgetMs) => {
  it('that is spent fails open without the background, with all models that are left', async () => {
    const { handler } = held();
    const opening = rig.open(models, { migrationExpandHandler: handler, migrationStartupBudgetMs });
    await expect(opening).rejects.toMatchObject({
      code: 'MIGRATION_PENDING',
      retryable: true,
      details: {
        models: [
          { modelId: 1, modelName: 'A', phase: 'Expand' },
          { modelId: 2, modelName: 'B' },
          { modelId: 3, modelName: 'C' },
        ],
      },
    });
    await expect(opening).rejects.toThrow(/A \(.*B \(.*C \(/);
  });

  it('that is spent loses nothing: the lease is free and the next open goes on', async () => {
    const expand = answers();
    const { handler } = held();
    const options = { migrationExpandHandler: { A: expand, B: succeed, C: succeed } };
    const opening = rig.open(models, {
      ...options,
      migrationHandler: { A: handler },
      migrationStartupBudgetMs: 1_000,
    });
    await expect(opening).rejects.toMatchObject({ code: 'MIGRATION_PENDING' });
    expect(await rig.stateOf(1)).toMatchObject({ phase: 'Backfill', status: 'Running', attempt: 0 });
    const startedAtMs = rig.clock.monotonicMs();
    const store = await rig.open(models, options);
    expect(rig.clock.monotonicMs() - startedAtMs).toBeLessThan(1_000);
    expect((await store.migrationStatuses()).every(({ state }) => state === 'Idle')).toBe(true);
    expect(expand.calls).toHaveLength(1);
  });

  it('that is spent hands over to the background, in dependency order, with requests refused meanwhile', async () => {
    const { handler, goOn } = held();
    // Behind the commit that whoever awaits the migration sees.
    const reported = createLatch();
    const store = await rig.open(models, {
      ...background,
      migrationStartupBudgetMs,
      migrationExpandHandler: { A: handler, B: succeed, C: succeed },
      migrationAuditEventReporter({ type, modelName }) {
        if (type === 'Completed' && modelName === 'C') reported.open();
      },
    });
    expect(store.readiness()).toMatchObject({
      ready: false,
      models: {
        A: { ready: false, reason: 'MODEL_MIGRATING' },
        B: { ready: false, reason: 'MODEL_MIGRATING' },
        C: { ready: false, reason: 'MODEL_MIGRATING' },
      },
    });
    for (const model of [A, B, C]) {
      const refused = store.model(model).get('x');
      await expect(refused).rejects.toMatchObject({ code: 'MODEL_MIGRATING', retryable: true });
      const { details } = (await refused.catch((error: unknown) => error)) as {
        details: Record<string, number>;
      };
      expect(details['retryAfterMs']).toBeGreaterThanOrEqual(100);
      expect(details['retryAfterMs']).toBeLessThanOrEqual(30_000);
    }
    expect([...(await store.pendingMigrations()).keys()]).toEqual([1, 2, 3]);
    goOn();
    await rig.settle(Promise.all([store.awaitMigration(3), reported.opened]));
    expect(typesOf(rig.events).filter((type) => type === 'Contract Completed')).toHaveLength(3);
    const order = rig.events.filter(({ type }) => type === 'LeaseAcquired' || type === 'Completed');
    expect(order.map(({ modelName, type }) => `${modelName} ${type}`)).toEqual([
      'A LeaseAcquired',
      'A Completed',
      'B LeaseAcquired',
      'B Completed',
      'C LeaseAcquired',
      'C Completed',
    ]);
    expect(store.readiness().ready).toBe(true);
    expect(await store.model(C).get('x')).toBeUndefined();
  });

  it('is not asked for when nothing has to be migrated', async () => {
    const store = await rig.open(
      { 1: thing('A', '1.0'), 2: thing('B', '1.0', ['A']) },
      { migrationStartupBudgetMs },
    );
    expect(store.readiness().ready).toBe(true);
  });
});

describe('a startup budget', () => {
  it('of 0 hands over before the handler has answered', async () => {
    const { handler, goOn } = held();
    const startedAtMs = rig.clock.monotonicMs();
    const store = await rig.open(models, {
      ...background,
      migrationStartupBudgetMs: 0,
      migrationExpandHandler: handler,
    });
    expect(rig.clock.monotonicMs()).toBe(startedAtMs);
    goOn();
    await rig.settle(store.whenReady());
  });

  it('is spent by the backoff of a retry', async () => {
    const opening = rig.open(models, {
      migrationExpandHandler: answers(MigrationOutcome.Retry({ retryAfterMs: 60_000 })),
      migrationStartupBudgetMs: 5_000,
    });
    await expect(opening).rejects.toMatchObject({ code: 'MIGRATION_PENDING' });
    expect(rig.clock.monotonicMs()).toBeLessThan(10_000);
    expect(await rig.stateOf(1)).toMatchObject({ status: 'Retry' });
  });

  it('is spent by waiting for the lease of another node', async () => {
    const { handler, goOn } = held();
    const first = await rig.open(models, {
      ...background,
      migrationStartupBudgetMs: 0,
      migrationExpandHandler: handler,
    });
    const opening = rig.open(models, { migrationExpandHandler: succeed, migrationStartupBudgetMs: 5_000 });
    await expect(opening).rejects.toMatchObject({ code: 'MIGRATION_PENDING' });
    goOn();
    await rig.settle(first.whenReady());
  });

  it('that is enough changes nothing', async () => {
    const store = await rig.open(models, {
      migrationExpandHandler: answers(MigrationOutcome.Retry({ retryAfterMs: 60_000 })),
      migrationStartupBudgetMs: 100_000,
    });
    expect(store.readiness().ready).toBe(true);
  });

  it('tells of those that are left alone', async () => {
    const { handler } = held();
    const opening = rig.open(models, {
      migrationExpandHandler: { A: succeed, B: handler, C: succeed },
      migrationStartupBudgetMs: 5_000,
    });
    await expect(opening).rejects.toMatchObject({
      details: { models: [{ modelName: 'B' }, { modelName: 'C' }] },
    });
  });
});

describe('in the background', () => {
  it('what waits for a completion may use the model at once', async () => {
    const { handler, goOn } = held();
    const used = createLatch<unknown>();
    const store = await rig.open(models, {
      ...background,
      migrationStartupBudgetMs: 0,
      migrationExpandHandler: { A: handler, B: succeed, C: succeed },
      migrationAuditEventReporter({ type, modelName }) {
        if (type === 'Completed' && modelName === 'A') {
          void store
            .model(A)
            .add({ id: 'first' })
            .then(() => used.open('added'), used.open);
        }
      },
    });
    goOn();
    expect(await rig.settle(used.opened)).toBe('added');
  });

  it('a halted model is gated, and goes on when it is resumed', async () => {
    const handler = answers(MigrationOutcome.Fatal('not yet'));
    const store = await rig.open(
      { 1: A, 2: B, 3: C },
      { ...background, migrationExpandHandler: { A: succeed, B: handler, C: succeed } },
    );
    expect((await store.migrationStatuses()).map(({ state }) => state)).toEqual([
      'Idle',
      'Failed',
      'Waiting',
    ]);
    await expect(store.model(B).get('x')).rejects.toMatchObject({ code: 'MODEL_MIGRATING' });
    await store.resumeMigration(2);
    await rig.settle(store.whenReady());
    expect((await store.migrationStatuses()).map(({ state }) => state)).toEqual(['Idle', 'Idle', 'Idle']);
  });
});
