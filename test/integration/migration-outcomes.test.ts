import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { MigrationContext } from '../../src/migration/context.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { answers, createMigrationRig, retryableError, succeed, thing, typesOf } from '../rig/migration.ts';

let rig: MigrationRig;
beforeEach(async () => {
  rig = createMigrationRig();
  await rig.open({ 1: old });
});
afterEach(() => rig.close());

const old = thing('Thing', '1.0');
const models = { 1: thing('Thing', '2.0') };
const { Success, Partial, Retry, Fatal } = MigrationOutcome;

/** Opens in the background, so that a failed migration can be asked about. */
const openInBackground = (handler: ReturnType<typeof answers>) =>
  rig.open(models, {
    // Once it has run there is no way back by itself: a failure leaves the migration where it stands.
    migrationExpandHandler: succeed,
    migrationHandler: handler,
    continueMigrationsInBackground: true,
  });

describe('an outcome', () => {
  it('Success ends the phase', async () => {
    const handler = answers(Success);
    await rig.open(models, { migrationHandler: handler });
    expect(handler.calls).toHaveLength(1);
  });

  it('Partial calls the handler again, from the cursor that it brought', async () => {
    const handler = answers(Partial({ nextCursor: 'a', message: 'at a' }), Partial({ nextCursor: 'b' }));
    const cursors: (string | undefined)[] = [];
    await rig.open(models, {
      migrationHandler: (context) => {
        cursors.push(context.cursor);
        return handler(context);
      },
    });
    expect(cursors).toEqual([undefined, 'a', 'b']);
    expect(rig.events.filter(({ type }) => type === 'Partial')).toMatchObject([
      { phase: 'Backfill', attempt: 1, message: 'at a' },
      { phase: 'Backfill', attempt: 1, message: null },
    ]);
  });

  it('without a cursor keeps the one that was there', async () => {
    const handler = answers(
      Partial({ nextCursor: 'a' }),
      Partial(),
      Retry({ retryAfterMs: 10 }),
      Retry({ nextCursor: 'b', retryAfterMs: 10 }),
    );
    await rig.open(models, { migrationHandler: handler });
    expect(handler.calls.map(({ previousState }) => previousState.cursor)).toEqual([
      null,
      'a',
      'a',
      'a',
      'b',
    ]);
  });

  it('belongs to its phase: the next one begins without a cursor', async () => {
    const verify = answers();
    await rig.open(models, {
      migrationHandler: answers(Partial({ nextCursor: 'a' })),
      migrationVerifyHandler: verify,
    });
    expect(verify.calls[0]?.cursor).toBeUndefined();
  });

  it('Retry waits as long as it says, with the wait in the status, and is tried again', async () => {
    const handler = answers(Retry({ retryAfterMs: 40_000, message: 'the other system is down' }));
    const store = await rig.open(models, {
      migrationHandler: handler,
      migrationStartupBudgetMs: 1_000,
      continueMigrationsInBackground: true,
    });
    const calledAtMs = rig.clock.wallMs() - 1_000;
    expect(handler.calls).toHaveLength(1);
    const status = await store.migrationStatus(1);
    expect(status).toMatchObject({
      state: 'Running',
      phase: 'Backfill',
      retryCount: 1,
      message: 'the other system is down',
      reason: { code: 'retryBackoff' },
    });
    expect(Math.abs((status.reason?.untilMs ?? 0) - calledAtMs - 40_000)).toBeLessThan(1_000);
    await rig.settle(store.awaitMigration(1));
    expect(handler.calls).toHaveLength(2);
    expect(rig.clock.wallMs() - calledAtMs).toBeGreaterThanOrEqual(39_000);
    expect(rig.events.find(({ type }) => type === 'RetryScheduled')).toMatchObject({
      message: 'in 40000 ms: the other system is down',
    });
  });

  it('Retry without a delay backs off', async () => {
    const handler = answers(...Array.from({ length: 12 }, () => Retry()));
    await rig.open(models, { migrationHandler: handler });
    expect(handler.calls).toHaveLength(13);
    const delays = rig.events
      .filter(({ type }) => type === 'RetryScheduled')
      .map(({ message }) => Number(/in (\d+) ms/.exec(message ?? '')?.[1]));
    expect(delays).toHaveLength(12);
    delays.forEach((delayMs, at) => {
      expect(delayMs).toBeLessThanOrEqual(Math.min(30_000, 250 * 2 ** at));
    });
  });

  it('Fatal fails the migration, which then waits for an operator', async () => {
    const handler = answers(Fatal('coordinates are missing'));
    await expect(rig.open(models, { migrationHandler: handler })).rejects.toMatchObject({
      code: 'MIGRATION_FAILED',
      message: expect.stringContaining('coordinates are missing') as string,
    });
    expect(handler.calls).toHaveLength(1);
    expect(typesOf(rig.events).at(-1)).toBe('Backfill Failed');
    expect(await rig.stateOf(1)).toMatchObject({
      status: 'Failed',
      phase: 'Backfill',
      lastError: { code: 'HANDLER_FAILED', message: 'coordinates are missing', retryable: false },
    });
  });

  it.each([
    ['undefined', undefined, 'it answered undefined'],
    ['null', null, 'it answered null'],
    ['a string', 'Success', 'it answered string'],
    ['an unknown type', { type: 'Done' }, '"Done"'],
    ['a cursor that is no string', { type: 'Partial', nextCursor: 7 }, 'nextCursor'],
    ['a delay that is no number', { type: 'Retry', retryAfterMs: '1s' }, 'retryAfterMs'],
    ['a delay below zero', { type: 'Retry', retryAfterMs: -1 }, 'retryAfterMs'],
    ['Fatal without a reason', { type: 'Fatal' }, 'reason'],
  ])('that is none (%s) fails the migration and says what came', async (_what, answer, text) => {
    const store = await openInBackground(answers(() => answer));
    const status = await store.migrationStatus(1);
    expect(status).toMatchObject({ state: 'Failed', lastError: { code: 'OUTCOME_INVALID' } });
    expect(status.lastError?.message).toContain(text);
    expect(rig.events.at(-1)).toMatchObject({ type: 'Failed' });
    expect(rig.events.at(-1)?.message).toContain('OUTCOME_INVALID');
  });

  it.each([
    ['Partial', () => Partial({ nextCursor: 'x'.repeat(3_001) })],
    ['Retry', () => Retry({ nextCursor: 'é'.repeat(1_501) })],
    [
      'advance',
      (context: MigrationContext) =>
        context.transact((tx) => {
          tx.advance('x'.repeat(3_001));
          return Promise.resolve(Success);
        }),
    ],
  ])(
    'with a cursor above 3,000 bytes (%s) fails the migration and leaves its state readable',
    async (_how, answer) => {
      const handler = answers(Partial({ nextCursor: 'kept' }), answer);
      const store = await openInBackground(handler);
      expect(await store.migrationStatus(1)).toMatchObject({
        state: 'Failed',
        lastError: { code: 'CURSOR_TOO_LARGE', retryable: false },
      });
      expect(await rig.stateOf(1)).toMatchObject({ status: 'Failed', cursor: 'kept' });
      expect(rig.events.at(-1)).toMatchObject({ type: 'Failed' });
      expect(await store.migrationMetrics(1)).toMatchObject({ failed: 1 });
      await store.resumeMigration(1);
      await rig.settle(store.awaitMigration(1));
      expect(handler.calls.at(-1)?.previousState.cursor).toBe('kept');
    },
  );

  it('takes a cursor of exactly 3,000 bytes', async () => {
    const nextCursor = 'x'.repeat(3_000);
    const handler = answers(Partial({ nextCursor }));
    await rig.open(models, { migrationHandler: handler });
    expect(handler.calls[1]?.previousState.cursor).toBe(nextCursor);
  });

  it.each([
    ['letters', 'x'],
    ['control characters', '\u0000'],
    ['pairs of surrogates', '🦆'],
  ])('with a message of a million %s is kept with the message cut', async (_what, unit) => {
    const message = unit.repeat(1_000_000);
    const handler = answers(
      Partial({ message, nextCursor: 'a' }),
      Retry({ message, retryAfterMs: 1 }),
      retryableError(message),
      Fatal(message),
    );
    const store = await openInBackground(handler);
    expect(handler.calls).toHaveLength(4);
    const status = await store.migrationStatus(1);
    expect(status.state).toBe('Failed');
    expect(status.message?.length).toBeLessThanOrEqual(1_000);
    expect(status.lastError?.message.length).toBeLessThanOrEqual(1_000);
    for (const event of rig.events) expect(event.message?.length ?? 0).toBeLessThanOrEqual(1_000);
  });
});

