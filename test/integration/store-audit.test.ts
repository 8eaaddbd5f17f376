import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { KeyValueDatabase, Transaction } from '../../src/kv/kv.ts';
import type { MigrationAuditEvent } from '../../src/migration/audit.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationContext } from '../../src/migration/context.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { readRanges } from '../../src/migration/passes/ledger.ts';
import type { Barrier, World } from '../rig/operators.ts';
import {
  codeOf,
  createBarrier,
  createWorld,
  errorFrom,
  heldHandler,
  RegionV1,
  RegionV2,
  regionToV2,
  TownV1,
  TownV2,
  toV2,
  waitForStatus,
  waitUntil,
} from '../rig/operators.ts';
import { overriding, withTransactions } from '../rig/overriding.ts';
import { createLog } from '../rig/log.ts';
import { drawSubspace } from '../rig/test-database.ts';
import { createVirtualClock } from '../rig/virtual-clock.ts';

const towns = 350;
const background = { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true } as const;
const moves = { dataModelsById: { 1: TownV2 }, migrationHandler: backfill({ transform: toV2 }) } as const;
const persisted = { persistMigrationAuditEvents: true } as const;

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

const uneventful: readonly MigrationAuditEvent['type'][] = [
  'LeaseAcquired',
  'PhaseStarted',
  'PhaseCompleted',
  'PhaseStarted',
  'PhaseCompleted',
  'PhaseStarted',
  'PhaseCompleted',
  'PhaseStarted',
  'PhaseCompleted',
  'Completed',
];

/** The lines of an uneventful migration. */
function linesAt(wallMs: number): readonly string[] {
  const line = (type: string, rest: string) =>
    `godwit=audit type=${type} model=Town modelId=1 migration=Town:1.0->2.0#6e2c178868d8${rest} node=here epoch=1 timestampMs=${wallMs}`;
  const found = ' message="records: 1, index entries: 1; all in order"';
  return [
    line('LeaseAcquired', ' attempt=0'),
    ...['Expand', 'Backfill', 'Verify', 'Contract'].flatMap((phase) => [
      line('PhaseStarted', ` phase=${phase} attempt=1`),
      line('PhaseCompleted', ` phase=${phase} attempt=1`) + (phase === 'Verify' ? found : ''),
    ]),
    line('Completed', ' phase=Contract attempt=1'),
  ];
}

describe('the default reporter', () => {
  it('writes one line per event to stdout, byte for byte', async () => {
    await world.fill(1);
    const clock = createVirtualClock();
    const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    const store = await world.open(
      { ...moves, nodeId: 'here', migrationAuditEventReporter: undefined },
      { clock },
    );
    const written = write.mock.calls.map(([text]) => String(text));
    write.mockRestore();
    expect(written.join('')).toBe(
      linesAt(clock.wallMs())
        .map((line) => `${line}\n`)
        .join(''),
    );
    expect(await store.model(TownV2).count()).toBe(1);
  });

  it('gives the same lines to a logger at info, and none to stdout', async () => {
    await world.fill(1);
    const clock = createVirtualClock();
    const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    const log = createLog();
    const { logger } = log;
    await world.open({ ...moves, nodeId: 'here', logger, migrationAuditEventReporter: undefined }, { clock });
    expect(write).not.toHaveBeenCalled();
    write.mockRestore();
    expect(log.lines('info').map(({ msg }) => msg)).toEqual(linesAt(clock.wallMs()));
  });

  it('quotes a message as JSON does', async () => {
    await world.fill(1);
    const log = createLog();
    const opening = world.open({
      dataModelsById: { 1: TownV2 },
      logger: log.logger,
      migrationAuditEventReporter: undefined,
      migrationHandler: () => Promise.resolve(MigrationOutcome.Fatal('a "quoted"\nreason')),
    });
    expect(await codeOf(opening)).toBe('MIGRATION_FAILED');
    expect(log.lines('info').find(({ msg }) => msg.includes('type=Failed'))?.msg).toContain(
      String.raw`message="HANDLER_FAILED: a \"quoted\"\nreason"`,
    );
  });
});

