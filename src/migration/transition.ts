import type { Halt } from '../../machines/migration.ts';
import { MigrationException } from '../errors.ts';
import type { Transaction } from '../kv/kv.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import { readFence, writeFence } from '../records/fence.ts';
import { clearRanges, freeClaims } from './passes/ledger.ts';
import type { MigrationAuditEvent, MigrationAuditEventType } from './audit.ts';
import type { CountedAdditions } from './counters.ts';
import { count } from './counters.ts';
import type { Intent } from './intent.ts';
import { readIntent } from './intent.ts';
import type { HeldMigration, ModelMigration, OperatorRuntime } from './runtime.ts';
import type { MigrationError, MigrationState } from './state.ts';
import { cutMessage, readState, writeState } from './state.ts';

/** An audit event before it is known when, where and under which epoch it happens. */
export interface AuditDraft {
  readonly type: MigrationAuditEventType;
  readonly message?: string | null;
}

/** Whose doing it is, and about which model. */
interface Audited {
  readonly runtime: Pick<OperatorRuntime, 'clock' | 'nodeId' | 'events'>;
  readonly model: ConfiguredModel;
}

/** What a transition writes besides the state. */
export interface TransitionResult<T> {
  readonly state: MigrationState;
  readonly audit?: readonly AuditDraft[];
  readonly counts?: CountedAdditions;
  readonly answer: T;
}

/**
 * Changes the persisted state of a migration this node owns: one transaction that checks the ownership, reads state and
 * intent, and writes what `decide` answers together with audit and counters. Harmless when repeated after an unknown
 * result: the revision that is expected is chosen outside, and finding the next one means that it was applied.
 *
 * @throws MigrationException LEASE_LOST
 */
export async function transition<T>(
  migration: ModelMigration,
  held: HeldMigration,
  decide: (
    tx: Transaction,
    state: MigrationState,
    intent: Intent | undefined,
  ) => Promise<TransitionResult<T>>,
): Promise<T> {
  const { runtime, model } = migration;
  const expected = held.state.revision;
  let written: (TransitionResult<T> & { readonly events: readonly MigrationAuditEvent[] }) | undefined;
  await runtime.database.transact(async (tx) => {
    const [state, intent] = await Promise.all([
      readState(tx, model.keys),
      readIntent(tx, model.keys, held.state.migrationId),
      held.lease.guard(tx),
    ]);
    const isSame = state?.migrationId === held.state.migrationId;
    if (isSame && state.revision === expected + 1 && written !== undefined && tx.afterUnknownResult) return;
    if (!isSame || state.revision !== expected) throw stateChanged(held);
    const result = await decide(tx, state, intent);
    const next = writeState(tx, model.keys, { ...result.state, revision: expected + 1 });
    const events = (result.audit ?? []).map((draft) => auditEvent(migration, next, held.lease.epoch, draft));
    recordInTransaction(tx, migration, events, result.counts ?? {});
    written = { ...result, state: next, events };
  });
  if (written === undefined) throw new Error('a transition committed without having been decided');
  held.state = written.state;
  runtime.events.committed(model, written.events);
  if (written.events.some(({ type }) => type === 'PhaseCompleted')) meterPhase(migration, written.state);
  return written.answer;
}

/** By the clocks of two nodes where one began the phase and another ended it: only people see it. */
function meterPhase({ runtime, model }: ModelMigration, { phase, phaseStartedMs }: MigrationState): void {
  const nowMs = runtime.clock.wallMs();
  const tookMs = Math.max(0, nowMs - (phaseStartedMs.at(-1) ?? nowMs));
  runtime.meters.phaseCompleted(model.name, phase, tookMs / 1_000);
}

/** Sets audit events and counters in a transaction; the hub hears of them after its commit. */
export function recordInTransaction(
  tx: Transaction,
  { runtime, model }: Audited,
  events: readonly MigrationAuditEvent[],
  counts: CountedAdditions,
): void {
  runtime.events.persist(tx, model, events);
  count(tx, model.keys, runtime.clock.wallMs(), counts);
}

export function auditEvent(
  { runtime, model }: Audited,
  state: Pick<MigrationState, 'migrationId' | 'phase' | 'attempt'>,
  epoch: number,
  { type, message = null }: AuditDraft,
): MigrationAuditEvent {
  return {
    timestampMs: runtime.clock.wallMs(),
    modelId: model.id,
    modelName: model.name,
    migrationId: state.migrationId,
    type,
    phase: type === 'LeaseAcquired' || type === 'LeaseRejected' ? null : state.phase,
    attempt: state.attempt,
    message: message === null ? null : cutMessage(message),
    nodeId: runtime.nodeId,
    epoch,
  };
}

