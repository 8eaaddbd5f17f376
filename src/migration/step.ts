import type { StepInput, StepResult } from '../../machines/migration.ts';
import { GodwitException, MigrationException } from '../errors.ts';
import { rangeOf } from '../records/keys.ts';
import { createStepContext } from './context.ts';
import { duplicatesOf } from './duplicates.ts';
import type { MigrationHandler } from './handlers.ts';
import { isBackfill } from './handlers.ts';
import type { MigrationOutcome } from './outcome.ts';
import { MigrationOutcome as Outcome, outcomeProblem } from './outcome.ts';
import { createIndexPass } from './passes/index-pass.ts';
import type { MoveEnd } from './passes/mover.ts';
import { runPass } from './passes/run-pass.ts';
import { createTransformPass } from './passes/transform-pass.ts';
import { createTransformSetups } from './passes/transform-setups.ts';
import { watchForStop } from './intent-watch.ts';
import { readStatus } from './read-status.ts';
import { isRetryable } from './retry.ts';
import type { HeldMigration, ModelMigration } from './runtime.ts';
import type { MigrationError, MigrationPhase, MigrationState } from './state.ts';
import { checkCursor } from './state.ts';
import {
  completePhase,
  finishHandler,
  recordFailure,
  recordObedience,
  recordPartial,
  recordRetry,
  recordStop,
  startPhase,
} from './step-transitions.ts';
import { verifyMigration } from './verify-step.ts';

/** How the work of a step ended, before anything of it is persisted. */
type WorkEnd =
  /** `note`: what the audit event of the phase's end says. */
  | { readonly type: 'outcome'; readonly outcome: MigrationOutcome; readonly note?: string }
  | { readonly type: 'threw'; readonly error: unknown }
  /** An operator's word was seen. */
  | { readonly type: 'intent' }
  | { readonly type: 'stopped' };

const success: Extract<WorkEnd, { type: 'outcome' }> = { type: 'outcome', outcome: Outcome.Success };

/** One step of a phase: started, done and persisted. What it throws is a fault that no state could be written for. */
export async function runStep(
  migration: ModelMigration,
  held: HeldMigration,
  phase: StepInput['phase'],
): Promise<StepResult> {
  if (phase === 'publishing') throw new Error('publishing is no phase');
  const isIndexBuild = held.state.kind === 'index';
  const handler = isIndexBuild ? undefined : handlerOf(migration, phase);
  const needsPass = phase === 'Backfill' ? hasPass(migration, held) : verifies(migration, phase);
  // Entries are all there is to fill and to verify; no record is touched, and nobody has handlers for it.
  if (isIndexBuild && !needsPass) return { type: 'completed' };
  const started = await startPhase(migration, held, phase, {
    isEmpty: handler === undefined && !needsPass,
    runsExpandHandler: phase === 'Expand' && handler !== undefined,
  });
  if (started.type !== 'started') return told(held, started);
  const end = await work(migration, held, phase, handler);
  if (held.lease.lost.aborted) throw held.lease.lost.reason;
  return told(held, await persistOrTell(migration, held, end), end);
}

/** What went wrong must not be lost with the transaction that should have written it. */
async function persistOrTell(
  migration: ModelMigration,
  held: HeldMigration,
  end: WorkEnd,
): Promise<StepResult> {
  try {
    return await persist(migration, held, end);
  } catch (error) {
    if (end.type === 'threw' && error !== end.error) {
      held.logger.warn({ err: end.error }, 'a step of a migration failed, which could not be written');
    }
    throw error;
  }
}

/**
 * One line for each failure, and for each try that goes wrong, once it is written: who could not write it meets the same
 * again.
 */
function told(held: HeldMigration, result: StepResult, end?: WorkEnd): StepResult {
  const { logger, state } = held;
  const err = end?.type === 'threw' ? end.error : undefined;
  if (result.type === 'halted' && result.as === 'failed') {
    const { code, message } = state.lastError ?? {};
    logger.error(err === undefined ? { code, reason: message } : { code, err }, 'a migration failed');
  } else if (result.type === 'retry' && err !== undefined) {
    logger.warn({ code: state.lastError?.code, err }, 'a step of a migration failed, and is tried again');
  }
  return result;
}