describe('an operator who gives a reason of a million letters', () => {
  it('is obeyed, with the reason cut', async () => {
    const store = await openInBackground(answers(Fatal('broken')));
    await store.resumeMigration(1, 'x'.repeat(1_000_000), { by: 'y'.repeat(1_000_000) });
    await rig.settle(store.awaitMigration(1));
    const resumed = rig.events.find(({ type }) => type === 'Resumed');
    expect(resumed?.message).toMatch(/^x{900,}/);
    expect(resumed?.message?.length).toBeLessThanOrEqual(1_000);
  });
});

describe('an error that a handler throws', () => {
  it('is retried when it says that it is retryable, and recorded as a retry everywhere', async () => {
    const handler = answers(retryableError('busy'), retryableError('still busy'));
    const store = await rig.open(models, { migrationHandler: handler });
    expect(handler.calls).toHaveLength(3);
    expect(handler.calls[2]?.previousState.lastError).toMatchObject({
      message: 'still busy',
      retryable: true,
    });
    expect(rig.events.filter(({ type }) => type === 'RetryScheduled')).toHaveLength(2);
    expect(rig.events.some(({ type }) => type === 'Failed')).toBe(false);
    expect(await store.migrationMetrics(1)).toMatchObject({ retries: 2, failed: 0, completed: 1 });
  });

  it('fails the migration at once when it does not, and is recorded as a failure everywhere', async () => {
    const handler = answers(new TypeError('x is not a function'));
    const store = await openInBackground(handler);
    expect(handler.calls).toHaveLength(1);
    expect(await store.migrationStatus(1)).toMatchObject({
      state: 'Failed',
      lastError: { code: 'HANDLER_FAILED', message: 'x is not a function', retryable: false },
      retryCount: 0,
    });
    expect(rig.events.at(-1)).toMatchObject({
      type: 'Failed',
      message: 'HANDLER_FAILED: x is not a function',
    });
    expect(await store.migrationMetrics(1)).toMatchObject({ retries: 0, failed: 1, completed: 0 });
  });

  it('need not be an Error', async () => {
    const store = await openInBackground(
      // What JavaScript allows.
      answers(() => Promise.reject('text' as unknown as Error)),
    );
    expect(await store.migrationStatus(1)).toMatchObject({
      state: 'Failed',
      lastError: { code: 'HANDLER_FAILED', message: 'a string was thrown, not an Error' },
    });
  });

  it('before it answers a promise is the same', async () => {
    const store = await rig.open(models, {
      continueMigrationsInBackground: true,
      migrationHandler: () => {
        throw new Error('at once');
      },
    });
    expect(await store.migrationStatus(1)).toMatchObject({
      state: 'Failed',
      lastError: { message: 'at once' },
    });
  });

  it('goes on where the failed step stood, once an operator resumes', async () => {
    const handler = answers(Partial({ nextCursor: 'a' }), new Error('broken'));
    const store = await openInBackground(handler);
    await store.resumeMigration(1);
    await rig.settle(store.awaitMigration(1));
    expect(handler.calls[2]?.previousState).toMatchObject({ cursor: 'a', attempt: 1 });
  });

  it('before anything was changed opens the model again, and the next try begins anew', async () => {
    const handler = answers(Partial({ nextCursor: 'a' }), new Error('broken'));
    const store = await rig.open(models, { migrationHandler: handler, continueMigrationsInBackground: true });
    expect(await store.migrationStatus(1)).toMatchObject({
      state: 'Failed',
      message: expect.stringContaining('Nothing was changed') as string,
    });
    const older = await rig.open({ 1: old });
    await older.model(old).add({ id: 'written meanwhile' });
    await store.resumeMigration(1);
    await rig.settle(store.awaitMigration(1));
    expect(handler.calls[2]?.previousState).toMatchObject({ cursor: null, attempt: 1 });
    await expect(older.model(old).get('x')).rejects.toMatchObject({ code: 'MODEL_SCHEMA_CHANGED' });
  });
});
