import { MigrationException, RequestException } from '../errors.ts';
import type { Transaction } from '../kv/kv.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import { readFence, writeFence } from '../records/fence.ts';
import { addGarbage } from '../records/garbage.ts';
import { renewBuildingIndexes } from '../records/publish.ts';
import type { AnsweredRequest, ToldRequest } from './answered-requests.ts';
import { keepAnswer, readAnswer } from './answered-requests.ts';
import type { MigrationAuditEvent } from './audit.ts';
import type { CountedAdditions } from './counters.ts';
import type { Intent } from './intent.ts';
import { readAnyIntent, writeIntent } from './intent.ts';
import { ownerFormat, readOwner, vacated } from './owner.ts';
import { clearRanges } from './passes/ledger.ts';
import type { ModelPlan } from './plan.ts';
import { planModel, readStoredModel } from './plan.ts';
import type { StatusReader } from './read-status.ts';
import { migrationIdOf, readStatusIn } from './read-status.ts';
import type { OperatorRuntime } from './runtime.ts';
import type { MigrationState } from './state.ts';
import { adoptsTransform, createState, isHalted, noTarget, readState, writeState } from './state.ts';
import type { MigrationStatus } from './status.ts';
import { auditEvent, obey, recordInTransaction, reopenIfUntouched } from './transition.ts';

/** Who asks, and why: both are kept with the intent and in the audit. */
export interface OperatorCall {
  readonly by: string;
  readonly reason: string;
  /** Carried out once, however often it comes: what was answered is kept, the latest 128 of each model. */
  readonly requestId?: string | undefined;
  /** Gives up where the database does not answer; what was sent may be carried out all the same. */
  readonly signal?: AbortSignal | undefined;
}

export type OperatorAnswer =
  | AnsweredRequest
  /** The id was used for another request. */
  | { readonly accepted: false; readonly code: 'REQUEST_ID_REUSED' };

/**
 * What operators want, written to the database, from any node, whether or not the owner lives (protocol 11). Where
 * nobody owns the migration, what follows from it is written in the same transaction; otherwise the owner obeys at its
 * next boundary.
 *
 * @throws MigrationException MIGRATION_NOT_PENDING
 * @throws RequestException REQUEST_ID_REUSED
 */
export function pauseMigration(
  runtime: OperatorRuntime,
  model: ConfiguredModel,
  call: OperatorCall,
): Promise<MigrationStatus> {
  return operate(runtime, model, call, 'pause');
}

export function cancelMigration(
  runtime: OperatorRuntime,
  model: ConfiguredModel,
  call: OperatorCall,
): Promise<MigrationStatus> {
  return operate(runtime, model, call, 'cancel');
}

/** Lets a paused, canceled or failed migration go on, with its counters of attempts and retries at zero. */
export function resumeMigration(
  runtime: OperatorRuntime,
  model: ConfiguredModel,
  call: OperatorCall,
): Promise<MigrationStatus> {
  return operate(runtime, model, call, 'run');
}

async function operate(
  runtime: OperatorRuntime,
  model: ConfiguredModel,
  call: OperatorCall,
  want: Intent['want'],
): Promise<MigrationStatus> {
  const answer = await answerOperator(runtime, model, want, call);
  if (answer.accepted) return answer.status;
  throw refusalOf(model, answer.code, call);
}

interface Operation {
  readonly intent: Intent;
  readonly state: MigrationState | undefined;
  /** Somebody is at it, and obeys. Whoever owns a migration that stands still is done with it, or dead. */
  readonly hasOwner: boolean;
  /** This process failed to go on with it, and could write that nowhere: its transform is another one, for example. */
  readonly failedHere: boolean;
}

