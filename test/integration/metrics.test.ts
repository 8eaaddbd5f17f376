import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KeyValueError } from '../../src/kv/kv.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { systemRandom } from '../../src/ports/random.ts';
import type { FoundationDBDataStore } from '../../src/store/store.ts';
import { labelValues, metricDefinitions } from '../../src/telemetry/metric-definitions.ts';
import type { Barrier, World } from '../rig/operators.ts';
import {
  codeOf,
  createBarrier,
  createWorld,
  heldHandler,
  toV2,
  townsOf,
  TownV1,
  TownV2,
  waitForStatus,
  waitUntil,
} from '../rig/operators.ts';
import { answers, createInlinePool, createLatch, retryableError } from '../rig/migration.ts';
import type { Scrape } from '../rig/prometheus.ts';
import { parseScrape, valueIn } from '../rig/prometheus.ts';
import { drawSubspace } from '../rig/test-database.ts';
import { createVirtualClock } from '../rig/virtual-clock.ts';

const towns = 350;
const town = { store: 'geo', model: 'Town' } as const;
/** Nobody waits before the next try. */
const atOnce = { random: { ...systemRandom, fraction: () => 0 } } as const;
const background = { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true } as const;

let world: World;
let barrier: Barrier;
let shared: Registry;
beforeEach(() => {
  world = createWorld();
  barrier = createBarrier();
  shared = new Registry();
});
afterEach(async () => {
  barrier.open();
  await world.close();
});

const scrape = async (): Promise<Scrape> => parseScrape(await shared.metrics());

const moves = () =>
  ({
    dataModelsById: { 1: TownV2 },
    migrationHandler: backfill({ transform: toV2 }),
    persistMigrationAuditEvents: true,
    registry: shared,
    storeName: 'geo',
  }) as const;

/** Each counter of a scrape has come to what the database has, whose only process this is. */
async function expectToAgree(scraped: Scrape, store: FoundationDBDataStore) {
  const events = await store.migrationAuditEvents(1, 10_000);
  for (const type of labelValues.type) {
    expect([type, valueIn(scraped, 'godwit_migration_events_total', { ...town, type })]).toEqual([
      type,
      events.filter((event) => event.type === type).length,
    ]);
  }
  const metrics = await store.migrationMetrics(1);
  const value = (name: string, labels = {}) => valueIn(scraped, name, { ...town, ...labels }) ?? 0;
  const retries = scraped.get('godwit_migration_retries_total')?.samples ?? [];
  expect({
    recordsMoved: value('godwit_migration_records_moved_total'),
    bytesMoved: value('godwit_migration_bytes_moved_total'),
    conflicts: value('godwit_migration_chunk_conflicts_total'),
    chunks: value('godwit_migration_chunk_duration_seconds_count', { pass: 'backfill' }),
    takeovers: value('godwit_migration_lease_takeovers_total'),
    retries: retries.reduce((sum, sample) => sum + sample.value, 0),
  }).toEqual({
    recordsMoved: metrics.recordsMoved,
    bytesMoved: metrics.bytesMoved,
    conflicts: metrics.conflicts,
    chunks: metrics.chunks,
    takeovers: metrics.takeovers,
    retries: metrics.retries,
  });
  return metrics;
}

