import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationEvent } from '../../src/migration/events.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import type { MigrationStatus } from '../../src/migration/status.ts';
import { KeyValueError } from '../../src/kv/kv.ts';
import { sleep } from '../../src/ports/clock.ts';
import { systemProcess } from '../../src/ports/process.ts';
import { systemRandom } from '../../src/ports/random.ts';
import type { StoreOptions } from '../../src/store/options.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { silentLogger } from '../../src/telemetry/logger.ts';
import type { MigrationRig } from '../rig/migration.ts';
import {
  CityV1,
  CityV2,
  cityOf,
  createInlinePool,
  createLatch,
  createMigrationRig,
  succeed,
  toCityV2,
} from '../rig/migration.ts';
import { overriding, withTransactions } from '../rig/overriding.ts';

type Options = Partial<Omit<StoreOptions<{ readonly 1: typeof CityV2 }>, 'database' | 'dataModelsById'>>;
type Store = FoundationDBDataStore<{ readonly 1: typeof CityV2 }>;

const models = { 1: CityV2 } as const;
const inBackground = { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true } as const;
const moves = { migrationHandler: backfill({ transform: toCityV2 }), ...inBackground } as const;
const looksOn = { migrationRole: 'wait', nodeId: 'onlooker', ...inBackground } as const;
/** Behind the first chunk, of 100, the next one waits for 100 s. */
const oneASecond = { migrationMaxRecordsPerSecond: 1, maxBackfillConcurrency: 1 } as const;

let rig: MigrationRig;
beforeEach(async () => {
  rig = createMigrationRig();
  await rig.seed(
    CityV1,
    Array.from({ length: 150 }, (_, n) => cityOf(n)),
  );
});
afterEach(() => rig.close());

const open = (options: Options): Promise<Store> => rig.open(models, options);
const passes = (ms: number) => rig.settle(sleep(rig.clock, ms));
const statusOf = (store: Store) => rig.settle(store.migrationStatus(1));

/** What is shown as often as that, for as long as that. */
async function watch(store: Store, forMs: number, everyMs: number): Promise<MigrationStatus[]> {
  const statuses: MigrationStatus[] = [];
  for (let at = 0; at < forMs; at += everyMs) {
    await passes(everyMs);
    statuses.push(await statusOf(store));
  }
  return statuses;
}

async function waitUntil(store: Store, holds: (status: MigrationStatus) => boolean, withinMs: number) {
  const untilMs = rig.clock.monotonicMs() + withinMs;
  for (;;) {
    const status = await statusOf(store);
    if (holds(status)) return status;
    if (rig.clock.monotonicMs() > untilMs) throw new Error(`it still is ${JSON.stringify(status)}`);
    await passes(50);
  }
}

const codesOf = (statuses: readonly MigrationStatus[]) =>
  new Set(statuses.map(({ state, reason }) => `${state} ${reason?.code ?? 'without a reason'}`));

/** Codes of the reasons that status events of a store had, each once in a row. */
function listen(store: Store): string[] {
  const codes: string[] = [];
  const stream = store.migrationEvents();
  void (async () => {
    for await (const event of stream as AsyncIterable<MigrationEvent>) {
      if (event.type !== 'status') continue;
      const code = event.status.reason?.code ?? event.status.state;
      if (codes.at(-1) !== code) codes.push(code);
    }
  })();
  return codes;
}

