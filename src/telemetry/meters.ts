import type { Registry } from 'prom-client';
import { Counter, Gauge } from 'prom-client';

export type { Registry };

/** What this process does for migrations, counted where it happens. The cluster-wide, persisted counters are others. */
export interface MigrationMeters {
  chunkCommitted(
    modelName: string,
    chunk: {
      readonly records: number;
      readonly bytes: number;
      readonly conflicts: number;
      readonly seconds: number;
    },
  ): void;
  /** An audit event of this process. */
  audited(modelName: string, type: string): void;
  progressed(modelName: string, state: string, fraction: number | null): void;
  /** What migrates a model crashed, and was started again. */
  actorRestarted(modelName: string): void;
  /** Something that must never fail a migration did: a reporter, a subscriber, the bus. */
  swallowed(): void;
}

export const silentMeters: MigrationMeters = {
  chunkCommitted: () => undefined,
  audited: () => undefined,
  progressed: () => undefined,
  actorRestarted: () => undefined,
  swallowed: () => undefined,
};

const states = ['Idle', 'Waiting', 'Running', 'Paused', 'Canceled', 'Failed'] as const;

/** Registers the metrics once per registry; every store of the process has its own label. */
export function createMigrationMeters(registry: Registry, store: string): MigrationMeters {
  const labelNames = ['store', 'model'] as const;
  const records = counter(registry, 'godwit_migration_records_moved_total', 'Records moved.', labelNames);
  const bytes = counter(
    registry,
    'godwit_migration_bytes_moved_total',
    'Bytes of moved records.',
    labelNames,
  );
  const chunks = counter(registry, 'godwit_migration_chunks_total', 'Chunks committed.', labelNames);
  const seconds = counter(
    registry,
    'godwit_migration_chunk_seconds_total',
    'Time from the read of a chunk to its commit.',
    labelNames,
  );
  const conflicts = counter(
    registry,
    'godwit_migration_chunk_conflicts_total',
    'Attempts at a chunk that conflicted.',
    labelNames,
  );
  const events = counter(registry, 'godwit_migration_events_total', 'Audit events of this process.', [
    ...labelNames,
    'type',
  ]);
  const restarts = counter(
    registry,
    'godwit_migration_actor_restarts_total',
    'Migrations that crashed in this process and were started again.',
    labelNames,
  );
  const swallowed = counter(
    registry,
    'godwit_migration_swallowed_failures_total',
    'Failures of reporters, subscribers and the bus, which stop nothing.',
    ['store'],
  );
  const state = gauge(registry, 'godwit_migration_state', '1 for the state that the model is in.', [
    ...labelNames,
    'state',
  ]);
  const progress = gauge(
    registry,
    'godwit_migration_progress_ratio',
    'Progress of the present phase, 0 to 1.',
    labelNames,
  );
  return {
    chunkCommitted(model, chunk) {
      const labels = { store, model };
      records.inc(labels, chunk.records);
      bytes.inc(labels, chunk.bytes);
      chunks.inc(labels);
      seconds.inc(labels, chunk.seconds);
      conflicts.inc(labels, chunk.conflicts);
    },
    audited: (model, type) => events.inc({ store, model, type }),
    progressed(model, present, fraction) {
      for (const one of states) state.set({ store, model, state: one }, one === present ? 1 : 0);
      if (fraction !== null) progress.set({ store, model }, fraction);
    },
    actorRestarted: (model) => restarts.inc({ store, model }),
    swallowed: () => swallowed.inc({ store }),
  };
}

/** The metric of this name, made if the registry has none yet: two stores share one. */
function counter<L extends string>(registry: Registry, name: string, help: string, labelNames: readonly L[]) {
  const known = registry.getSingleMetric(name);
  if (known !== undefined) return known as unknown as Counter<L>;
  return new Counter<L>({ name, help, labelNames: [...labelNames], registers: [registry] });
}

function gauge<L extends string>(registry: Registry, name: string, help: string, labelNames: readonly L[]) {
  const known = registry.getSingleMetric(name);
  if (known !== undefined) return known as unknown as Gauge<L>;
  return new Gauge<L>({ name, help, labelNames: [...labelNames], registers: [registry] });
}
