import type {
  AcquireResult,
  ApprovalResult,
  MigrationInput,
  PublishResult,
  RecoverResult,
  RetryResult,
  StepInput,
  StepResult,
  WaitResult,
} from '../../machines/migration.ts';
import type { ErrorCode } from '../errors.ts';
import { GodwitException } from '../errors.ts';
import { KeyValueError } from '../kv/kv.ts';
import { acquireMigration } from './acquire.ts';
import type { Assistant } from './assist.ts';
import { assist } from './assist.ts';
import { awaitApproval } from './await-approval.ts';
import { hasAuditEvent } from './audit.ts';
import { readAnyIntent } from './intent.ts';
import { watchForStop } from './intent-watch.ts';
import type { LeaseRefused } from './lease.ts';
import { readOwner } from './owner.ts';
import { planModel, readStoredModel } from './plan.ts';
import { migrationIdOf } from './read-status.ts';
import { publishIfCompatible } from './publish-model.ts';
import { publishMigration } from './publish-migration.ts';
import { backoffMs, isRetryable } from './retry.ts';
import type { HeldMigration, ModelMigration } from './runtime.ts';
import { loggerOf, phaseAfter } from './runtime.ts';
import { errorOf } from './step-transitions.ts';
import { isHalted, readState } from './state.ts';
import { isLeaseLost, runStep } from './step.ts';
import { auditEvent, recordInTransaction } from './transition.ts';
import { waitForOthers } from './wait-for-others.ts';
import { eitherOf, watchUntil } from './watch.ts';

/**
 * What the migration machine calls: the effects of its states, for the migrations of one process. Each answers what
 * happened, and the machine decides what comes next.
 */
export interface MigrationEffects {
  acquireLease(input: MigrationInput): Promise<AcquireResult>;
  runStep(input: StepInput): Promise<StepResult>;
  awaitApproval(input: MigrationInput): Promise<ApprovalResult>;
  publish(input: MigrationInput): Promise<PublishResult>;
  waitForRetry(input: StepInput): Promise<RetryResult>;
  waitForResume(input: MigrationInput): Promise<WaitResult>;
  recover(input: MigrationInput & { readonly error: unknown }): Promise<RecoverResult>;
}

export function createMigrationEffects(migrations: ReadonlyMap<number, ModelMigration>): MigrationEffects {
  const find = ({ modelId }: MigrationInput): ModelMigration => {
    const migration = migrations.get(modelId);
    if (migration === undefined) throw new Error(`model ${modelId} has no migration here`);
    return migration;
  };
  return {
    acquireLease: (input) => acquire(find(input)),
    runStep: async (input) => {
      const migration = find(input);
      return owning(migration, async (held) => {
        // Between two steps: a handler that answers Partial again and again would not be stopped otherwise.
        if (migration.stop.aborted) return { type: 'stopped' };
        // Also after a restart: the delay of a retry is persisted.
        const waited = await waitOut(migration, held);
        return waited ?? runStep(migration, held, input.phase);
      });
    },
    awaitApproval: (input) => {
      const migration = find(input);
      return owning<ApprovalResult>(migration, (held) => awaitApproval(migration, held));
    },
    publish: (input) => {
      const migration = find(input);
      return owning(migration, (held) => publishStep(migration, held), 'releaseWhenDone');
    },
    waitForRetry: async (input) => {
      const migration = find(input);
      return owning<RetryResult>(
        migration,
        async (held) => (await waitOut(migration, held)) ?? { type: 'over' },
      );
    },
    waitForResume: (input) => waitForResume(find(input)),
    recover: ({ modelId, error }) => recover(find({ modelId }), error),
  };
}

async function acquire(migration: ModelMigration): Promise<AcquireResult> {
  let assistant: Assistant | undefined;
  try {
    return await acquireOrAssist(migration, () => {
      assistant ??= assist(migration);
    });
  } finally {
    // What it claimed is free again, and nothing of it is under way when this process leads.
    await assistant?.end();
  }
}