describe('a scrape', () => {
  it('during a migration and after it is text of Prometheus, whose counters equal the audit', async () => {
    await world.fill(towns);
    let chunks = 0;
    world.beforeChunk = async () => {
      if (++chunks === 3) barrier.shut();
      await barrier.pass();
    };
    const expand = answers(
      MigrationOutcome.Retry({ message: 'not yet', retryAfterMs: 1 }),
      retryableError('busy'),
    );
    const store = await world.open(
      { ...moves(), ...background, maxBackfillConcurrency: 1, migrationExpandHandler: expand },
      atOnce,
    );
    await waitUntil('a chunk is held', () => barrier.waiting > 0);
    const during = await scrape();
    const { recordsMoved } = await expectToAgree(during, store);
    expect(recordsMoved).toBeGreaterThan(0);
    expect(recordsMoved).toBeLessThan(towns);
    expect(valueIn(during, 'godwit_migration_state', { ...town, state: 'Running' })).toBe(1);
    expect(valueIn(during, 'godwit_migration_blocking', town)).toBe(1);
    expect(valueIn(during, 'godwit_migration_stalled', town)).toBe(0);
    const { progress } = await store.migrationStatus(1);
    expect(valueIn(during, 'godwit_migration_progress_ratio', town)).toBe(progress.fraction);
    expect(valueIn(during, 'godwit_migration_retries_total', { code: 'other' })).toBe(1);
    expect(valueIn(during, 'godwit_migration_retries_total', { code: 'HANDLER_FAILED' })).toBe(1);

    barrier.open();
    await store.awaitMigration(1);
    await waitUntil('it is told', async () => {
      return valueIn(await scrape(), 'godwit_migration_state', { ...town, state: 'Idle' }) === 1;
    });
    const after = await scrape();
    const metrics = await expectToAgree(after, store);
    expect(metrics.recordsMoved).toBe(towns);
    const timestamp = valueIn(after, 'godwit_migration_last_event_timestamp_seconds', town);
    expect(timestamp).toBe(metrics.lastEventAtMs / 1_000);
    for (const phase of labelValues.phase) {
      expect(valueIn(after, 'godwit_migration_phase_duration_seconds_count', { ...town, phase })).toBe(1);
    }
    const ofBackfill = { ...town, pass: 'backfill' };
    expect(valueIn(after, 'godwit_migration_chunk_records_sum', ofBackfill)).toBe(towns);
    expect(valueIn(after, 'godwit_migration_chunk_records_sum', { ...town, pass: 'verify' })).toBeGreaterThan(
      towns,
    );
    // What it was half-way through is no number of an idle model.
    expect(valueIn(after, 'godwit_migration_progress_ratio', town)).toBeUndefined();
    expect(valueIn(after, 'godwit_migration_eta_seconds', town)).toBeUndefined();
    expect(valueIn(after, 'godwit_migration_blocking', town)).toBe(0);
  });

  it('has every metric of the table, and no other', async () => {
    await world.fill(1);
    await world.open(moves());
    const scraped = await scrape();
    expect([...scraped].map(([name, { type, help }]) => ({ name, type, help }))).toEqual(
      expect.arrayContaining(
        Object.values(metricDefinitions).map(({ name, type, help }) => ({ name, type, help })),
      ),
    );
    expect(scraped.size).toBe(Object.keys(metricDefinitions).length);
  });

  it('tells where other nodes have brought the model since', async () => {
    await world.fill(5);
    barrier.shut();
    const leader = await world.open({
      ...moves(),
      ...background,
      registry: undefined,
      migrationExpandHandler: heldHandler(barrier),
    });
    await waitUntil('it is held', () => barrier.waiting > 0);
    const stateIn = (scraped: Scrape) =>
      labelValues.state.find((state) => valueIn(scraped, 'godwit_migration_state', { ...town, state }) === 1);
    const waiting = await world.open({ ...moves(), ...background, migrationRole: 'wait' });
    expect(stateIn(await scrape())).toBe('Running');
    await leader.pauseMigration(1);
    barrier.open();
    await waitForStatus(leader, 'Paused');
    expect(stateIn(await scrape())).toBe('Paused');
    await leader.resumeMigration(1);
    await waiting.awaitMigration(1);
    await waitUntil('it is told', async () => stateIn(await scrape()) === 'Idle');
  });

  it('waits for a database that does not answer for a second, and has what was known', async () => {
    await world.fill(5);
    barrier.shut();
    const clock = createVirtualClock();
    const held = { ...moves(), ...background, migrationExpandHandler: heldHandler(barrier) };
    const opening = world.open(held, { clock });
    await waitUntil('it is held', () => barrier.waiting > 0);
    await clock.advanceAsync(0);
    const store = await opening;
    await scrape();
    const answering = createLatch();
    world.beforeTransaction = () => answering.opened;
    const silent = scrape();
    let isOver = false;
    void silent.then(() => (isOver = true));
    await clock.advanceAsync(999);
    expect(isOver).toBe(false);
    await clock.advanceAsync(1);
    const isOverInTime = isOver;
    answering.open();
    expect(isOverInTime).toBe(true);
    expect(valueIn(await silent, 'godwit_migration_state', { ...town, state: 'Running' })).toBe(1);

    world.beforeTransaction = () => Promise.reject(new KeyValueError(1009));
    const failing = await scrape();
    world.beforeTransaction = () => undefined;
    expect(valueIn(failing, 'godwit_migration_state', { ...town, state: 'Running' })).toBe(1);
    expect(valueIn(await scrape(), 'godwit_migration_swallowed_failures_total', { store: 'geo' })).toBe(1);
    barrier.open();
    await store.close();
  });
});

it('verification findings, records set aside and interruptions are counted', async () => {
  await world.fill(20);
  const odd = { ...moves(), migrationVerification: { check: { Town: () => false } } } as const;
  expect(await codeOf(world.open(odd))).toBe('MIGRATION_FAILED');
  const found = { ...town, kind: 'record' };
  expect(valueIn(await scrape(), 'godwit_migration_verification_findings_total', found)).toBe(20);

  const subspace = drawSubspace();
  const other = { subspace, storeName: 'other' } as const;
  const before = await world.open({ ...other, dataModelsById: { 1: TownV1 } });
  for (const lat of ['1', 'nowhere', '3']) await before.model(TownV1).add({ id: lat, lat });
  await before.close();
  let failures = 3;
  world.beforeTransaction = () => {
    // The start of its first phase is one of them; the others read the status, and trim the audit log.
    const isOwned = world.audit.at(-1)?.type === 'LeaseAcquired';
    if (isOwned && failures-- > 0) throw new KeyValueError(1510);
  };
  const migrationHandler = backfill({ transform: toV2, onPoison: 'quarantine' });
  const store = await world.open({ ...moves(), ...other, migrationHandler }, atOnce);
  expect(await townsOf(store.model(TownV2).scan())).toHaveLength(2);
  const scraped = await scrape();
  const labels = { store: 'other', model: 'Town' };
  expect(valueIn(scraped, 'godwit_migration_quarantined_records_total', labels)).toBe(1);
  expect(
    valueIn(scraped, 'godwit_migration_interruptions_total', { ...labels, code: 'STORAGE_FAILED' }),
  ).toBe(1);
  expect(valueIn(scraped, 'godwit_migration_lease_losses_total', labels)).toBe(0);
});

