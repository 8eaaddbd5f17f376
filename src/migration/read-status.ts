import type { Transaction } from '../kv/kv.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { PassName } from '../records/keys.ts';
import { isApprovable, readApproval } from './approval.ts';
import { readLastEventAtMs } from './counters.ts';
import { readLocalReason } from './dependency-path.ts';
import type { Intent } from './intent.ts';
import { isStopping, readAnyIntent } from './intent.ts';
import type { Owner } from './owner.ts';
import { beatFormat, readOwner } from './owner.ts';
import type { LedgerTotals, RangeRow } from './passes/ledger.ts';
import { readRanges, totalsOf } from './passes/ledger.ts';
import type { ModelPlan } from './plan.ts';
import { planModel, readStoredModel } from './plan.ts';
import type { Remaining } from './remaining-time.ts';
import { remainingOf } from './remaining-time.ts';
import type { MigrationRuntime, OperatorRuntime } from './runtime.ts';
import type { MigrationError, MigrationState } from './state.ts';
import { readState } from './state.ts';
import type { Sessions, SessionSaying } from './sessions.ts';
import type {
  MigrationMover,
  MigrationProgress,
  MigrationReason,
  MigrationStatus,
  MigrationStatusState,
} from './status.ts';

/** A model's status from the database, with what only this process knows of why it waits. */
export function readStatus(runtime: OperatorRuntime, model: ConfiguredModel): Promise<MigrationStatus> {
  return runtime.database.transact((tx) => readStatusIn(tx, runtime, model));
}

/** What of a process a status is read with. */
export type StatusReader = Pick<MigrationRuntime, 'migrations' | 'clock' | 'busState' | 'stalledAfterMs'> & {
  readonly sessions: Pick<Sessions, 'find'>;
};

export async function readStatusIn(
  tx: Transaction,
  { migrations, clock, busState, sessions, stalledAfterMs }: StatusReader,
  model: ConfiguredModel,
): Promise<MigrationStatus> {
  const { keys } = model;
  const [stored, storedState, owner, intent, lastEventAtMs] = await Promise.all([
    readStoredModel(tx, keys),
    readState(tx, keys),
    readOwner(tx, keys),
    readAnyIntent(tx, keys),
    readLastEventAtMs(tx, keys),
  ]);
  const plan = planModel(stored, model);
  const state = isAbout(plan, storedState) ? storedState : undefined;
  const passes: readonly PassName[] = state?.phase === 'Verify' ? ['verify'] : ['backfill', 'index'];
  const rowsOfPasses =
    state === undefined
      ? []
      : await Promise.all(passes.map((pass) => readRanges(tx, keys, pass, { snapshot: true })));
  const rows = rowsOfPasses.flat();
  const moved =
    state?.phase === 'Verify' || state?.phase === 'Contract'
      ? totalsOf(await readRanges(tx, keys, 'backfill', { snapshot: true })).moved
      : 0;
  const awaits = state?.approvalSinceMs !== undefined && isApprovable(state);
  const approval = awaits ? await readApproval(tx, keys, state.migrationId) : undefined;
  const local = migrations.get(model.id);
  const nowMs = clock.wallMs();
  const sessionsThere = await findSessions(tx, sessions, owner?.session, rows);
  return describe({
    model,
    plan,
    state,
    intent: intent?.migrationId === (state?.migrationId ?? migrationIdOf(plan)) ? intent : undefined,
    owner: owner?.token === '' ? undefined : owner,
    unapprovedSinceMs: awaits && approval === undefined ? state.approvalSinceMs : undefined,
    rows,
    remaining: remainingOfAll(rowsOfPasses),
    moved,
    isGateClosed: stored?.fence.state === 'migrating',
    localReason: await readLocalReason(tx, migrations, model.id),
    localError: local?.trouble,
    nowMs,
    localMismatch: local?.mismatch,
    movers: moversOf(sessionsThere, rows),
    throttled: throttledOf(sessionsThere, model.id, nowMs, stalledAfterMs),
    stalled: await stalledOf(tx, model, { state, owner, lastEventAtMs, nowMs, stalledAfterMs }),
    bus: busState(),
  });
}

