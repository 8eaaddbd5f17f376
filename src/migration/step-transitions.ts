import type { PublishResult, StepResult } from '../../machines/migration.ts';
import { MigrationException } from '../errors.ts';
import type { Transaction } from '../kv/kv.ts';
import { limits } from '../limits.ts';
import type { PassName } from '../records/keys.ts';
import { approvalSinceOf, describeApproval, needsApproval, readApproval } from './approval.ts';
import { isBackfill } from './handlers.ts';
import type { Intent } from './intent.ts';
import { isStopping } from './intent.ts';
import type { MigrationOutcome } from './outcome.ts';
import { clearRanges, readRanges } from './passes/ledger.ts';
import { backoffMs } from './retry.ts';
import type { HeldMigration, ModelMigration } from './runtime.ts';
import type { MigrationError, MigrationPhase, MigrationState } from './state.ts';
import { checkCursor, cutMessage } from './state.ts';
import type { AuditDraft, TransitionResult } from './transition.ts';
import { failUnlessCanceled, obey, transition } from './transition.ts';

/** Everything a step persists: its start, and each of its ends. One transaction each. */

export type Started = { readonly type: 'started' } | StepResult;

/**
 * Begins a step of a phase. A phase without work is completed in the same transaction. Starts without progress are
 * counted here, and the one too many fails the migration (protocol 13).
 */
export async function startPhase(
  migration: ModelMigration,
  held: HeldMigration,
  phase: MigrationPhase,
  work: { readonly isEmpty: boolean; readonly runsExpandHandler: boolean },
): Promise<Started> {
  const { runtime } = migration;
  const { maxAttempts = Number.POSITIVE_INFINITY } = runtime.retryPolicy;
  const isFresh = held.isFresh;
  const started = await transition<Started>(migration, held, async (tx, state, intent) => {
    if (isStopping(intent)) return obeyed(await obeyUncounted(tx, migration, state, intent));
    const approval = phase === 'Contract' ? await requireApproval(tx, migration, state) : null;
    const isNew = state.phase !== phase || state.attempt === 0;
    // An operator who resumes sets the attempts back, and the phase goes on.
    const isFirst = state.phase !== phase || state.phaseStartedMs.length === 0;
    const base = state.phase === phase ? state : enter(tx, migration, state, phase);
    const progress = await progressOf(tx, migration, base);
    const madeProgress = progress > base.progressSeen;
    const attempt = madeProgress ? 1 : base.attempt + 1;
    if (attempt > maxAttempts) {
      const message = `${phase} was started ${maxAttempts} times in a row without progress.`;
      const exhausted = errorOf(runtime.clock.wallMs(), 'RETRIES_EXHAUSTED', message);
      return failUnlessCanceled(tx, migration, state, intent, exhausted);
    }
    const next: MigrationState = {
      ...base,
      status: 'Running',
      attempt,
      progressSeen: progress,
      retryCount: madeProgress ? 0 : base.retryCount,
      retryAtMs: null,
      expandRan: base.expandRan || work.runsExpandHandler,
      phaseStartedMs: isFirst
        ? [...base.phaseStartedMs, runtime.clock.wallMs()].slice(-4)
        : base.phaseStartedMs,
      message: isNew && approval !== null ? cutMessage(approval) : base.message,
    };
    const audit: AuditDraft[] =
      isNew || isFresh || attempt > 1 ? [{ type: 'PhaseStarted', message: approval }] : [];
    if (!work.isEmpty) return { state: next, audit, answer: { type: 'started' } };
    return {
      state: completed(migration, next),
      audit: [...audit, { type: 'PhaseCompleted' }],
      answer: { type: 'completed' },
    };
  });
  held.isFresh = false;
  return started;
}

/**
 * The guard of Contract. It is read in the transaction that starts it, so that nothing but the row decides: not who waited,
 * and not what was there a moment before. Null where the present owner asks for no approval.
 */
async function requireApproval(
  tx: Transaction,
  migration: ModelMigration,
  state: MigrationState,
): Promise<string | null> {
  if (!needsApproval(migration, state)) return null;
  const approval = await readApproval(tx, migration.model.keys, state.migrationId);
  // Whoever waited for it saw it: it was taken away since, and is waited for again under the next ownership.
  if (approval === undefined) {
    throw new MigrationException(
      'LEASE_LOST',
      `The approval of ${state.migrationId} was taken away before Contract began.`,
      { details: { migrationId: state.migrationId } },
    );
  }
  return describeApproval(approval, state);
}