/** The same with a refusal as an answer. */
export async function answerOperator(
  runtime: OperatorRuntime,
  model: ConfiguredModel,
  want: Intent['want'],
  { by, reason, requestId, signal }: OperatorCall,
): Promise<OperatorAnswer> {
  const { keys } = model;
  const id = runtime.random.id();
  // What failed in this process alone has no state in the database: only a word from the operator wakes it.
  const isTroubled = runtime.migrations.get(model.id)?.trouble !== undefined;
  const reader = want === 'run' ? untroubled(runtime, model) : runtime;
  let events: readonly MigrationAuditEvent[] = [];
  const body = async (tx: Transaction): Promise<OperatorAnswer> => {
    const known = requestId === undefined ? undefined : await readAnswer(tx, keys, requestId);
    if (known !== undefined) {
      if (!tx.afterUnknownResult) events = [];
      return known.want === want ? known : { accepted: false, code: 'REQUEST_ID_REUSED' };
    }
    const answered = async (
      told: ToldRequest,
      through: Parameters<typeof readStatusIn>[1] = reader,
      written?: Intent,
    ): Promise<AnsweredRequest> => {
      const status = await readStatusIn(tx, through, model);
      // What was canceled may have been another program's: the status here is that of what this one has to do.
      const answer = { ...told, want, revision: written?.revision ?? status.intentRevision, status };
      if (requestId !== undefined) await keepAnswer(tx, keys, requestId, answer);
      return answer;
    };
    const [stored, storedState, before, owner] = await Promise.all([
      readStoredModel(tx, keys),
      readState(tx, keys),
      readAnyIntent(tx, keys),
      readOwner(tx, keys),
    ]);
    // Applied in an attempt of which nobody knew how it ended.
    if (before?.id === id) return answered({ accepted: true }, reader, before);
    events = [];
    const plan = planModel(stored, model);
    const migrationId = targetOf(plan, storedState);
    if (migrationId === null) return answered({ accepted: false, code: 'MIGRATION_NOT_PENDING' }, runtime);
    const state = storedState?.migrationId === migrationId ? storedState : undefined;
    const current = before?.migrationId === migrationId ? before.want : 'run';
    if (isSettled(state, want, current) && !(want === 'run' && isTroubled)) {
      return answered({ accepted: true }, runtime);
    }
    const intent = writeIntent(tx, keys, {
      migrationId,
      id,
      want,
      by,
      reason,
      revision: (before?.revision ?? state?.intentRevision ?? 0) + 1,
      atMs: runtime.clock.wallMs(),
    });
    const operation = {
      intent,
      state,
      hasOwner: owner !== undefined && owner.token !== '' && !isHalted(state),
      failedHere: isTroubled && plan.type === 'migrate',
    };
    events =
      want === 'run'
        ? resume(tx, runtime, model, operation)
        : await acknowledge(tx, runtime, model, operation, plan);
    return answered({ accepted: true }, reader, intent);
  };
  const answer = await runtime.database.transact(body, { signal });
  if (!answer.accepted) return answer;
  if (want === 'run') forgetTrouble(runtime, model);
  runtime.events.committed(model, events);
  return answer;
}

/** As this process will see the model once the operator's word is written. */
function untroubled(
  { clock, migrations, busState, sessions, stalledAfterMs }: OperatorRuntime,
  { id }: ConfiguredModel,
): StatusReader {
  const local = migrations.get(id);
  const reader = { clock, migrations, busState, sessions, stalledAfterMs };
  if (local === undefined) return reader;
  return { ...reader, migrations: new Map([[id, { ...local, trouble: undefined }]]) };
}

/** Whoever asks from now on is told how it goes on, not how it went before. */
function forgetTrouble({ migrations }: OperatorRuntime, { id }: ConfiguredModel): void {
  const local = migrations.get(id);
  if (local !== undefined) local.trouble = undefined;
}

/** Which migration an operator means: the one this program is for, or the one that is under way. */
export function targetOf(plan: ModelPlan, state: MigrationState | undefined): string | null {
  return migrationIdOf(plan) ?? state?.migrationId ?? null;
}

