import type { KeyValueDatabase } from '../kv/kv.ts';
import type { Clock } from '../ports/clock.ts';
import type { Random } from '../ports/random.ts';
import type { TransformAnswer, TransformTask } from '../../workers/transform.ts';
import type { WorkerPool } from '../ports/pool.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { StoreKeys } from '../records/keys.ts';
import type { StoredForms } from '../records/stored-forms.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { MigrationEventHub } from './events.ts';
import type { MigrationHandlers } from './handlers.ts';
import type { LeaseHandle, MigrationLease } from './lease.ts';
import type { RetryPolicy } from './retry.ts';
import type { MigrationPhase, MigrationState } from './state.ts';

/** What all migrations of one open store share. */
export interface MigrationRuntime {
  readonly database: KeyValueDatabase;
  readonly keys: StoreKeys;
  readonly clock: Clock;
  readonly random: Random;
  readonly pool: WorkerPool<TransformTask, TransformAnswer>;
  readonly lease: MigrationLease;
  readonly events: MigrationEventHub;
  readonly logger: Logger;
  readonly nodeId: string;
  /** One per open store; claims are made in its name. */
  readonly session: string;
  readonly heartbeatMs: number;
  readonly retryPolicy: RetryPolicy;
  readonly verification: 'full' | 'off' | { readonly sampleRatio: number };
  readonly maxBackfillConcurrency: number;
  readonly throttle: Throttle;
  /** What hand-written handlers get as `context.store`, bound to one step. */
  createContextStore(scope: ContextScope): unknown;
}

/** Slows the movers of this process down. */
export interface Throttle {
  /** Waits until `records` more may be moved. Resolves at once where there is no limit, and when aborted. */
  take(records: number, signal: AbortSignal): Promise<void>;
}

/** Which step a context store belongs to: it passes the gate of this model alone, and ends with the step. */
export interface ContextScope {
  readonly migration: ModelMigration;
  readonly held: HeldMigration;
  assertAlive(): void;
}

/** One model's migration in this process. */
export interface ModelMigration {
  readonly runtime: MigrationRuntime;
  readonly model: ConfiguredModel;
  readonly forms: StoredForms;
  readonly handlers: MigrationHandlers;
  /** Aborted when this process shall stop working on it, at the next boundary. */
  readonly stop: AbortSignal;
  /** The ownership, from the acquiring transaction to release or loss. */
  held: HeldMigration | undefined;
  /** What went wrong outside any state that could be written. */
  trouble: unknown;
  /** Why it waits, for the status of this node. */
  waitingFor: 'lease' | undefined;
}

/** A migration this node owns now. */
export interface HeldMigration {
  readonly lease: LeaseHandle;
  /** As last written by this owner: nobody else writes it while the lease is held. */
  state: MigrationState;
}

export function phaseAfter(phase: MigrationPhase): MigrationPhase | 'publishing' {
  switch (phase) {
    case 'Expand':
      return 'Backfill';
    case 'Backfill':
      return 'Verify';
    case 'Verify':
      return 'Contract';
    case 'Contract':
      return 'publishing';
  }
}