/** A phase that is done. */
function completed(migration: ModelMigration, state: MigrationState): MigrationState {
  const done: MigrationState = { ...state, phaseCompleted: true };
  const isUnverified = state.phase === 'Verify' && migration.runtime.verification === 'off';
  return {
    ...done,
    unverified: isUnverified ? true : done.unverified,
    approvalSinceMs: approvalSinceOf(migration, done),
  };
}

/** An operator's word before a start that has not been counted: there is none to take back. */
function obeyUncounted(
  tx: Transaction,
  migration: ModelMigration,
  state: MigrationState,
  intent: Intent,
): ReturnType<typeof obey> {
  return obey(tx, migration, { ...state, attempt: state.attempt + 1 }, intent);
}

/** Between two phases. Undefined: the operator's word was taken back meanwhile. */
export function obeyBeforeStart(
  migration: ModelMigration,
  held: HeldMigration,
): Promise<Extract<PublishResult, { readonly type: 'halted' }> | undefined> {
  return transition<Extract<PublishResult, { readonly type: 'halted' }> | undefined>(
    migration,
    held,
    async (tx, state, intent) =>
      isStopping(intent) ? obeyUncounted(tx, migration, state, intent) : { state, answer: undefined },
  );
}

/** What a phase begins with: nothing of the one before. */
function enter(
  tx: Transaction,
  { model }: ModelMigration,
  state: MigrationState,
  phase: MigrationPhase,
): MigrationState {
  if (phase === 'Verify') {
    clearRanges(tx, model.keys, 'verify');
    // An approval is of the verification that has passed.
    tx.clear(model.keys.approval);
  }
  return {
    ...state,
    phase,
    phaseCompleted: false,
    attempt: 0,
    retryCount: 0,
    cursor: null,
    message: null,
    progressSeen: 0,
    advances: 0,
    reportedRecords: 0,
    reportedFraction: null,
    handlerSucceeded: false,
    unverified: phase === 'Contract' ? state.unverified : undefined,
    approvalSinceMs: phase === 'Contract' ? state.approvalSinceMs : undefined,
  };
}

/** How far the phase has come, as a number that grows: records of its ranges, and steps of its handler. */
async function progressOf(
  tx: Transaction,
  { model: { keys } }: ModelMigration,
  { phase, advances }: MigrationState,
): Promise<number> {
  const passes = phase === 'Backfill' ? (['backfill', 'index'] as const) : (['verify'] as const);
  const rows = await Promise.all(passes.map((pass) => readRanges(tx, keys, pass, { snapshot: true })));
  const moved = rows.flat().reduce((sum, { recordsRead, done }) => sum + recordsRead + (done ? 1 : 0), 0);
  return (phase === 'Backfill' || phase === 'Verify' ? moved : 0) + advances;
}

/** The handler of the phase is done; what the engine does after it is not. */
export async function finishHandler(migration: ModelMigration, held: HeldMigration): Promise<void> {
  await transition(migration, held, (_tx, state) =>
    Promise.resolve({
      state: { ...state, handlerSucceeded: true, retryCount: 0, advances: state.advances + 1 },
      answer: undefined,
    }),
  );
}

/**
 * Ends the phase, which ends only when every range of its pass is at its end: they are read normally here. Others may be
 * left from a program with other handlers or options.
 *
 * @param note what the audit event says
 */
export function completePhase(
  migration: ModelMigration,
  held: HeldMigration,
  note: string | null = null,
): Promise<StepResult> {
  return transition<StepResult>(migration, held, async (tx, state) => {
    const pass = passOf(migration, state);
    const rows = pass === undefined ? [] : await readRanges(tx, migration.model.keys, pass);
    if (rows.some(({ done }) => !done)) {
      throw new Error(`${state.phase} of ${state.migrationId} was to end before all of its ranges had`);
    }
    return {
      state: completed(migration, {
        ...state,
        status: 'Running',
        retryCount: 0,
        retryAtMs: null,
        lastError: null,
        message: null,
      }),
      audit: [{ type: 'PhaseCompleted', message: note }],
      answer: { type: 'completed' },
    };
  });
}

/** What the phase moves or reads in ranges, if it does. */
export function passOf(
  { runtime, handlers }: Pick<ModelMigration, 'runtime' | 'handlers'>,
  { kind, phase }: MigrationState,
): PassName | undefined {
  if (phase === 'Backfill')
    return kind === 'migration' && isBackfill(handlers.backfill) ? 'backfill' : 'index';
  return phase === 'Verify' && runtime.verification !== 'off' ? 'verify' : undefined;
}