interface Found {
  readonly model: ConfiguredModel;
  readonly plan: ModelPlan;
  readonly state: MigrationState | undefined;
  readonly intent: Intent | undefined;
  readonly owner: Owner | undefined;
  /** Since when an operator's approval is waited for. */
  readonly unapprovedSinceMs: number | undefined;
  readonly rows: readonly RangeRow[];
  /** Of them; undefined where they were planned without estimates. */
  readonly remaining: Remaining | undefined;
  /** Records that the backfill moved, once it is over. */
  readonly moved: number;
  readonly isGateClosed: boolean;
  readonly localReason: MigrationReason | undefined;
  readonly localError: MigrationError | undefined;
  readonly nowMs: number;
  readonly localMismatch: MigrationReason | undefined;
  readonly movers: MigrationStatus['movers'];
  /** As whoever moves it says. */
  readonly throttled: MigrationReason | undefined;
  /** Where nothing else explains it. */
  readonly stalled: MigrationReason | undefined;
  readonly bus: MigrationStatus['bus'];
}

/** What is found of those that move ranges, the owner first. */
type FoundSessions = ReadonlyMap<string, SessionSaying>;

async function findSessions(
  tx: Transaction,
  sessions: Pick<Sessions, 'find'>,
  owner: string | undefined,
  rows: readonly RangeRow[],
): Promise<FoundSessions> {
  // Verification and what is written by hand are not throttled.
  if (rows.length === 0) return new Map();
  const claims = rows.flatMap(({ claim, done }) => (claim === null || done ? [] : [claim.session]));
  const names = new Set(owner === undefined || owner === '' ? claims : [owner, ...claims]);
  const found = await Promise.all(
    [...names].map(async (session) => [session, await sessions.find(tx, session)] as const),
  );
  return new Map(
    found.flatMap(([session, saying]) => (saying === undefined ? [] : [[session, saying] as const])),
  );
}

/** The owner's word counts before that of its helpers. */
function throttledOf(
  sessions: FoundSessions,
  modelId: number,
  nowMs: number,
  stalledAfterMs: number,
): MigrationReason | undefined {
  for (const { nodeId, atMs, ttlMs, throttled = [] } of sessions.values()) {
    const said = throttled.find((one) => one.modelId === modelId);
    // What a dead process said last is no reason any more.
    if (said === undefined || nowMs - atMs >= Math.max(ttlMs, stalledAfterMs)) continue;
    return { code: 'throttled', message: `${nodeId}: ${said.reason}`, sinceMs: said.sinceMs };
  }
  return undefined;
}

interface Signs {
  readonly state: MigrationState | undefined;
  readonly owner: Owner | undefined;
  readonly lastEventAtMs: number;
  readonly nowMs: number;
  readonly stalledAfterMs: number;
}

/** By the wall clocks of those who commit and of who asks: it is said to people, and decides nothing. */
async function stalledOf(
  tx: Transaction,
  { keys }: ConfiguredModel,
  { state, owner, lastEventAtMs, nowMs, stalledAfterMs }: Signs,
): Promise<MigrationReason | undefined> {
  if (state === undefined || owner === undefined || owner.token === '') return undefined;
  // The delay of a retry is no standstill, but what comes after it may be.
  const sinceMs = Math.max(lastEventAtMs, state.status === 'Retry' ? (state.retryAtMs ?? 0) : 0);
  if (lastEventAtMs === 0 || nowMs - sinceMs < stalledAfterMs) return undefined;
  const beat = beatFormat.parseOptional(await tx.get(keys.beat, { snapshot: true }));
  const isSilent = beat === undefined || nowMs - beat.atMs >= Math.max(owner.ttlMs, stalledAfterMs);
  const about = isSilent ? 'has not beaten for as long, and nobody takes its place' : 'still has the lease';
  const message = `nothing was committed for ${stalledAfterMs} ms or longer; ${owner.nodeId} ${about}`;
  return { code: 'stalled', message, sinceMs };
}