/** What an operator's pause or cancel makes of the state. */
export async function obey(
  tx: Transaction,
  migration: Pick<ModelMigration, 'model'>,
  state: MigrationState,
  intent: Intent,
): Promise<TransitionResult<{ readonly type: 'halted'; readonly as: 'paused' | 'canceled' }>> {
  // Most movers have given back what they had claimed; what is left was told of nothing, and is taken from them.
  await freeClaims(tx, migration.model.keys);
  // A start that an operator ended is no failed attempt.
  const attempt = Math.max(0, state.attempt - 1);
  const obeyed = { ...state, attempt, intentRevision: intent.revision, message: cutMessage(intent.reason) };
  const audit = (type: 'Paused' | 'Canceled') => [{ type, message: `${intent.reason} (by ${intent.by})` }];
  if (intent.want === 'pause') {
    return {
      state: { ...obeyed, status: 'Paused' },
      audit: audit('Paused'),
      counts: { paused: 1 },
      answer: { type: 'halted', as: 'paused' },
    };
  }
  await reopenIfUntouched(tx, migration, state);
  // Whoever resumes what was canceled has to approve it anew.
  tx.clear(migration.model.keys.approval);
  return {
    state: { ...obeyed, status: 'Canceled' },
    audit: audit('Canceled'),
    counts: { canceled: 1 },
    answer: { type: 'halted', as: 'canceled' },
  };
}

/** A failure; but what an operator has canceled by then is canceled, whatever went wrong. */
export function failUnlessCanceled(
  tx: Transaction,
  migration: Pick<ModelMigration, 'model'>,
  state: MigrationState,
  intent: Intent | undefined,
  error: MigrationError,
): Promise<TransitionResult<{ readonly type: 'halted'; readonly as: Halt }>> {
  return intent?.want === 'cancel' ? obey(tx, migration, state, intent) : fail(tx, migration, state, error);
}

/** What a failure makes of the state. The model opens again under its stored definition when nothing was changed yet. */
async function fail(
  tx: Transaction,
  migration: Pick<ModelMigration, 'model'>,
  state: MigrationState,
  error: MigrationError,
): Promise<TransitionResult<{ readonly type: 'halted'; readonly as: 'failed' }>> {
  const reopened = await reopenIfUntouched(tx, migration, state);
  const ways = reopened
    ? 'Nothing was changed: the model serves its stored definition again. resumeMigration tries again.'
    : 'Mend the cause, then resumeMigration; or resetMigration from a mended program.';
  const lastError = { ...error, message: cutMessage(error.message) };
  return {
    state: { ...state, status: 'Failed', lastError, message: cutMessage(`${lastError.message} ${ways}`) },
    audit: [{ type: 'Failed', message: `${error.code}: ${error.message}` }],
    counts: { failed: 1 },
    answer: { type: 'halted', as: 'failed' },
  };
}

/**
 * Opens the gate again under the stored definition if this migration has committed no record and called no Expand
 * handler. `touched` is read normally: a chunk in flight conflicts, and one of the two is refused.
 */
export async function reopenIfUntouched(
  tx: Transaction,
  { model: { keys } }: Pick<ModelMigration, 'model'>,
  state: MigrationState,
): Promise<boolean> {
  const [touched, fence] = await Promise.all([tx.get(keys.touched), readFence(tx, keys)]);
  if (touched !== undefined || state.expandRan || fence?.state !== 'migrating') return false;
  if (fence.target?.migrationId !== state.migrationId) return false;
  clearRanges(tx, keys);
  await writeFence(tx, keys, {
    ...fence,
    schemaEpoch: fence.schemaEpoch + 1,
    state: 'ready',
    target: null,
    mixedSchemaIds: fence.mixedSchemaIds.filter((schemaId) => schemaId !== state.targetSchemaId),
  });
  return true;
}

function stateChanged({ lease, state }: HeldMigration): MigrationException {
  return new MigrationException(
    'LEASE_LOST',
    `The state of ${state.migrationId} was changed by somebody else, although epoch ${lease.epoch} held it.`,
    { details: { migrationId: state.migrationId, epoch: lease.epoch } },
  );
}
