/**
 * Every metric that Godwit keeps, as data. Registration goes by it, docs/observability/metrics.md is the same table, and
 * the alert rules beside that page may name nothing else: tests compare them.
 *
 * Names follow Prometheus: base units, `_total` for counters, `_ratio` from 0 to 1. Labels come from bounded sets.
 */
export interface MetricDefinition {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labelNames: readonly MetricLabel[];
  /** Upper bounds of a histogram's buckets, in the unit of its name. */
  readonly buckets?: readonly number[] | undefined;
}

export type MetricLabel =
  'store' | 'model' | 'state' | 'phase' | 'pass' | 'type' | 'code' | 'kind' | 'cause' | 'version' | 'engine';

/** Values of the labels that have a closed set of them. */
export const labelValues = {
  state: ['Idle', 'Waiting', 'Running', 'Paused', 'Canceled', 'Failed'],
  phase: ['Expand', 'Backfill', 'Verify', 'Contract'],
  pass: ['backfill', 'index', 'verify'],
  type: [
    'LeaseAcquired',
    'LeaseRejected',
    'PhaseStarted',
    'PhaseCompleted',
    'Partial',
    'RetryScheduled',
    'Failed',
    'Paused',
    'Resumed',
    'Canceled',
    'Completed',
  ],
  kind: ['record', 'missing', 'unexpected'],
  cause: ['limit', 'host', 'pressure'],
  engine: ['memory', 'embedded', 'foundationdb', 'other'],
} as const satisfies Partial<Record<MetricLabel, readonly string[]>>;

const ofStore = ['store'] as const;
const ofModel = ['store', 'model'] as const;

const counter = (name: string, help: string, labelNames: readonly MetricLabel[] = ofModel) =>
  ({ name, type: 'counter', help, labelNames }) as const satisfies MetricDefinition;
const gauge = (name: string, help: string, labelNames: readonly MetricLabel[] = ofModel) =>
  ({ name, type: 'gauge', help, labelNames }) as const satisfies MetricDefinition;
const histogram = (
  name: string,
  help: string,
  labelNames: readonly MetricLabel[],
  buckets: readonly number[],
) => ({ name, type: 'histogram', help, labelNames, buckets }) as const satisfies MetricDefinition;

export const metricDefinitions = {
  // Where each model stands, as the database has it
  state: gauge('godwit_migration_state', '1 for the state that the model is in, 0 for the others.', [
    ...ofModel,
    'state',
  ]),
  blocking: gauge('godwit_migration_blocking', '1 while requests to the model are refused.'),
  stalled: gauge('godwit_migration_stalled', '1 while the migration runs and nothing of it is committed.'),
  progress: gauge(
    'godwit_migration_progress_ratio',
    'Progress of the present phase, 0 to 1. Absent where nothing is under way, or where nobody knows.',
  ),
  eta: gauge(
    'godwit_migration_eta_seconds',
    'Until the present phase is over, at the measured rate. Absent where nothing runs, or where nobody knows.',
  ),
  lastEvent: gauge(
    'godwit_migration_last_event_timestamp_seconds',
    'Unix time of the last chunk or other event of the model on any node, by the clock of that node.',
  ),

  // What this process does for migrations
  events: counter('godwit_migration_events_total', 'Audit events of this process.', [...ofModel, 'type']),
  phaseDuration: histogram(
    'godwit_migration_phase_duration_seconds',
    'Phases that this process completed, from their first start on any node, pauses included.',
    [...ofModel, 'phase'],
    [0.1, 1, 5, 15, 60, 300, 900, 3_600, 14_400, 86_400],
  ),
  recordsMoved: counter('godwit_migration_records_moved_total', 'Records moved.'),
  bytesMoved: counter('godwit_migration_bytes_moved_total', 'Bytes of moved records.'),
  chunkDuration: histogram(
    'godwit_migration_chunk_duration_seconds',
    'Chunks committed, from the read to the commit.',
    [...ofModel, 'pass'],
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
  ),
  chunkRecords: histogram(
    'godwit_migration_chunk_records',
    'Records or index entries in each committed chunk.',
    [...ofModel, 'pass'],
    [1, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000],
  ),
  chunkBytes: histogram(
    'godwit_migration_chunk_bytes',
    'Bytes of each committed chunk: written in a backfill, read in the other passes.',
    [...ofModel, 'pass'],
    [1_000, 10_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000],
  ),
  conflicts: counter('godwit_migration_chunk_conflicts_total', 'Attempts at a chunk that conflicted.'),
  throttled: counter(
    'godwit_migration_throttled_seconds_total',
    'Time that chunks waited for the limit, for the host, or because of back pressure.',
    [...ofModel, 'cause'],
  ),
  quarantined: counter('godwit_migration_quarantined_records_total', 'Records that were set aside.'),
  retries: counter(
    'godwit_migration_retries_total',
    'Retries of a step, by what went wrong; other: a handler asked for it.',
    [...ofModel, 'code'],
  ),
  interruptions: counter(
    'godwit_migration_interruptions_total',
    'Times that something outside the migration interrupted it, the database for one.',
    [...ofModel, 'code'],
  ),
  findings: counter(
    'godwit_migration_verification_findings_total',
    'What verifications that this process led have found: records that are not as they should be, index entries that are missing or unexpected.',
    [...ofModel, 'kind'],
  ),
  takeovers: counter(
    'godwit_migration_lease_takeovers_total',
    'Leases that this process took from an owner that was silent, dead or displaced.',
  ),
  losses: counter(
    'godwit_migration_lease_losses_total',
    'Leases that this process had and lost, whoever took them.',
  ),
  restarts: counter(
    'godwit_migration_actor_restarts_total',
    'Migrations that crashed in this process and were started again.',
  ),
  swallowed: counter(
    'godwit_migration_swallowed_failures_total',
    'Failures of reporters, subscribers and the bus, which stop nothing.',
    ofStore,
  ),

  // Around them
  storeInfo: gauge('godwit_store_info', '1 for each open store.', [...ofStore, 'version', 'engine']),
  busConnected: gauge('godwit_bus_connected', '1 while the message bus is connected.', ofStore),
  busDropped: counter('godwit_bus_dropped_messages_total', 'Messages that the bus did not take.', ofStore),
  busFailures: counter(
    'godwit_bus_failures_total',
    'What went wrong with the bus: refused, thrown, no connection.',
    ofStore,
  ),
  poolThreads: gauge(
    'godwit_pool_threads',
    'Worker threads of the pool that the store uses. Stores that share a pool show the same one.',
    ofStore,
  ),
  poolQueued: gauge('godwit_pool_queued_tasks', 'Tasks that wait for a thread of the pool.', ofStore),
  poolUtilization: gauge(
    'godwit_pool_utilization_ratio',
    'Part of the threads that the pool may have which has a task, 0 to 1.',
    ofStore,
  ),
} as const satisfies Readonly<Record<string, MetricDefinition>>;