/** @param onOther called when another node leads */
async function acquireOrAssist(migration: ModelMigration, onOther: () => void): Promise<AcquireResult> {
  const { runtime, stop } = migration;
  let isRejectionAudited = false;
  if (runtime.role === 'assist') onOther();
  for (;;) {
    if (stop.aborted) return { type: 'stopped' };
    const acquisition = await (runtime.role === 'migrate' ? acquireMigration : waitForOthers)(migration);
    switch (acquisition.type) {
      case 'stopped':
        return acquisition;
      case 'granted': {
        const { held } = acquisition;
        migration.held = held;
        migration.startToTakeBack = undefined;
        standsWell(migration);
        if (held.lease.takeover) runtime.meters.leaseTakenOver(migration.model.name);
        const { phase, phaseCompleted } = held.state;
        return { type: 'granted', goOn: phaseCompleted ? phaseAfter(phase) : phase };
      }
      case 'publish':
        await runtime.database.transact((tx) => publishIfCompatible(tx, migration.configured));
        continue;
      case 'nothingToDo':
        standsWell(migration);
        // Whoever did it may have died before it could say so.
        runtime.events.changed(migration.model);
        return { type: 'nothingToDo' };
      case 'halted':
        if (acquisition.error !== undefined) troubled(migration, acquisition.error);
        return { type: 'halted', as: acquisition.as };
      case 'refused':
        if (!isRejectionAudited) await auditRejection(migration, acquisition.refused);
        isRejectionAudited = true;
        // Whatever went wrong here before, another node is at it.
        migration.trouble = undefined;
        waits(migration, acquisition.refused);
        onOther();
        await acquisition.refused.worthRetrying(stop);
    }
  }
}

/**
 * Runs what needs the ownership, and gives it up where the answer says that it is over: a migration that stands still
 * keeps nobody else from it.
 */
async function owning<T extends StepResult | RetryResult | ApprovalResult>(
  migration: ModelMigration,
  work: (held: HeldMigration) => Promise<T>,
  whenCompleted: 'keepWhenDone' | 'releaseWhenDone' = 'keepWhenDone',
): Promise<T | { readonly type: 'leaseLost' }> {
  const { held } = migration;
  if (held === undefined) return { type: 'leaseLost' };
  try {
    const result = await work(held);
    const isOver =
      result.type === 'halted' ||
      result.type === 'stopped' ||
      (whenCompleted === 'releaseWhenDone' && (result.type === 'completed' || result.type === 'partial'));
    if (isOver) await letGo(migration);
    return result;
  } catch (error) {
    // A lease of somebody else's may be lost for a reason of its own.
    if (!isLeaseLost(error) && !held.lease.lost.aborted) throw error;
    tellLoss(migration, held, held.lease.lost.reason ?? error);
    // A start that it had begun is no failed attempt; the next owner may be this process. One that ended is none to
    // take back.
    const isUnderWay = !held.isFresh && held.state.status === 'Running' && !held.state.phaseCompleted;
    migration.startToTakeBack = isUnderWay ? held.state.revision : undefined;
    await letGo(migration);
    return { type: 'leaseLost' };
  }
}

/** A lease that nobody took has a cause to be lost: what beats for it has failed. */
function tellLoss({ runtime, model }: ModelMigration, { logger }: HeldMigration, reason: unknown): void {
  runtime.meters.leaseLost(model.name);
  const code: ErrorCode = 'LEASE_LOST';
  if (!(reason instanceof Error) || reason.cause === undefined) {
    logger.warn({ code, err: reason }, 'the lease of a migration was lost');
  } else logger.error({ code, err: reason.cause }, 'the heartbeats of a lease have ended');
}

/** `partial`: a step of a chain of versions is published, and there are others. */
async function publishStep(migration: ModelMigration, held: HeldMigration): Promise<PublishResult> {
  const result = await publishMigration(migration, held);
  if (result.type !== 'completed' || migration.model === migration.configured) return result;
  return { type: 'partial' };
}

/** Releases the lease. A release that fails is made up for by the lease's end. */
export async function letGo(migration: ModelMigration): Promise<void> {
  const { held, runtime, model } = migration;
  const logger = loggerOf(migration);
  migration.held = undefined;
  try {
    await held?.lease.release();
  } catch (error) {
    logger.warn({ err: error }, 'a lease could not be released');
  }
  // The status of the last commit may have been read before: it names an owner that is none any more.
  if (held !== undefined) runtime.events.changed(model);
}

/** Waits until a retry is due, an operator intervenes (the next start sees it), or this process shall stop. */
async function waitOut(
  migration: ModelMigration,
  held: HeldMigration,
): Promise<{ readonly type: 'stopped' | 'leaseLost' } | undefined> {
  const { runtime, stop } = migration;
  const { status, retryAtMs } = held.state;
  if (status !== 'Retry' || retryAtMs === null) return undefined;
  const delayMs = Math.max(0, retryAtMs - runtime.clock.wallMs());
  const watching = watchForStop(migration, held);
  const signal = AbortSignal.any([watching.signal, stop, held.lease.lost]);
  await eitherOf(runtime.clock, [], delayMs, signal, { ref: true });
  watching.end();
  if (held.lease.lost.aborted) throw held.lease.lost.reason;
  return stop.aborted ? { type: 'stopped' } : undefined;
}