function persist(migration: ModelMigration, held: HeldMigration, end: WorkEnd): Promise<StepResult> {
  switch (end.type) {
    case 'intent':
      return recordObedience(migration, held);
    case 'stopped':
      return recordStop(migration, held);
    case 'threw':
      return persistError(migration, held, end.error);
    case 'outcome':
      return persistOutcome(migration, held, end.outcome, end.note ?? null);
  }
}

function persistOutcome(
  migration: ModelMigration,
  held: HeldMigration,
  outcome: MigrationOutcome,
  note: string | null,
): Promise<StepResult> {
  switch (outcome.type) {
    case 'Success':
      return completePhase(migration, held, note);
    case 'Partial':
      return recordPartial(migration, held, outcome);
    case 'Retry':
      return recordRetry(migration, held, outcome, undefined);
    case 'Fatal': {
      const atMs = migration.runtime.clock.wallMs();
      return recordFailure(migration, held, {
        code: 'HANDLER_FAILED',
        message: outcome.reason,
        atMs,
        retryable: false,
      });
    }
  }
}

function persistError(migration: ModelMigration, held: HeldMigration, error: unknown): Promise<StepResult> {
  if (isLeaseLost(error)) throw error;
  const described = describeError(error, migration.runtime.clock.wallMs());
  if (described.retryable) {
    return recordRetry(migration, held, { type: 'Retry', message: described.message }, described);
  }
  return recordFailure(migration, held, described);
}

export function isLeaseLost(error: unknown): boolean {
  return error instanceof MigrationException && error.code === 'LEASE_LOST';
}

function describeError(error: unknown, atMs: number): MigrationError {
  const code = error instanceof GodwitException ? error.code : 'HANDLER_FAILED';
  const text = error instanceof Error ? error.message : `a ${typeof error} was thrown, not an Error`;
  const duplicates = duplicatesOf(error);
  const described = { code, message: text, atMs, retryable: isRetryable(error) };
  return duplicates === undefined ? described : { ...described, duplicates };
}

function handlerOf({ handlers }: ModelMigration, phase: MigrationPhase): MigrationHandler | undefined {
  switch (phase) {
    case 'Expand':
      return handlers.expand;
    case 'Backfill':
      return isBackfill(handlers.backfill) ? undefined : handlers.backfill;
    case 'Verify':
      return handlers.verify;
    case 'Contract':
      return handlers.contract;
  }
}

function hasPass({ handlers }: ModelMigration, { state }: HeldMigration): boolean {
  return isBackfill(handlers.backfill) || state.indexes.some(({ mode }) => mode === 'fill');
}

const verifies = ({ runtime }: ModelMigration, phase: MigrationPhase) =>
  phase === 'Verify' && runtime.verification !== 'off';

async function work(
  migration: ModelMigration,
  held: HeldMigration,
  phase: MigrationPhase,
  handler: MigrationHandler | undefined,
): Promise<WorkEnd> {
  try {
    switch (phase) {
      case 'Backfill':
        return await backfill(migration, held, handler);
      case 'Verify': {
        const verified = verifies(migration, phase) ? await verify(migration, held) : success;
        if (!isSuccess(verified) || handler === undefined) return verified;
        const called = await callHandler(migration, held, handler);
        return isSuccess(called) ? { ...called, ...verified } : called;
      }
      case 'Expand':
      case 'Contract':
        return handler === undefined ? success : await callHandler(migration, held, handler);
    }
  } catch (error) {
    return { type: 'threw', error };
  }
}

async function backfill(
  migration: ModelMigration,
  held: HeldMigration,
  handler: MigrationHandler | undefined,
): Promise<WorkEnd> {
  const { handlers, model } = migration;
  const { state, stored } = held;
  if (state.kind === 'migration' && isBackfill(handlers.backfill)) {
    const setups = createTransformSetups(migration, stored, state, handlers.backfill);
    const pass = createTransformPass(migration, setups, handlers.backfill);
    const slices = state.sourceKeySpaces.map((keySpace) => rangeOf(model.keys.records(keySpace)));
    const end = await runPass(migration, held, pass, slices);
    if (end.type === 'done') await refuseLeftBehind(migration, state);
    return endOf(end);
  }
  if (handler !== undefined && !state.handlerSucceeded) {
    const end = await callHandler(migration, held, handler);
    if (!isSuccess(end)) return end;
    await finishHandler(migration, held);
  }
  if (!state.indexes.some(({ mode }) => mode === 'fill')) return success;
  const slice = rangeOf(model.keys.records(state.targetKeySpace));
  return endOf(await runPass(migration, held, createIndexPass(migration, state), [slice]));
}