it('a phase takes from its first start to its end, also where an operator resumed it between', async () => {
  await world.fill(1);
  const clock = createVirtualClock();
  const migrationExpandHandler = answers(MigrationOutcome.Fatal('not yet'));
  const opening = world.open({ ...moves(), ...background, migrationExpandHandler }, { clock });
  await clock.advanceAsync(0);
  const store = await opening;
  await waitUntil('it has failed', async () => (await store.migrationStatus(1)).state === 'Failed');
  clock.stepWall(60_000);
  await store.resumeMigration(1);
  await store.awaitMigration(1);
  const took = (phase: string) => ({ ...town, phase });
  const scraped = await scrape();
  expect(valueIn(scraped, 'godwit_migration_phase_duration_seconds_sum', took('Expand'))).toBe(60);
  expect(valueIn(scraped, 'godwit_migration_phase_duration_seconds_sum', took('Verify'))).toBe(0);
});

it('a lease that is taken away is counted by whoever lost it', async () => {
  await world.fill(5);
  barrier.shut();
  const store = await world.open({
    ...moves(),
    ...background,
    migrationExpandHandler: heldHandler(barrier),
  });
  await waitUntil('it is held', () => barrier.waiting > 0);
  await store.releaseLease(1, 'it hangs');
  barrier.open();
  await store.awaitMigration(1);
  expect(valueIn(await scrape(), 'godwit_migration_lease_losses_total', town)).toBe(1);
});

describe('a registry of several stores', () => {
  it('loses the gauges of one that is closed, and keeps its counters', async () => {
    await world.fill(5);
    const geo = await world.open(moves());
    const other = await world.open({ ...moves(), storeName: 'other', subspace: drawSubspace() });
    const both = await scrape();
    expect(valueIn(both, 'godwit_store_info', { store: 'geo', engine: 'memory' })).toBe(1);
    expect(valueIn(both, 'godwit_store_info', { store: 'other' })).toBe(1);
    await geo.close();
    const left = await scrape();
    const ofGeo = [...left].flatMap(([name, { type, samples }]) =>
      samples.some(({ labels }) => labels['store'] === 'geo') ? [[name, type]] : [],
    );
    expect(ofGeo.filter(([, type]) => type === 'gauge')).toEqual([]);
    expect(valueIn(left, 'godwit_migration_records_moved_total', town)).toBe(5);
    expect(valueIn(left, 'godwit_bus_failures_total', { store: 'geo' })).toBe(0);
    expect(valueIn(left, 'godwit_store_info', { store: 'other' })).toBe(1);

    // Opened again, it goes on.
    await world.open(moves());
    expect(valueIn(await scrape(), 'godwit_migration_records_moved_total', town)).toBe(5);
    await other.close();
  });

  it('shows the pool of each, and of one that does not tell only what it tells', async () => {
    const pool = Object.assign(createInlinePool(), { queued: 3, utilization: 0.5 });
    await world.open({ ...moves(), pool });
    await world.open({ ...moves(), storeName: 'other', pool: createInlinePool(), subspace: drawSubspace() });
    const scraped = await scrape();
    expect(valueIn(scraped, 'godwit_pool_queued_tasks', { store: 'geo' })).toBe(3);
    expect(valueIn(scraped, 'godwit_pool_utilization_ratio', { store: 'geo' })).toBe(0.5);
    expect(valueIn(scraped, 'godwit_pool_queued_tasks', { store: 'other' })).toBeUndefined();
    expect(valueIn(scraped, 'godwit_pool_threads', { store: 'other' })).toBeDefined();
  });
});

describe('the parser of this test', () => {
  it.each([
    ['no end', '# HELP a b\n# TYPE a counter\na 1'],
    ['a sample before its type', 'a 1\n# HELP a b\n# TYPE a counter\n'],
    ['a series twice', '# HELP a b\n# TYPE a counter\na{x="1",y="2"} 1\na{y="2",x="1"} 1\n'],
    ['a label without quotes', '# HELP a b\n# TYPE a gauge\na{x=1} 1\n'],
    ['a value that is none', '# HELP a b\n# TYPE a gauge\na NaNa\n'],
    ['a metric of another name', '# HELP a b\n# TYPE a gauge\nb 1\n'],
    [
      'buckets that go down',
      '# HELP a b\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n',
    ],
    [
      'a histogram without its end',
      '# HELP a b\n# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n',
    ],
  ])('refuses %s', (_, text) => {
    expect(() => parseScrape(text)).toThrow(
      /no end|out of place|twice|no labels|no sample|out of order|add up/,
    );
  });
});
