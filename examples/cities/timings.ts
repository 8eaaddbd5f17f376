import type { MigrationAuditEvent, MigrationPhase, WorkerPool } from '../../src/index.ts';

/** What this process knows of a phase, from the audit events that pass by. */
export interface PhaseTiming {
  readonly ms: number;
  /** Tasks that worker threads answered meanwhile. */
  readonly tasks: number;
}

export interface Timings {
  /** The store's audit reporter. */
  readonly report: (event: MigrationAuditEvent) => void;
  /** Undefined for what ended in an earlier run. */
  of(modelName: string, phase: MigrationPhase): PhaseTiming | undefined;
  /** Most threads seen. */
  readonly threads: number;
}

export function createTimings(pool: Pick<WorkerPool, 'completed' | 'threads'>): Timings {
  const started = new Map<string, { readonly atMs: number; readonly completed: number }>();
  const ended = new Map<string, PhaseTiming>();
  let threads = 0;
  return {
    report({ type, modelName, phase, timestampMs }) {
      const name = `${modelName} ${phase ?? ''}`;
      threads = Math.max(threads, pool.threads);
      if (type === 'PhaseStarted') started.set(name, { atMs: timestampMs, completed: pool.completed });
      const start = started.get(name);
      if (type !== 'PhaseCompleted' || start === undefined) return;
      ended.set(name, { ms: timestampMs - start.atMs, tasks: pool.completed - start.completed });
    },
    of: (modelName, phase) => ended.get(`${modelName} ${phase}`),
    get threads() {
      return threads;
    },
  };
}
