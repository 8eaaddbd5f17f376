import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { MigrationContext } from '../../src/migration/context.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import type { MigrationRig } from '../rig/migration.ts';
import {
  answers,
  createLatch,
  createMigrationRig,
  retryableError,
  succeed,
  thing,
  typesOf,
} from '../rig/migration.ts';

let rig: MigrationRig;
beforeEach(async () => {
  rig = createMigrationRig();
  await rig.open({ 1: thing('Thing', '1.0') });
});
afterEach(() => rig.close());

const models = { 1: thing('Thing', '2.0') };
const { Partial, Retry } = MigrationOutcome;
const times = <T>(count: number, value: T) => Array.from({ length: count }, () => value);
const soon = Retry({ retryAfterMs: 1 });
const exhausted = { code: 'MIGRATION_FAILED', details: { lastError: { code: 'RETRIES_EXHAUSTED' } } };

describe('maxRetryOutcomes', () => {
  it.each([0, 1, 2, 5])('grants exactly %i retries', async (granted) => {
    const enough = answers(...times(granted, soon));
    await rig.open(models, { migrationHandler: enough, migrationRetryPolicy: { maxRetryOutcomes: granted } });
    expect(enough.calls).toHaveLength(granted + 1);
  });

  it.each([0, 1, 2, 5])('of %i fails the migration at the retry one above', async (granted) => {
    const handler = answers(...times(granted + 1, soon));
    const opening = rig.open(models, {
      migrationExpandHandler: succeed,
      migrationHandler: handler,
      migrationRetryPolicy: { maxRetryOutcomes: granted },
    });
    await expect(opening).rejects.toMatchObject(exhausted);
    expect(handler.calls).toHaveLength(granted + 1);
    expect(rig.events.filter(({ type }) => type === 'RetryScheduled')).toHaveLength(granted);
    expect(await rig.stateOf(1)).toMatchObject({ status: 'Failed', retryCount: granted });
  });

  it('counts retryable errors among them', async () => {
    const handler = answers(soon, retryableError('busy'), soon);
    const opening = rig.open(models, {
      migrationHandler: handler,
      migrationRetryPolicy: { maxRetryOutcomes: 2 },
    });
    await expect(opening).rejects.toMatchObject(exhausted);
    expect(handler.calls).toHaveLength(3);
  });

  it.each([
    ['a Partial that moved', Partial({ nextCursor: 'b' })],
    ['a Retry that moved', Retry({ nextCursor: 'b', retryAfterMs: 1 })],
    [
      'an advance',
      async (context: MigrationContext) => {
        await context.transact((tx) => Promise.resolve(tx.advance('b')));
        return soon;
      },
    ],
  ])('counts anew after %s', async (what, progress) => {
    // What moved and asks for a retry is itself the first of the next ones.
    const after = what.includes('Partial') ? 2 : 1;
    const handler = answers(soon, soon, progress, ...times(after, soon));
    await rig.open(models, { migrationHandler: handler, migrationRetryPolicy: { maxRetryOutcomes: 2 } });
    expect(handler.calls).toHaveLength(4 + after);
  });

  it('counts each phase by itself', async () => {
    await rig.open(models, {
      migrationExpandHandler: answers(soon),
      migrationHandler: answers(soon),
      migrationVerifyHandler: answers(soon),
      migrationContractHandler: answers(soon),
      migrationRetryPolicy: { maxRetryOutcomes: 1 },
    });
    expect(rig.events.filter(({ type }) => type === 'RetryScheduled')).toHaveLength(4);
  });

  it('goes on counting after a restart', async () => {
    const policy = { migrationRetryPolicy: { maxRetryOutcomes: 3 } };
    const first = answers(...times(9, soon));
    let retries = 0;
    await rig.openUntil(models, { ...policy, migrationHandler: first }, ({ type }) => {
      if (type === 'RetryScheduled') retries += 1;
      return retries === 2;
    });
    const second = answers(...times(9, soon));
    await expect(rig.open(models, { ...policy, migrationHandler: second })).rejects.toMatchObject(exhausted);
    expect(first.calls).toHaveLength(2);
    expect(second.calls).toHaveLength(2);
  });

  it('counts from zero once an operator resumes', async () => {
    const handler = answers(soon, soon, soon, soon);
    const store = await rig.open(models, {
      // Without it a failure would open the model again, and everything would begin anew.
      migrationExpandHandler: succeed,
      migrationHandler: handler,
      migrationRetryPolicy: { maxRetryOutcomes: 1 },
      continueMigrationsInBackground: true,
    });
    expect(handler.calls).toHaveLength(2);
    await store.resumeMigration(1);
    await expect(rig.settle(store.awaitMigration(1))).rejects.toMatchObject({ code: 'MIGRATION_FAILED' });
    expect(handler.calls).toHaveLength(4);
  });
});