describe('a reporter', () => {
  it('that throws is swallowed and counted, and nothing fails by it', async () => {
    await world.fill(towns);
    const registry = new Registry();
    const store = await world.open({
      ...moves,
      registry,
      storeName: 'geo',
      migrationAuditEventReporter: () => {
        throw new Error('the reporter is broken');
      },
    });
    expect(await store.model(TownV2).count()).toBe(towns);
    const metric = await registry.getSingleMetric('godwit_migration_swallowed_failures_total')?.get();
    expect(metric?.values).toEqual([
      expect.objectContaining({ value: uneventful.length, labels: { store: 'geo' } }),
    ]);
  });

  it('hears each event once, after its commit', async () => {
    await world.fill(towns);
    const lengths: Promise<number>[] = [];
    let read: (() => Promise<number>) | undefined;
    const watcher = await world.open({ dataModelsById: { 1: TownV1 }, ...persisted });
    read = async () => (await watcher.migrationAuditEvents(1)).length;
    await world.open({
      ...moves,
      ...persisted,
      migrationAuditEventReporter() {
        if (read !== undefined) lengths.push(read());
      },
    });
    const seen = await Promise.all(lengths);
    expect(seen).toHaveLength(uneventful.length);
    seen.forEach((length, at) => expect(length).toBeGreaterThanOrEqual(at + 1));
  });
});

describe('persisted audit events', () => {
  it('are in order, with when, where and under which epoch', async () => {
    await world.fill(towns);
    const store = await world.open({ ...moves, ...persisted, nodeId: 'here' });
    const events = await store.migrationAuditEvents(1);
    expect(events).toEqual(world.audit);
    expect(events.map(({ type }) => type)).toEqual(uneventful);
    expect(Object.keys(events[0] ?? {}).toSorted()).toEqual(
      [
        'attempt',
        'epoch',
        'message',
        'migrationId',
        'modelId',
        'modelName',
        'nodeId',
        'phase',
        'timestampMs',
        'type',
      ].toSorted(),
    );
    expect(new Set(events.map(({ nodeId, epoch }) => `${nodeId} ${epoch}`))).toEqual(new Set(['here 1']));
    expect(await store.migrationAuditEvents(1, 3)).toEqual(events.slice(-3));
    expect(await codeOf(store.migrationAuditEvents(1, 0))).toBe('OPTION_INVALID');
    expect(await codeOf(store.migrationAuditEvents(1, 1.5))).toBe('OPTION_INVALID');
  });

  it('are kept up to migrationAuditLogMaxEntries, the latest ones', async () => {
    await world.fill(1);
    const store = await world.open({ ...moves, ...persisted, migrationAuditLogMaxEntries: 4 });
    await waitUntil('the log is trimmed', async () => (await store.migrationAuditEvents(1)).length === 4);
    expect(await store.migrationAuditEvents(1)).toEqual(world.audit.slice(-4));
    await store.close();
    const again = await world.open({ dataModelsById: { 1: TownV2 }, ...persisted });
    expect(await again.migrationAuditEvents(1)).toEqual(world.audit.slice(-4));
  });

  it('are none where they are not kept', async () => {
    await world.fill(1);
    const store = await world.open({ ...moves });
    expect(world.audit).toHaveLength(uneventful.length);
    expect(await store.migrationAuditEvents(1)).toEqual([]);
    const keeping = await world.open({ dataModelsById: { 1: TownV2 }, ...persisted });
    expect(await keeping.migrationAuditEvents(1)).toEqual([]);
  });

  it('are cut where a message is long', async () => {
    await world.fill(1);
    const opening = world.open({
      dataModelsById: { 1: TownV2 },
      ...persisted,
      migrationHandler: () => Promise.resolve(MigrationOutcome.Fatal('x'.repeat(50_000))),
    });
    expect(await codeOf(opening)).toBe('MIGRATION_FAILED');
    const store = await world.open({
      ...moves,
      ...persisted,
      continueMigrationsInBackground: true,
    });
    const failed = (await store.migrationAuditEvents(1)).find(({ type }) => type === 'Failed');
    expect(failed?.message).toMatch(/^HANDLER_FAILED: x+…$/);
    expect(Buffer.byteLength(JSON.stringify(failed))).toBeLessThan(4_000);
  });

  it('that cannot be written fail no migration', async () => {
    await world.fill(towns);
    const registry = new Registry();
    const database = withTransactions(world.database, (tx) =>
      overriding(tx, {
        setVersionstampedKey() {
          throw new Error('no audit event can be written');
        },
      }),
    );
    const store = await world.open({ ...moves, ...persisted, database, registry, storeName: 'geo' });
    expect(await store.model(TownV2).count()).toBe(towns);
    expect(world.audit.map(({ type }) => type)).toEqual(uneventful);
    expect(await store.migrationAuditEvents(1)).toEqual([]);
    const metric = await registry.getSingleMetric('godwit_migration_swallowed_failures_total')?.get();
    expect(metric?.values[0]?.value).toBe(uneventful.length - 2);
  });

  it('that cannot be trimmed fail no migration', async () => {
    await world.fill(towns);
    const registry = new Registry();
    const { database } = world;
    const broken: KeyValueDatabase = {
      engine: database.engine,
      createTransaction: (options) => database.createTransaction(options),
      transact: (body, options) =>
        database.transact((tx) => body(withoutReading(tx, world.keys.audit)), options),
      close: () => Promise.resolve(),
    };
    const store = await world.open({
      ...moves,
      ...persisted,
      migrationAuditLogMaxEntries: 1,
      database: broken,
      registry,
      storeName: 'geo',
    });
    expect(await store.model(TownV2).count()).toBe(towns);
    await store.close();
    const metric = await registry.getSingleMetric('godwit_migration_swallowed_failures_total')?.get();
    // One for each transaction that had events, but the first; a phase without work begins and ends in one.
    expect(metric?.values[0]?.value).toBe(uneventful.length - 3);
    const reader = await world.open({ dataModelsById: { 1: TownV2 }, ...persisted });
    expect((await reader.migrationAuditEvents(1)).map(({ type }) => type)).toEqual(uneventful);
  });
});