export function recordPartial(
  migration: ModelMigration,
  held: HeldMigration,
  outcome: Extract<MigrationOutcome, { type: 'Partial' }>,
): Promise<StepResult> {
  const message = outcome.message ?? null;
  return transition<StepResult>(migration, held, (_tx, state) => {
    const moved = withCursor(state, outcome.nextCursor);
    return Promise.resolve({
      state: { ...moved, status: 'Partial', message: message === null ? null : cutMessage(message) },
      audit: [{ type: 'Partial', message }],
      counts: { partials: 1 },
      answer: { type: 'partial' },
    });
  });
}

/** @param cause what went wrong; a handler that only asked for another try has none */
export async function recordRetry(
  migration: ModelMigration,
  held: HeldMigration,
  outcome: Extract<MigrationOutcome, { type: 'Retry' }>,
  cause: MigrationError | undefined,
): Promise<StepResult> {
  const { runtime } = migration;
  const { maxRetryOutcomes = Number.POSITIVE_INFINITY } = runtime.retryPolicy;
  const result = await transition<StepResult>(migration, held, async (tx, state, intent) => {
    const cursored = withCursor(state, outcome.nextCursor);
    const progress = await progressOf(tx, migration, cursored);
    const moved = { ...cursored, progressSeen: Math.max(progress, cursored.progressSeen) };
    const retryCount = progress > state.progressSeen ? 1 : state.retryCount + 1;
    const message = outcome.message ?? cause?.message ?? null;
    if (retryCount > maxRetryOutcomes) {
      const text = `${state.phase} asked for more than ${maxRetryOutcomes} retries in a row${
        message === null ? '' : `: ${message}`
      }.`;
      const exhausted = errorOf(runtime.clock.wallMs(), 'RETRIES_EXHAUSTED', text);
      return failUnlessCanceled(tx, migration, moved, intent, exhausted);
    }
    const delayMs = Math.min(outcome.retryAfterMs ?? backoffMs(retryCount, runtime.random), maxRetryAfterMs);
    return {
      state: {
        ...moved,
        status: 'Retry',
        // A start that brought the cursor forward is no failed attempt.
        attempt: progress > state.progressSeen ? 0 : state.attempt,
        retryCount,
        retryAtMs: runtime.clock.wallMs() + delayMs,
        message: message === null ? null : cutMessage(message),
        lastError: cause === undefined ? state.lastError : { ...cause, message: cutMessage(cause.message) },
      },
      audit: [
        { type: 'RetryScheduled', message: `in ${delayMs} ms${message === null ? '' : `: ${message}`}` },
      ],
      counts: { retries: 1 },
      answer: { type: 'retry' },
    };
  });
  if (result.type === 'retry') runtime.meters.retryScheduled(migration.model.name, cause?.code);
  return result;
}

const maxRetryAfterMs = limits.migration.handlerDelayMs.value;

export function recordFailure(
  migration: ModelMigration,
  held: HeldMigration,
  error: MigrationError,
): Promise<StepResult> {
  return transition<StepResult>(migration, held, (tx, state, intent) =>
    failUnlessCanceled(tx, migration, state, intent, error),
  );
}

type Obedience = Extract<PublishResult, { readonly type: 'partial' | 'halted' }>;

/** An operator's word ended the step. It may have been taken back meanwhile: then the step is only repeated. */
export function recordObedience(migration: ModelMigration, held: HeldMigration): Promise<Obedience> {
  return transition<Obedience>(migration, held, async (tx, state, intent: Intent | undefined) => {
    if (!isStopping(intent)) return { state: takenBack(state), answer: { type: 'partial' } };
    const result: TransitionResult<Obedience> = await obey(tx, migration, state, intent);
    return result;
  });
}

/** This process is to stop: the start that it ends is no failed attempt. */
export function recordStop(migration: ModelMigration, held: HeldMigration): Promise<StepResult> {
  return transition<StepResult>(migration, held, (_tx, state) =>
    Promise.resolve({ state: takenBack(state), answer: { type: 'stopped' } }),
  );
}

function takenBack(state: MigrationState): MigrationState {
  return { ...state, attempt: Math.max(0, state.attempt - 1) };
}

function withCursor(state: MigrationState, nextCursor: string | undefined): MigrationState {
  if (nextCursor === undefined || nextCursor === state.cursor) return state;
  return { ...state, cursor: checkCursor(nextCursor), advances: state.advances + 1 };
}

function obeyed<T extends StepResult>(result: TransitionResult<T>): TransitionResult<StepResult> {
  return result;
}

export function errorOf(atMs: number, code: string, message: string, retryable = false): MigrationError {
  return { code, message, atMs, retryable };
}