describe('maxAttempts', () => {
  it.each([1, 2, 5])('grants exactly %i starts in a row without progress', async (granted) => {
    const enough = answers(...times(granted - 1, Partial()));
    await rig.open(models, { migrationHandler: enough, migrationRetryPolicy: { maxAttempts: granted } });
    expect(enough.calls).toHaveLength(granted);
    expect(enough.calls.map(({ attempt }) => attempt)).toEqual(times(granted, 0).map((_, at) => at + 1));
  });

  it.each([1, 2, 5])(
    'of %i fails the migration in place of the next one: a Partial cannot spin',
    async (granted) => {
      const handler = answers(...times(20, Partial({ nextCursor: 'the same' })));
      const opening = rig.open(models, {
        migrationExpandHandler: succeed,
        migrationHandler: handler,
        migrationRetryPolicy: { maxAttempts: granted },
      });
      await expect(opening).rejects.toMatchObject(exhausted);
      // The first of them moved the cursor.
      expect(handler.calls).toHaveLength(granted + 1);
    },
  );

  it('does not count starts that made progress, however many', async () => {
    const handler = answers(...times(30, 0).map((_, at) => Partial({ nextCursor: `at ${at}` })));
    await rig.open(models, { migrationHandler: handler, migrationRetryPolicy: { maxAttempts: 1 } });
    expect(handler.calls).toHaveLength(31);
    expect(handler.calls.every(({ attempt }) => attempt === 1)).toBe(true);
  });

  it('counts starts that ended in a retry, too', async () => {
    const handler = answers(...times(5, soon));
    const opening = rig.open(models, {
      migrationHandler: handler,
      migrationRetryPolicy: { maxAttempts: 3, maxRetryOutcomes: 100 },
    });
    await expect(opening).rejects.toMatchObject(exhausted);
    expect(handler.calls).toHaveLength(3);
  });

  it('counts a crash, over restarts', async () => {
    const policy = { migrationRetryPolicy: { maxAttempts: 2 } };
    for (const attempt of [1, 2]) {
      const called = createLatch<number>();
      // The process dies while its handler runs.
      await rig.openUntil(
        models,
        {
          ...policy,
          migrationExpandHandler: succeed,
          migrationHandler: (context) => {
            called.open(context.attempt);
            return new Promise(() => undefined);
          },
        },
        ({ type, phase }) => type === 'PhaseStarted' && phase === 'Backfill',
      );
      expect(await rig.stateOf(1)).toMatchObject({ phase: 'Backfill', attempt });
    }
    const third = answers();
    await expect(
      rig.open(models, { ...policy, migrationExpandHandler: succeed, migrationHandler: third }),
    ).rejects.toMatchObject(exhausted);
    expect(third.calls).toHaveLength(0);
  });

  it('takes a start back that was ended by closing the store', async () => {
    for (let round = 0; round < 3; round += 1) {
      const called = createLatch<MigrationContext>();
      const store = await rig.open(models, {
        migrationRetryPolicy: { maxAttempts: 1 },
        migrationStartupBudgetMs: 0,
        continueMigrationsInBackground: true,
        migrationExpandHandler: succeed,
        migrationHandler: async (context) => {
          called.open(context);
          await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
          throw new Error('told to stop');
        },
      });
      expect((await rig.settle(called.opened)).attempt).toBe(1);
      await rig.settle(store.close());
      expect(await rig.stateOf(1)).toMatchObject({ phase: 'Backfill', status: 'Running', attempt: 0 });
    }
    expect(typesOf(rig.events).filter((type) => type === 'Backfill Failed')).toEqual([]);
  });

  it('takes a start back that a lost lease ended', async () => {
    const called = createLatch();
    const handler = answers(async ({ signal }) => {
      called.open();
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      return MigrationOutcome.Success;
    });
    const store = await rig.open(models, {
      migrationRetryPolicy: { maxAttempts: 1 },
      migrationStartupBudgetMs: 0,
      continueMigrationsInBackground: true,
      migrationExpandHandler: succeed,
      migrationHandler: handler,
    });
    await rig.settle(called.opened);
    await rig.settle(store.releaseLease(1));
    await rig.settle(store.awaitMigration(1));
    expect(handler.calls.map(({ attempt }) => attempt)).toEqual([1, 1]);
  });
});