/** A transaction that fails as soon as a range under `prefix` is read. */
function withoutReading(tx: Transaction, prefix: Buffer): Transaction {
  return overriding(tx, {
    getRangeAll(begin, ...given) {
      if (prefix.compare(begin) === 0) throw new Error('the audit log is unreadable');
      return tx.getRangeAll(begin, ...given);
    },
  });
}

describe('migrationMetrics', () => {
  it('counts exactly, over several processes, and outlasts them', async () => {
    await world.fill(towns);
    const clock = createVirtualClock();
    let expands = 0;
    let chunks = 0;
    const handlers = {
      ...moves,
      migrationExpandHandler: () => {
        expands += 1;
        if (expands === 1) return Promise.resolve(MigrationOutcome.Partial({ nextCursor: 'a' }));
        if (expands === 2) return Promise.resolve(MigrationOutcome.Retry({ retryAfterMs: 0 }));
        return Promise.resolve(MigrationOutcome.Success);
      },
      migrationContractHandler: async (_context: MigrationContext) => {
        const rows = await world.database.transact((tx) => readRanges(tx, world.keys, 'backfill'));
        chunks = rows.reduce((sum, { seq }) => sum + seq, 0);
        return MigrationOutcome.Success;
      },
    };
    // The first process dies with its second chunk in its hands.
    barrier.shut();
    let reached = 0;
    world.beforeChunk = () => (reached++ === 1 ? barrier.pass() : undefined);
    const first = await world.open({ ...handlers, ...background, maxBackfillConcurrency: 1 });
    await waitUntil('it has its second chunk', () => barrier.waiting > 0);
    await first.close({ timeoutMs: 1 });

    const second = await world.open({ ...handlers, ...background });
    await second.awaitMigration(1);
    const metrics = await second.migrationMetrics(1);
    expect(metrics).toEqual({
      started: 1,
      completed: 1,
      failed: 0,
      retries: 1,
      partials: 1,
      paused: 0,
      resumed: 0,
      canceled: 0,
      recordsMoved: towns,
      bytesMoved: metrics.bytesMoved,
      chunks,
      conflicts: 0,
      takeovers: 1,
      lastEventAtMs: metrics.lastEventAtMs,
    });
    expect(chunks).toBeGreaterThan(1);
    expect(metrics.bytesMoved).toBeGreaterThan(towns * 10);
    await second.close();

    const third = await world.open({ dataModelsById: { 1: TownV2, 2: RegionV1 } }, { clock });
    expect(await third.migrationMetrics(1)).toEqual(metrics);
    expect(await third.migrationMetrics()).toEqual(
      new Map([
        [1, metrics],
        [2, await third.migrationMetrics(2)],
      ]),
    );
    expect((await third.migrationMetrics(2)).lastEventAtMs).toBe(0);
  });

  it('has the time of the last event by the wall clock', async () => {
    await world.fill(1);
    const clock = createVirtualClock();
    clock.stepWall(86_400_000);
    const store = await world.open({ ...moves }, { clock });
    expect((await store.migrationMetrics(1)).lastEventAtMs).toBe(clock.wallMs());
  });
});