async function waitForResume(migration: ModelMigration): Promise<WaitResult> {
  const { runtime, model, stop } = migration;
  const { keys } = model;
  let seenIntent: number | undefined;
  let seenPlan: string | undefined;
  const over = await watchUntil({
    database: runtime.database,
    clock: runtime.clock,
    keys: [keys.state, keys.intent, keys.fence, keys.owner],
    signal: stop,
    look: async (tx) => {
      const [state, intent, stored, owner] = await Promise.all([
        readState(tx, keys),
        readAnyIntent(tx, keys),
        readStoredModel(tx, keys),
        readOwner(tx, keys),
      ]);
      const planned = planModel(stored, migration.configured);
      if (migration.trouble === undefined) {
        // What stands still may be a migration that is not this program's any more: its own is still to begin.
        return isHalted(state) && state?.migrationId === migrationIdOf(planned) ? undefined : true;
      }
      // It failed in this process alone: an operator's word, or another state of things, is worth another try.
      const standing = state?.migrationId ?? '';
      const plan = `${planned.type} ${stored?.fence.schemaEpoch ?? 0} ${owner?.token ?? ''} ${standing}`;
      seenIntent ??= intent?.revision ?? 0;
      seenPlan ??= plan;
      return (intent?.revision ?? 0) > seenIntent || plan !== seenPlan ? true : undefined;
    },
  });
  return over === undefined ? { type: 'stopped' } : { type: 'over' };
}

/** What threw out of an effect: the database failed, or this library did. */
async function recover(migration: ModelMigration, error: unknown): Promise<RecoverResult> {
  const { runtime, model, stop } = migration;
  const logger = loggerOf(migration);
  await letGo(migration);
  if (stop.aborted) return { type: 'stopped' };
  runtime.meters.interrupted(model.name, codeOf(error));
  if (!isRetryable(error) && !(error instanceof KeyValueError)) {
    troubled(migration, error, logger);
    return { type: 'halted', as: 'failed' };
  }
  migration.recoveries += 1;
  const delayMs = backoffMs(migration.recoveries, runtime.random);
  logger.warn({ code: codeOf(error), err: error, delayMs }, 'a migration was interrupted, and goes on');
  await eitherOf(runtime.clock, [], delayMs, stop, { ref: true });
  return stop.aborted ? { type: 'stopped' } : { type: 'over' };
}

/** It failed in this process alone, where no state could be written. */
function troubled(migration: ModelMigration, error: unknown, logger = loggerOf(migration)): void {
  const { runtime, model } = migration;
  const code = codeOf(error);
  logger.error({ code, err: error }, 'a migration failed in this process');
  const message = error instanceof Error ? error.message : `a ${typeof error} was thrown, not an Error`;
  migration.trouble = errorOf(runtime.clock.wallMs(), code, message);
  migration.reason = undefined;
  runtime.events.changed(model);
}

/** Whatever comes out of the database is one code to whoever reads the log; its number is in the error. */
function codeOf(error: unknown): ErrorCode {
  if (error instanceof GodwitException) return error.code;
  return error instanceof KeyValueError ? 'STORAGE_FAILED' : 'HANDLER_FAILED';
}

function standsWell(migration: ModelMigration): void {
  migration.mismatch = undefined;
  migration.trouble = undefined;
  migration.reason = undefined;
  migration.recoveries = 0;
}

function waits(migration: ModelMigration, { holder }: LeaseRefused): void {
  const { runtime } = migration;
  if (migration.reason?.code === 'lease') return;
  const message = holder === undefined ? 'another node holds the lease' : `${holder.nodeId} holds the lease`;
  migration.reason = { code: 'lease', message, sinceMs: runtime.clock.wallMs() };
}

/** For the record only: that it could not be written keeps nobody from waiting. */
async function auditRejection(migration: ModelMigration, { holder }: LeaseRefused): Promise<void> {
  const { runtime, model } = migration;
  const about = { migrationId: migration.migrationId, phase: 'Expand', attempt: 0 } as const;
  const message = holder === undefined ? null : `held by ${holder.nodeId} under epoch ${holder.epoch}`;
  const event = auditEvent(migration, about, holder?.epoch ?? 0, { type: 'LeaseRejected', message });
  try {
    await runtime.database.transact(async (tx) => {
      if (tx.afterUnknownResult && (await hasAuditEvent(tx, model.keys, event))) return;
      recordInTransaction(tx, migration, [event], {});
    });
  } catch (error) {
    loggerOf(migration).warn({ err: error }, 'an audit event could not be kept');
  }
  runtime.events.committed(model, [event]);
}