describe('a retry that is waited for', () => {
  it('is waited out by the next process, for what is left of the delay', async () => {
    const handler = answers(Retry({ retryAfterMs: 60_000 }));
    await rig.openUntil(models, { migrationHandler: handler }, ({ type }) => type === 'RetryScheduled');
    const state = await rig.stateOf(1);
    expect(state).toMatchObject({ status: 'Retry', retryAtMs: rig.clock.wallMs() + 60_000 });
    await rig.clock.advanceAsync(20_000);
    const next = answers();
    const startedAtMs = rig.clock.wallMs();
    await rig.open(models, { migrationHandler: next });
    expect(next.calls).toHaveLength(1);
    expect(rig.clock.wallMs() - startedAtMs).toBeGreaterThanOrEqual(40_000);
    expect(rig.clock.wallMs() - startedAtMs).toBeLessThan(50_000);
  });

  it('begins at once where its time passed while no process ran', async () => {
    const handler = answers(Retry({ retryAfterMs: 60_000 }));
    await rig.openUntil(models, { migrationHandler: handler }, ({ type }) => type === 'RetryScheduled');
    await rig.clock.advanceAsync(61_000);
    const startedAtMs = rig.clock.wallMs();
    await rig.open(models, { migrationHandler: answers() });
    expect(rig.clock.wallMs() - startedAtMs).toBeLessThan(1_000);
  });

  it('keeps its lease meanwhile: nobody else begins', async () => {
    const handler = answers(Retry({ retryAfterMs: 60_000 }));
    const options = { migrationStartupBudgetMs: 1_000, continueMigrationsInBackground: true };
    const first = await rig.open(models, { ...options, migrationHandler: handler });
    const other = answers();
    const second = await rig.open(models, { ...options, migrationHandler: other, nodeId: 'other' });
    expect((await second.migrationStatus(1)).owner).toMatchObject({ nodeId: 'node', epoch: 1 });
    await rig.settle(Promise.all([first.awaitMigration(1), second.awaitMigration(1)]));
    expect(handler.calls).toHaveLength(2);
    expect(other.calls).toHaveLength(0);
    expect(typesOf(rig.events)).toContain('LeaseRejected');
  });

  it('ends when the store closes, and loses nothing', async () => {
    const handler = answers(Retry({ retryAfterMs: 60_000, nextCursor: 'a' }));
    const store = await rig.open(models, {
      migrationHandler: handler,
      migrationStartupBudgetMs: 1_000,
      continueMigrationsInBackground: true,
    });
    const atMs = rig.clock.wallMs();
    await rig.settle(store.close());
    expect(rig.clock.wallMs() - atMs).toBeLessThan(5_000);
    expect(await rig.stateOf(1)).toMatchObject({ status: 'Retry', cursor: 'a', retryCount: 1 });
  });
});