describe('a migration that a limit holds up', () => {
  it('is throttled for everybody who asks, and is not when it goes on', async () => {
    const registry = new Registry();
    const store = await open({ ...moves, ...oneASecond, migrationMaxRecordsPerSecond: 10, registry });
    const onlooker = await open(looksOn);
    const codes = listen(store);
    await waitUntil(store, ({ reason }) => reason?.code === 'throttled', 2_000);
    const reason = { code: 'throttled', message: 'node: at most 10 records per second' };
    expect(await statusOf(onlooker)).toMatchObject({ state: 'Running', reason, phase: 'Backfill' });
    const { reason: later } = (await watch(onlooker, 5_000, 5_000))[0] as MigrationStatus;
    expect(later).toMatchObject(reason);
    await rig.settle(store.awaitMigration(1));
    await passes(500);
    expect(codes[0]).toBe('throttled');
    expect(codes.at(-1)).toBe('Idle');
    expect((await statusOf(onlooker)).reason).toBeUndefined();
    const text = await registry.metrics();
    const [, seconds] =
      /^godwit_migration_throttled_seconds_total\{.*cause="limit".*\} (\S+)$/m.exec(text) ?? [];
    expect(Number(seconds)).toBeGreaterThan(9);
    expect(Number(seconds)).toBeLessThan(16);
  });

  it('is never stalled, however long a chunk waits', async () => {
    const store = await open({ ...moves, ...oneASecond, migrationStalledAfterMs: 2_000 });
    const onlooker = await open({ ...looksOn, migrationStalledAfterMs: 2_000 });
    const heard = [listen(store), listen(onlooker)];
    await waitUntil(store, ({ reason }) => reason?.code === 'throttled', 2_000);
    const shown = [...(await watch(store, 15_000, 700)), ...(await watch(onlooker, 15_000, 700))];
    expect(codesOf(shown)).toEqual(new Set(['Running throttled']));
    expect(heard.flat()).not.toContain('stalled');
  });

  it.each([
    ['a limit', oneASecond],
    ['the host', { migrationThrottle: () => ({ delayMs: Number.POSITIVE_INFINITY, reason: 'never' }) }],
    ['a host that does not answer', { migrationThrottle: () => new Promise<undefined>(() => undefined) }],
  ])('obeys a pause while %s holds a chunk', async (_what, held) => {
    const store = await open({ ...moves, ...held });
    const onlooker = await open(looksOn);
    const { progress } = await waitUntil(store, ({ reason }) => reason?.code === 'throttled', 2_000);
    await rig.settle(onlooker.pauseMigration(1, 'lunch'));
    const paused = await waitUntil(onlooker, ({ state }) => state === 'Paused', 2_000);
    expect(paused.progress.recordsDone).toBe(progress.recordsDone);
    expect(paused.reason).toBeUndefined();
  });

  it('is closed at once', async () => {
    const store = await open({ ...moves, ...oneASecond });
    await waitUntil(store, ({ reason }) => reason?.code === 'throttled', 2_000);
    const askedAtMs = rig.clock.monotonicMs();
    await rig.settle(store.close());
    expect(rig.clock.monotonicMs() - askedAtMs).toBeLessThan(1_000);
  });
});

describe('a migration that the host holds up', () => {
  it('is throttled with the reason that the host gave, and is asked about what is moved', async () => {
    const asked: unknown[] = [];
    let isBusy = true;
    const store = await open({
      ...moves,
      maxBackfillConcurrency: 1,
      migrationThrottle(chunk) {
        asked.push(chunk);
        return isBusy ? { delayMs: 120_000, reason: 'the shop is open' } : undefined;
      },
    });
    const onlooker = await open(looksOn);
    const shown = await watch(onlooker, 130_000, 13_000);
    expect(codesOf(shown)).toEqual(new Set(['Running throttled']));
    expect(shown.at(-1)?.reason?.message).toBe('node: migrationThrottle: the shop is open');
    expect(asked).toHaveLength(3);
    expect(asked[0]).toMatchObject({ modelId: 1, modelName: 'City', pass: 'backfill', records: 100 });
    isBusy = false;
    await rig.settle(store.awaitMigration(1));
    expect(asked.length).toBeGreaterThan(3);
  });
});

describe('a migration that the database holds up', () => {
  it('waits longer and longer, says why, and goes on when it is well again', async () => {
    const registry = new Registry();
    const audited: string[] = [];
    let refusals = 8;
    const database = withTransactions(rig.database, (tx) => {
      let isChunk = false;
      return overriding(tx, {
        set(key: Uint8Array, value: Uint8Array) {
          isChunk ||= rig.keysOf(1).touched.equals(key);
          tx.set(key, value);
        },
        async commit() {
          if (isChunk && tx.attempt === 0 && refusals-- > 0) throw new KeyValueError(1051);
          await tx.commit();
        },
      });
    });
    const opening = FoundationDBDataStore.openWith(
      {
        ...moves,
        database,
        subspace: rig.subspace,
        dataModelsById: models,
        registry,
        nodeId: 'node',
        pool: createInlinePool(),
        maxBackfillConcurrency: 1,
        migrationAuditEventReporter: ({ type }) => void audited.push(type),
      },
      {
        clock: rig.clock,
        random: systemRandom,
        process: systemProcess,
        fewRecords: { firstChunk: 1, leastSplit: 1_000 },
      },
    );
    const store = await rig.settle(opening);
    const { reason } = await waitUntil(store, (status) => status.reason?.code === 'throttled', 3_000);
    expect(reason?.message).toBe('node: back pressure: the database asks for less');
    await rig.settle(store.awaitMigration(1));
    expect(audited).toContain('Completed');
    expect(audited).not.toContain('Failed');
    const [, seconds] =
      /^godwit_migration_throttled_seconds_total\{.*cause="pressure".*\} (\S+)$/m.exec(
        await registry.metrics(),
      ) ?? [];
    // 50 ms and its doubles to 5,000; behind them 1,600, 400 and 100, as far as there are chunks left.
    expect(Number(seconds)).toBeGreaterThan(0.05 * (2 ** 7 - 1));
    expect(Number(seconds)).toBeLessThan(0.05 * (2 ** 7 - 1) + 5 + 2.1 + 0.01);
    await rig.settle(store.close());
  });
});