/** Whether everything is as the operator wants it already: nothing to write, nothing to audit. */
function isSettled(
  state: MigrationState | undefined,
  want: Intent['want'],
  current: Intent['want'],
): boolean {
  switch (want) {
    case 'run':
      return current === want && !isHalted(state);
    case 'pause':
      // What was canceled, or failed, stands still.
      return current === want || isHalted(state);
    case 'cancel':
      return current === want;
  }
}

function resume(
  tx: Transaction,
  runtime: OperatorRuntime,
  model: ConfiguredModel,
  { intent, state, failedHere }: Operation,
): readonly MigrationAuditEvent[] {
  if (state === undefined) return [];
  const wasHalted = isHalted(state) || failedHere;
  if (wasHalted && state.phase === 'Verify') clearRanges(tx, model.keys, 'verify');
  const next: MigrationState = wasHalted
    ? {
        ...state,
        revision: state.revision + 1,
        status: 'Running',
        attempt: 0,
        retryCount: 0,
        retryAtMs: null,
        message: null,
        // An operator who resumes has seen the program that is to go on.
        transformHash: adoptsTransform,
        intentRevision: intent.revision,
      }
    : state;
  if (wasHalted) writeState(tx, model.keys, next);
  return audited(tx, runtime, model, next, 'Resumed', intent, wasHalted ? { resumed: 1 } : {});
}

/** Where nobody is there to obey, the answer is written here; an owner writes its own. */
async function acknowledge(
  tx: Transaction,
  runtime: OperatorRuntime,
  model: ConfiguredModel,
  { intent, state: stored, hasOwner }: Operation,
  plan: ModelPlan,
): Promise<readonly MigrationAuditEvent[]> {
  if (hasOwner) return [];
  const state = stored ?? firstState(intent.migrationId, plan);
  const result = await obey(tx, { model }, { ...state, attempt: state.attempt + 1 }, intent);
  const next = writeState(tx, model.keys, { ...result.state, revision: state.revision + 1 });
  const type = intent.want === 'pause' ? 'Paused' : 'Canceled';
  return audited(tx, runtime, model, next, type, intent, result.counts ?? {});
}

/** Of a migration that nobody has begun: the gate is open, and its target is chosen when it closes. */
function firstState(migrationId: string, plan: ModelPlan): MigrationState {
  return createState({
    migrationId,
    kind: plan.type === 'index' ? 'index' : 'migration',
    revision: 0,
    phase: plan.type === 'index' ? 'Backfill' : 'Expand',
    targetSchemaId: noTarget,
    targetKeySpace: 0,
    sourceKeySpaces: [],
    indexes: [],
    transformHash: adoptsTransform,
    intentRevision: 0,
  });
}

function audited(
  tx: Transaction,
  runtime: OperatorRuntime,
  model: ConfiguredModel,
  state: MigrationState,
  type: 'Paused' | 'Resumed' | 'Canceled',
  { reason, by }: Pick<Intent, 'reason' | 'by'>,
  counts: CountedAdditions,
): readonly MigrationAuditEvent[] {
  const events = [auditEvent({ runtime, model }, state, 0, { type, message: `${reason} (by ${by})` })];
  recordInTransaction(tx, { runtime, model }, events, counts);
  return events;
}

/**
 * Ends a migration whose target or transform changed (protocol 10). The epoch grows, so no chunk in flight lands. If no
 * record was written the model is open again under its stored definition; otherwise it stays closed, and the next
 * migration starts on mixed records.
 *
 * @throws MigrationException MIGRATION_NOT_PENDING
 */