/** Each chunk clears what it moves. What is in an old key space afterwards would be swept: it must be nothing. */
async function refuseLeftBehind({ runtime, model }: ModelMigration, state: MigrationState): Promise<void> {
  for (const keySpace of state.sourceKeySpaces) {
    if (keySpace === state.targetKeySpace) continue;
    const { begin, end } = rangeOf(model.keys.records(keySpace));
    const [row] = await runtime.database.transact((tx) =>
      tx.getRangeAll(begin, end, { limit: 1, snapshot: true }),
    );
    if (row === undefined) continue;
    throw new MigrationException(
      'VERIFICATION_FAILED',
      `A record of ${model.name} lies in its old key space behind the backfill, under ${row.key.toString('hex')}. ` +
        'Nothing is published and nothing is swept; resetMigration moves what is left.',
      { details: { model: model.name, keySpace, key: row.key.toString('hex') } },
    );
  }
}

async function verify(migration: ModelMigration, held: HeldMigration): Promise<WorkEnd> {
  const end = await verifyMigration(migration, held);
  return end.type === 'done' ? { ...success, note: end.summary } : endOf(end);
}

const isSuccess = (end: WorkEnd): boolean => end.type === 'outcome' && end.outcome.type === 'Success';

function endOf(end: MoveEnd): WorkEnd {
  switch (end.type) {
    case 'done':
      return success;
    case 'intent':
      return { type: 'intent' };
    case 'stopped':
      return { type: 'stopped' };
  }
}

/** Calls a hand-written handler once, with a context that ends with the call. */
async function callHandler(
  migration: ModelMigration,
  held: HeldMigration,
  handler: MigrationHandler,
): Promise<WorkEnd> {
  const { runtime, model, stop } = migration;
  // Whatever may throw comes before the watch, which nobody would end then.
  const status = await readStatus(runtime, model);
  const watching = watchForStop(migration, held);
  const signal = AbortSignal.any([watching.signal, stop, held.lease.lost]);
  const { context, end } = createStepContext(migration, held, {
    stored: held.stored.current.data,
    sourceKeySpaces: held.state.sourceKeySpaces,
    status,
    signal,
  });
  const called = callSafely(handler, context);
  const over = new AbortController();
  try {
    // An owner that was deposed does not wait for its handler: whatever that still does is refused.
    await Promise.race([called, aborted(held.lease.lost, over.signal)]);
  } finally {
    over.abort();
    watching.end();
    await end();
  }
  if (held.lease.lost.aborted) return { type: 'stopped' };
  const answer = await called;
  if (answer.type === 'outcome') return accepted(model.name, answer.outcome);
  // What it threw because it was told to stop is no failure of its own.
  if (watching.signal.aborted) return { type: 'intent' };
  return stop.aborted ? { type: 'stopped' } : answer;
}

/** What a handler answered, if it can be persisted: else the migration fails for what it is. */
function accepted(modelName: string, outcome: MigrationOutcome): WorkEnd {
  const problem = outcomeProblem(outcome);
  if (problem !== undefined) {
    const message = `A handler of ${modelName} did not answer a MigrationOutcome: ${problem}.`;
    return { type: 'threw', error: new MigrationException('OUTCOME_INVALID', message) };
  }
  try {
    if ('nextCursor' in outcome && outcome.nextCursor !== undefined) checkCursor(outcome.nextCursor);
  } catch (error) {
    return { type: 'threw', error };
  }
  return { type: 'outcome', outcome };
}

async function callSafely(
  handler: MigrationHandler,
  context: Parameters<MigrationHandler>[0],
): Promise<Extract<WorkEnd, { type: 'outcome' | 'threw' }>> {
  try {
    return { type: 'outcome', outcome: await handler(context) };
  } catch (error) {
    return { type: 'threw', error };
  }
}

/** Listens no longer than until `over` aborts: the signal of a lease outlives many steps. */
function aborted(signal: AbortSignal, over: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true, signal: over });
  });
}