describe('a migration that commits nothing', () => {
  const afterMs = 60_000;

  it('is stalled a minute later, for everybody, told once, and not when it goes on', async () => {
    const held = createLatch();
    const warnings: string[] = [];
    const logger = {
      ...silentLogger,
      warn: (_about: unknown, text?: unknown) => void warnings.push(String(text)),
    };
    const store = await open({
      ...moves,
      logger,
      migrationExpandHandler: async () => {
        await held.opened;
        return MigrationOutcome.Success;
      },
    });
    const onlooker = await open(looksOn);
    const [codes, others] = [listen(store), listen(onlooker)];
    const { lastEventAtMs } = await rig.settle(store.migrationMetrics(1));
    await passes(lastEventAtMs + afterMs - 100 - rig.clock.wallMs());
    expect((await statusOf(onlooker)).reason).toBeUndefined();
    await passes(200);
    const reason = {
      code: 'stalled',
      message: 'nothing was committed for 60000 ms or longer; node still has the lease',
      sinceMs: lastEventAtMs,
    };
    expect(await statusOf(onlooker)).toMatchObject({ state: 'Running', phase: 'Expand', reason });
    await passes(2.5 * afterMs);
    expect([codes, others].map((heard) => heard.filter((code) => code === 'stalled'))).toEqual([
      ['stalled'],
      ['stalled'],
    ]);
    expect(warnings).toEqual([`a migration is stalled: ${reason.message}`]);
    held.open();
    await rig.settle(store.awaitMigration(1));
    await passes(afterMs);
    expect([codes.at(-1), others.at(-1)]).toEqual(['Idle', 'Idle']);
  });

  it('is stalled where its owner died and nobody takes its place', async () => {
    await rig.openUntil(models, moves, ({ phase, type }) => phase === 'Backfill' && type === 'PhaseStarted');
    const onlooker = await open({ ...looksOn, migrationLeaseTimeoutMs: 600_000 });
    expect((await statusOf(onlooker)).reason?.code).not.toBe('stalled');
    await passes(afterMs + 1_000);
    expect((await statusOf(onlooker)).reason).toMatchObject({
      code: 'stalled',
      message: expect.stringMatching(
        /node has not beaten for as long, and nobody takes its place$/,
      ) as string,
    });
  });

  it('is not stalled while a retry waits, nor while it is paused', async () => {
    const store = await open({
      ...moves,
      migrationExpandHandler: () =>
        Promise.resolve(MigrationOutcome.Retry({ retryAfterMs: 300_000, message: 'later' })),
    });
    await waitUntil(store, ({ reason }) => reason?.code === 'retryBackoff', 2_000);
    expect(codesOf(await watch(store, 240_000, 30_000))).toEqual(new Set(['Running retryBackoff']));
    await rig.settle(store.pauseMigration(1, 'enough'));
    await waitUntil(store, ({ state }) => state === 'Paused', 2_000);
    expect(codesOf(await watch(store, 120_000, 30_000))).toEqual(new Set(['Paused without a reason']));
  });

  it('is not stalled by a handler that writes', async () => {
    const held = createLatch();
    const store = await open({
      ...moves,
      migrationExpandHandler: async (context) => {
        for (let n = 0; n < 5; n += 1) {
          await sleep(rig.clock, afterMs / 2);
          await context.transact(() => Promise.resolve());
        }
        held.open();
        return succeed(context);
      },
    });
    expect(codesOf(await watch(store, 2 * afterMs, afterMs / 4))).toEqual(
      new Set(['Running without a reason']),
    );
    await rig.settle(held.opened);
  });
});
