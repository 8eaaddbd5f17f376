import { setTimeout } from 'node:timers/promises';
import { FoundationDBDataStore, backfill, createWorkerPool } from '../../src/index.ts';
import type { MigrationStatus } from '../../src/index.ts';
import type { Display } from './display.ts';
import { bar, percent, seconds, thousands } from './format.ts';
import { Import } from './import-model.ts';
import { CityV2, CountryV2 } from './models-v2.ts';
import { createTimings } from './timings.ts';
import { summarize } from './summary.ts';

/** How often the status is read: milliseconds. */
const lookIntervalMs = 100;

export type End = 'upToDate' | 'migrated' | 'stopped';

const models = { 1: CountryV2, 2: CityV2, 3: Import };
export type StoreV2 = FoundationDBDataStore<typeof models>;

/** Opens the store with the models of version 2, and shows what follows from that. */
export async function migrateToVersion2(
  database: string,
  rate: number | undefined,
  display: Display,
  signal: AbortSignal,
): Promise<End> {
  const pool = createWorkerPool();
  const timings = createTimings(pool);
  const nodeId = `cities-${process.pid}`;
  const store = await FoundationDBDataStore.open({
    database,
    subspace: ['cities'],
    dataModelsById: models,
    migrationHandler: {
      Country: backfill({ module: new URL('./country-v2.ts', import.meta.url) }),
      City: backfill({ module: new URL('./city-v2.ts', import.meta.url) }),
    },
    // `open` returns at once, and the migrations go on behind it.
    migrationStartupBudgetMs: 0,
    continueMigrationsInBackground: true,
    migrationMaxRecordsPerSecond: rate,
    // Where a dead owner cannot be told by its pid, nobody wants to wait the usual 10 s for it.
    migrationLeaseTimeoutMs: 3_000,
    persistMigrationAuditEvents: true,
    migrationAuditEventReporter: timings.report,
    nodeId,
    pool,
  });
  try {
    const found = await store.migrationStatuses();
    if (found.every(({ state }) => state === 'Idle')) return 'upToDate';
    await sayWhereItGoesOn(store, found, nodeId, display);
    const end = await watch(store, display, signal);
    if (end === 'migrated') await summarize(store, timings, display);
    return end;
  } finally {
    await store.close();
    await pool.close();
  }
}

/** What an earlier process began goes on; what nobody began has reasons. */
async function sayWhereItGoesOn(
  store: StoreV2,
  statuses: readonly MigrationStatus[],
  nodeId: string,
  display: Display,
): Promise<void> {
  const pending = await store.pendingMigrations();
  for (const { modelId, modelName, state, phase, hasCursor, progress } of statuses) {
    if (state === 'Idle') continue;
    const events = await store.migrationAuditEvents(modelId);
    if (phase !== null && events.some((event) => event.nodeId !== nodeId)) {
      const fraction = hasCursor ? (progress.fraction ?? 0) : 0;
      display.line(`${modelName} goes on at ${percent(fraction)} of ${phase}.`);
      continue;
    }
    const reasons = pending.get(modelId)?.reasons ?? [];
    display.line(`${modelName} needs migration:`);
    for (const { message } of reasons) display.line(`  - ${message}`);
  }
}

/** Shows the progress until everything is migrated, or `signal` ends it. */
async function watch(store: StoreV2, display: Display, signal: AbortSignal): Promise<End> {
  const migrated = Promise.all([store.awaitMigration(1, { signal }), store.awaitMigration(2, { signal })]);
  const isOver = migrated.then(
    () => true,
    () => true,
  );
  let last: MigrationStatus | undefined;
  for (;;) {
    const statuses = await store.migrationStatuses();
    const current =
      statuses.find(({ state }) => state !== 'Idle' && state !== 'Waiting') ??
      statuses.find(({ state }) => state !== 'Idle');
    if (current !== undefined) {
      last = current;
      display.status(() => progressLine(current));
    }
    if (await Promise.race([isOver, setTimeout(lookIntervalMs, false)])) break;
  }
  if (signal.aborted) {
    display.line(`Stopped at about ${placeOf(last)}. npm start goes on there.`);
    return 'stopped';
  }
  await migrated;
  return 'migrated';
}

function placeOf(status: MigrationStatus | undefined): string {
  if (status === undefined) return 'the beginning';
  const { modelName, phase, progress } = status;
  return `${percent(progress.fraction ?? 0)} of ${phase ?? 'Expand'} of ${modelName}`;
}

function progressLine({ modelName, state, reason, phase, progress, etaMs }: MigrationStatus): string {
  if (state !== 'Running') {
    return `${modelName}: ${state}${reason === undefined ? '' : `, ${reason.message}`}`;
  }
  const { fraction, recordsDone, recordsEstimated, recordsPerSecond } = progress;
  const parts = [`${thousands(recordsDone)} records`];
  // Verify goes on with the index entries, which are no records.
  if (recordsDone === recordsEstimated) parts.push('index entries');
  else {
    if (recordsPerSecond > 0) parts.push(`${thousands(recordsPerSecond)}/s`);
    if (etaMs !== null) parts.push(`${seconds(etaMs)} left`);
  }
  const name = `${modelName.padEnd(7)} ${(phase ?? '').padEnd(8)}`;
  return `${name} ${bar(fraction ?? 0)} ${percent(fraction ?? 0).padStart(7)}  ${parts.join(', ')}`;
}
