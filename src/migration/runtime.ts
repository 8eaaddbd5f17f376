import type { KeyValueDatabase } from '../kv/kv.ts';
import type { Clock } from '../ports/clock.ts';
import type { Random } from '../ports/random.ts';
import type { TransformAnswer, TransformTask } from '../../workers/transform.ts';
import type { BusState } from '../cluster/bus.ts';
import type { WorkHints } from '../cluster/work-hints.ts';
import type { WorkerPool } from '../ports/pool.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { StoreKeys } from '../records/keys.ts';
import type { StoredForms } from '../records/stored-forms.ts';
import type { Logger, MigrationLoggers } from '../telemetry/logger.ts';
import type { MigrationMeters } from '../telemetry/meters.ts';
import type { ContractApproval } from './approval.ts';
import type { MigrationEventHub } from './events.ts';
import type { MigrationHandlers } from './handlers.ts';
import type { HostThrottle } from './host-throttle.ts';
import type { LeaseHandle, MigrationLease } from './lease.ts';
import type { StoredModel } from './plan.ts';
import type { Sessions } from './sessions.ts';
import type { ChunkControl } from './passes/controller.ts';
import type { GiveWay } from './passes/give-way.ts';
import type { RetryPolicy } from './retry.ts';
import type { MigrationError, MigrationPhase, MigrationState } from './state.ts';
import type { MigrationReason } from './status.ts';
import type { RateLimit } from './throttle.ts';
import type { CheckedVerification } from './verification.ts';

/** Threads that run what `workers/transform.ts` does. */
export type TransformPool = WorkerPool<TransformTask, TransformAnswer>;

/** Leads migrations and helps others, only helps, or does neither. */
export type MigrationRole = 'migrate' | 'assist' | 'wait';

/** What all migrations of one open store share. */
export interface MigrationRuntime {
  readonly database: KeyValueDatabase;
  readonly keys: StoreKeys;
  readonly clock: Clock;
  readonly random: Random;
  readonly pool: TransformPool;
  readonly lease: MigrationLease;
  readonly events: MigrationEventHub;
  /** Null for a bus that does not tell. */
  readonly busState: () => BusState | null;
  /** For what is about no migration. */
  readonly logger: Logger;
  readonly loggerFor: MigrationLoggers;
  readonly meters: MigrationMeters;
  readonly role: MigrationRole;
  readonly nodeId: string;
  /** One per open store; claims are made in its name. */
  readonly session: string;
  readonly sessions: Sessions;
  readonly hints: WorkHints;
  readonly leastSplitRecords: number;
  readonly firstChunk: ChunkControl;
  readonly heartbeatMs: number;
  readonly retryPolicy: RetryPolicy;
  readonly verification: 'off' | CheckedVerification;
  readonly contractApproval: ContractApproval;
  readonly maxBackfillConcurrency: number;
  readonly throttle: Throttle;
  readonly giveWay: GiveWay;
  /** Without a commit for so long a migration is stalled, milliseconds. */
  readonly stalledAfterMs: number;
  /** The models that this process has something to do for, by id. */
  readonly migrations: ReadonlyMap<number, ModelMigration>;
  /** What hand-written handlers get as `context.store`, bound to one step. */
  createContextStore(scope: ContextScope): unknown;
}

/** What of it an operator's word needs: there may be no program behind it that could migrate. */
export type OperatorRuntime = Pick<
  MigrationRuntime,
  'database' | 'clock' | 'random' | 'lease' | 'busState' | 'nodeId' | 'migrations' | 'stalledAfterMs'
> & {
  readonly events: Pick<MigrationEventHub, 'persist' | 'committed' | 'changed'>;
  readonly sessions: Pick<Sessions, 'find'>;
};

/** What slows the movers of this process down, besides the database. */
export interface Throttle {
  readonly limit: RateLimit | undefined;
  readonly host: HostThrottle | undefined;
}

/** Which step a context store belongs to: it passes the gate of this model alone, and ends with the step. */
export interface ContextScope {
  readonly migration: ModelMigration;
  readonly held: HeldMigration;
  /** Runs work that the step waits for, and refuses it with CONTEXT_EXPIRED once the step has ended. */
  readonly track: <T>(work: () => Promise<T>) => Promise<T>;
}

/** One model's migration in this process. */
export interface ModelMigration {
  /** As planned when the store was opened. */
  readonly migrationId: string;
  readonly runtime: MigrationRuntime;
  /** Where nobody here owns it: the one of the ownership is in `held`. */
  readonly logger: Logger;
  /** As the program has it. */
  readonly configured: ConfiguredModel;
  /** What the migration under way leads to: the configured model, or an earlier one of its chain of versions. */
  model: ConfiguredModel;
  readonly forms: StoredForms;
  /** Of the migration under way. */
  handlers: MigrationHandlers;
  /** The handlers that lead from a stored version to a model. */
  readonly handlersFor: (target: ConfiguredModel, fromVersion: string) => MigrationHandlers;
  /** Aborted when this process shall stop working on it, at the next boundary. */
  readonly stop: AbortSignal;
  /** The ownership, from the acquiring transaction to release or loss. */
  held: HeldMigration | undefined;
  /** What went wrong outside any state that could be written. */
  trouble: MigrationError | undefined;
  /** Why it waits in this process. */
  reason: MigrationReason | undefined;
  /** Why it does not help the one who leads it now. */
  mismatch: MigrationReason | undefined;
  /** Ids of the models that have to be published before it, as far as they need migration themselves. */
  dependsOn: readonly number[];
  /** Times in a row that something outside the migration interrupted it. */
  recoveries: number;
  /** The revision of a start of a phase that was ended by losing the lease: it is no failed attempt. */
  startToTakeBack: number | undefined;
}

/** A migration this node owns now. */
export interface HeldMigration {
  readonly lease: LeaseHandle;
  /** Each of its lines has the model, the migration and the epoch. */
  readonly logger: Logger;
  /** As it was when the ownership began, the target's definition included. */
  readonly stored: StoredModel;
  /** The row since then. Whoever changes it, a reset or a newer program, ends what is done under it. */
  readonly fence: Buffer;
  /** As last written by this owner: nobody else writes it while the lease is held. */
  state: MigrationState;
  /** No step has begun under this ownership yet. */
  isFresh: boolean;
}

/** The logger of the ownership, or of the wait for one. */
export const loggerOf = ({ held, logger }: ModelMigration): Logger => held?.logger ?? logger;

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