describe('the registry option', () => {
  it('shows what was moved, and where each model stands, for several stores in one registry', async () => {
    await world.fill(towns);
    const registry = new Registry();
    const subspace = drawSubspace();
    const geo = await world.open({ ...moves, registry, storeName: 'geo' });
    const regions = await world.open({
      dataModelsById: { 2: RegionV1 },
      registry,
      storeName: 'regions',
      subspace,
    });
    await regions.model(RegionV1).add({ id: 'r', size: '1' });
    await regions.close();
    const moved = await world.open({
      dataModelsById: { 2: RegionV2 },
      migrationHandler: backfill({ transform: regionToV2 }),
      registry,
      storeName: 'regions',
      subspace,
    });
    const text = await registry.metrics();
    await Promise.all([geo.close(), moved.close()]);
    expect(text).toContain(`godwit_migration_records_moved_total{store="geo",model="Town"} ${towns}\n`);
    expect(text).toContain(`godwit_migration_records_moved_total{store="regions",model="Region"} 1\n`);
    expect(text).toContain('godwit_migration_events_total{store="geo",model="Town",type="Completed"} 1\n');
    expect(text).toContain('godwit_migration_state{store="geo",model="Town",state="Idle"} 1\n');
    expect(text).toContain('godwit_migration_state{store="geo",model="Town",state="Running"} 0\n');
  });
});

it('pause, resume and cancel are audited with who asked and why', async () => {
  await world.fill(1);
  barrier.shut();
  const store = await world.open({
    ...moves,
    ...background,
    ...persisted,
    migrationExpandHandler: heldHandler(barrier),
  });
  await waitUntil('it is held', () => barrier.waiting > 0);
  await store.pauseMigration(1, 'lunch', { by: 'kim' });
  barrier.open();
  await waitForStatus(store, 'Paused');
  await store.resumeMigration(1, 'coffee', { by: 'lee' });
  await store.awaitMigration(1);
  const events = (await store.migrationAuditEvents(1)).filter(({ type }) =>
    ['Paused', 'Resumed'].includes(type),
  );
  expect(events.map(({ type, message }) => [type, message])).toEqual([
    ['Paused', 'lunch (by kim)'],
    ['Resumed', 'coffee (by lee)'],
  ]);
  const error = await errorFrom(store.pauseMigration(1, 5 as unknown as string));
  expect(error).toMatchObject({ code: 'OPTION_INVALID' });
});