function moversOf(sessions: FoundSessions, rows: readonly RangeRow[]): readonly MigrationMover[] {
  const claimed = rows.flatMap(({ claim, done, recordsPerSecond }) =>
    claim === null || done ? [] : [{ session: claim.session, recordsPerSecond }],
  );
  const distinct = [...new Set(claimed.map(({ session }) => session))];
  const movers = distinct.map((session) => {
    const own = claimed.filter((one) => one.session === session);
    return {
      nodeId: sessions.get(session)?.nodeId,
      ranges: own.length,
      recordsPerSecond: own.reduce((sum, one) => sum + one.recordsPerSecond, 0),
    };
  });
  // One without a session has ended, and its claims are free.
  return movers
    .filter((mover): mover is MigrationMover => mover.nodeId !== undefined)
    .toSorted((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
}

/** A persisted state that is left from another plan says nothing about this one. */
function isAbout(plan: ModelPlan, state: MigrationState | undefined): boolean {
  if (state === undefined) return false;
  return plan.type === 'none' || plan.type === 'targetChanged' || state.migrationId === migrationIdOf(plan);
}

export function migrationIdOf(plan: ModelPlan): string | null {
  switch (plan.type) {
    case 'migrate':
    case 'index':
      return plan.migrationId;
    case 'targetChanged':
      return plan.runningMigrationId;
    case 'none':
    case 'publish':
      return null;
  }
}

function describe(found: Found): MigrationStatus {
  const { model, plan, state, owner, rows, intent } = found;
  const standing = standingOf(found);
  const totals = totalsOf(rows);
  const progress = progressOf(found, totals, standing === 'Running');
  return {
    modelId: model.id,
    modelName: model.name,
    migrationId: state?.migrationId ?? migrationIdOf(plan),
    state: standing,
    reason: reasonOf(found, standing),
    phase: state?.phase ?? null,
    attempt: state?.attempt ?? 0,
    lastError: found.localError ?? state?.lastError ?? null,
    hasCursor: (state?.cursor ?? null) !== null || rows.some(({ cursor }) => cursor !== null),
    retryCount: state?.retryCount ?? 0,
    etaMs: standing === 'Running' ? etaOf(found, progress) : null,
    blocking: found.isGateClosed || plan.type === 'migrate' || plan.type === 'targetChanged',
    message: state?.message ?? null,
    progress,
    owner: owner === undefined ? null : { nodeId: owner.nodeId, epoch: owner.epoch },
    movers: standing === 'Running' ? found.movers : [],
    intentRevision: intent?.revision ?? state?.intentRevision ?? 0,
    bus: found.bus,
  };
}

function standingOf({
  plan,
  state,
  owner,
  unapprovedSinceMs,
  localError,
  isGateClosed,
}: Found): MigrationStatusState {
  // Where this process failed to take the place of a dead owner, that one's row is still there.
  if (plan.type === 'targetChanged' && (owner === undefined || localError !== undefined)) return 'Failed';
  if (state === undefined) {
    if (plan.type === 'publish') return 'Idle';
    if (plan.type === 'none') return isGateClosed ? 'Waiting' : 'Idle';
    return localError === undefined ? 'Waiting' : 'Failed';
  }
  switch (state.status) {
    case 'Paused':
    case 'Canceled':
    case 'Failed':
      return state.status;
    case 'Running':
    case 'Partial':
    case 'Retry':
      if (localError !== undefined) return 'Failed';
      return owner === undefined || unapprovedSinceMs !== undefined ? 'Waiting' : 'Running';
  }
}

function reasonOf(found: Found, standing: MigrationStatusState): MigrationReason | undefined {
  const { plan, state, intent, localReason, nowMs, owner } = found;
  if (plan.type === 'targetChanged') {
    const message = `${plan.runningMigrationId} is half-way done; this program has another target`;
    return { code: 'targetChanged', message, sinceMs: nowMs };
  }
  if ((standing === 'Running' || standing === 'Waiting') && isStopping(intent)) {
    const code = intent.want === 'pause' ? 'pausing' : 'canceling';
    return { code, message: `${intent.reason} (by ${intent.by})`, sinceMs: intent.atMs };
  }
  if (standing === 'Waiting' && found.unapprovedSinceMs !== undefined) {
    const what = state?.unverified === true ? 'nothing was verified' : 'verification has passed';
    const message = `${what}; Contract begins once an operator calls approveMigration`;
    return { code: 'approval', message, sinceMs: found.unapprovedSinceMs };
  }
  const { throttled, stalled } = found;
  const isRetryDue = standing === 'Running' && state?.status === 'Retry' && stalled !== undefined;
  if (standing === 'Running' && state?.status === 'Retry' && state.retryAtMs !== null && !isRetryDue) {
    const message = state.message ?? 'waits before the next try';
    return { code: 'retryBackoff', message, sinceMs: nowMs, untilMs: state.retryAtMs };
  }
  if (standing === 'Running') return throttled ?? stalled ?? found.localMismatch;
  if (standing !== 'Waiting') return undefined;
  if (plan.type === 'none' && state === undefined) {
    const message =
      'a migration was reset half-way; a program of a newer version has to take its records over';
    return { code: 'mixedRecords', message, sinceMs: nowMs };
  }
  if (localReason !== undefined) return localReason;
  const message = owner === undefined ? 'no node has begun' : `${owner.nodeId} holds the lease`;
  return { code: 'lease', message, sinceMs: nowMs };
}

/** Each pass has a pace of its own. */
function remainingOfAll(passes: readonly (readonly RangeRow[])[]): Remaining | undefined {
  let sum: Remaining | undefined;
  for (const rows of passes) {
    if (rows.length === 0) continue;
    const one = remainingOf(rows);
    if (one === undefined) return undefined;
    const { records, processMs } = sum ?? { records: 0, processMs: 0 };
    const isKnown = processMs !== null && one.processMs !== null;
    sum = {
      records: records + one.records,
      processMs: isKnown ? processMs + one.processMs : null,
    };
  }
  return sum;
}

/** Short of 1 until the transaction that ends the phase. */
const nearlyDone = 0.999_999;

function progressOf(
  { state, rows, remaining, moved }: Found,
  totals: LedgerTotals,
  isRunning: boolean,
): MigrationProgress {
  if (state === undefined) {
    return { recordsDone: 0, recordsEstimated: null, fraction: null, recordsPerSecond: 0 };
  }
  const isByHand = rows.length === 0;
  const measured = isByHand ? state.reportedFraction : totals.fraction;
  const fraction = state.phaseCompleted ? 1 : measured === null ? null : Math.min(measured, nearlyDone);
  const recordsDone = isByHand ? state.reportedRecords : totals.recordsRead;
  return {
    recordsDone,
    recordsEstimated: estimated(state, recordsDone, {
      fraction,
      moved,
      // What is verified are entries too.
      left: state.phase === 'Verify' ? undefined : remaining?.records,
    }),
    fraction,
    recordsPerSecond: isRunning ? totals.recordsPerSecond : 0,
  };
}

/** Of the key space: below this share of it an estimate is a guess. */
const leastShare = 0.005;

function estimated(
  state: MigrationState,
  recordsDone: number,
  known: { readonly fraction: number | null; readonly moved: number; readonly left: number | undefined },
): number | null {
  const { fraction, moved, left } = known;
  if (state.phaseCompleted) return recordsDone;
  if (moved > 0) return Math.max(moved, recordsDone);
  if (left !== undefined) return Math.round(recordsDone + left);
  if (fraction === null || fraction < leastShare || recordsDone === 0) return null;
  return Math.max(recordsDone, Math.round(recordsDone / fraction));
}

/** Nodes that move side by side divide what is left among them. */
function etaOf(
  { remaining, movers }: Found,
  { recordsDone, recordsEstimated, recordsPerSecond }: MigrationProgress,
): number | null {
  if (remaining !== undefined) {
    const { processMs } = remaining;
    return processMs === null || movers.length === 0 ? null : Math.round(processMs / movers.length);
  }
  if (recordsEstimated === null || recordsPerSecond === 0) return null;
  return Math.round(((recordsEstimated - recordsDone) / recordsPerSecond) * 1_000);
}