export async function resetMigration(
  runtime: OperatorRuntime,
  model: ConfiguredModel,
  call: OperatorCall,
): Promise<MigrationStatus> {
  const { keys } = model;
  let events: readonly MigrationAuditEvent[] = [];
  let seenEpoch: number | undefined;
  const reader = untroubled(runtime, model);
  const status = await runtime.database.transact(async (tx) => {
    const [fence, state, owner] = await Promise.all([
      readFence(tx, keys),
      readState(tx, keys),
      readOwner(tx, keys),
    ]);
    const isReset = state === undefined && (fence === undefined || fence.target === null);
    // Either the reset raises the fence's epoch, or whoever begins behind it does: what began meanwhile is not reset.
    const isApplied = isReset || fence?.schemaEpoch !== seenEpoch;
    if (seenEpoch !== undefined && tx.afterUnknownResult && isApplied) return readStatusIn(tx, reader, model);
    if (isReset || fence === undefined) throw notPending(model);
    seenEpoch = fence.schemaEpoch;
    if (owner !== undefined) tx.set(keys.owner, ownerFormat.encode(vacated(owner, owner.epoch + 1)));
    if (state !== undefined) await discard(tx, model, state, fence.target?.keySpace);
    clearRanges(tx, keys);
    tx.clear(keys.state);
    tx.clear(keys.intent);
    tx.clear(keys.approval);
    const migrationId = state?.migrationId ?? fence.target?.migrationId ?? '';
    const about = state ?? { migrationId, phase: 'Expand' as const, attempt: 0 };
    events = [
      auditEvent({ runtime, model }, about, 0, {
        type: 'Canceled',
        message: `Reset: ${call.reason} (by ${call.by})`,
      }),
    ];
    recordInTransaction(tx, { runtime, model }, events, { canceled: 1 });
    return readStatusIn(tx, reader, model);
  });
  forgetTrouble(runtime, model);
  runtime.events.committed(model, events);
  return status;
}

/** Opens the model again, or leaves it closed with what was moved so far. */
async function discard(
  tx: Transaction,
  model: ConfiguredModel,
  state: MigrationState,
  targetKeySpace: number | undefined,
): Promise<void> {
  const { keys } = model;
  if (state.kind === 'index') {
    const stored = await readStoredModel(tx, keys);
    if (stored !== undefined) await renewBuildingIndexes(tx, keys, stored);
    return;
  }
  const isReopened = await reopenIfUntouched(tx, { model }, state);
  const fence = await readFence(tx, keys);
  if (fence === undefined) return;
  await addGarbage(
    tx,
    keys,
    state.indexes.filter(({ mode }) => mode === 'fill').map(({ indexId }) => ({ indexId, keySpace: 0 })),
  );
  if (isReopened || fence.state === 'ready') return;
  // No later cancel may open the model to its stored definition.
  tx.set(keys.touched, Buffer.from(state.migrationId));
  const isOtherKeySpace = targetKeySpace !== undefined && targetKeySpace !== fence.keySpace;
  await writeFence(tx, keys, {
    ...fence,
    schemaEpoch: fence.schemaEpoch + 1,
    target: null,
    mixedKeySpaces: isOtherKeySpace
      ? [...new Set([...fence.mixedKeySpaces, targetKeySpace])]
      : fence.mixedKeySpaces,
  });
}

export function refusalOf(
  model: ConfiguredModel,
  code: Extract<OperatorAnswer, { readonly accepted: false }>['code'],
  { requestId }: OperatorCall,
): RequestException | MigrationException {
  return code === 'REQUEST_ID_REUSED' ? idReused(requestId) : notPending(model);
}

function idReused(requestId: string | undefined): RequestException {
  return new RequestException(
    'REQUEST_ID_REUSED',
    `The request ${requestId ?? ''} was another one: each needs an id of its own.`,
    { details: { requestId: requestId ?? null } },
  );
}

function notPending(model: ConfiguredModel): MigrationException {
  return new MigrationException(
    'MIGRATION_NOT_PENDING',
    `${model.name} has no migration that could be steered: there is nothing to do for it.`,
    { details: { modelId: model.id, modelName: model.name } },
  );
}
