import type { MigrationAuditEvent } from '../../src/migration/audit.ts';
import type { MigrationMetrics } from '../../src/migration/counters.ts';
import { targetVersionOf } from '../../src/migration/plan.ts';
import type { MigrationPhase } from '../../src/migration/state.ts';
import { migrationPhases } from '../../src/migration/state.ts';
import { compareVersions } from '../../src/model/names.ts';

/** How far a migration has come, by the log alone. */
interface Told {
  /** The phase of its last start, and whether that has ended. */
  phase: MigrationPhase | undefined;
  isCompleted: boolean;
  /** The epoch under which the phase was started last. */
  startedUnder: number;
  /** It stands still until an operator resumes it. */
  halted: boolean;
  /** It was given up: whoever goes on may have to begin anew. */
  mayBeginAnew: boolean;
  isOver: boolean;
}

/**
 * Reads the audit log of a model from its beginning to its end: each event has to be one that can follow what was told
 * before, so that nothing is missing, there twice, or out of order. Answers what is wrong.
 */
export function checkAudit(events: readonly MigrationAuditEvent[]): string[] {
  const problems: string[] = [];
  const migrations = new Map<string, Told>();
  /** The state that the database keeps is of one migration. */
  let standing: string | undefined;
  let owner: { readonly epoch: number; readonly migrationId: string } | undefined;
  events.forEach((event, at) => {
    const { type, migrationId, epoch, phase } = event;
    const told = migrations.get(migrationId) ?? begun();
    migrations.set(migrationId, told);
    const problem =
      outOfTurn(event, told) ??
      (epoch > 0 && !isBeside(event) && (owner?.epoch !== epoch || owner.migrationId !== migrationId)
        ? `nobody owns it under ${epoch}`
        : undefined);
    if (problem !== undefined) problems.push(`${at}: ${type} ${phase ?? ''} of ${migrationId}: ${problem}`);
    if (type === 'LeaseAcquired') {
      if (epoch <= (owner?.epoch ?? 0)) problems.push(`${at}: epoch ${epoch} after ${owner?.epoch ?? 0}`);
      owner = { epoch, migrationId };
      if (standing === migrationId || (standing !== undefined && isBefore(migrationId, standing))) {
        problems.push(`${at}: ${migrationId} begins although ${standing} stands still`);
      }
      standing = undefined;
    }
    take(event, told);
    if (told.halted) standing = migrationId;
    else if (standing === migrationId) standing = undefined;
  });
  return problems;
}

/** Whether a migration leads to a lower version than another one of its model. */
const isBefore = (left: string, right: string): boolean =>
  compareVersions(targetVersionOf(left), targetVersionOf(right)) < 0;

/** What is told by somebody who does not own the migration, or becomes its owner by it. */
const isBeside = ({ type }: MigrationAuditEvent): boolean =>
  type === 'LeaseRejected' || type === 'LeaseAcquired';

const begun = (): Told => ({
  phase: undefined,
  isCompleted: false,
  startedUnder: 0,
  halted: false,
  mayBeginAnew: false,
  isOver: false,
});

function outOfTurn(event: MigrationAuditEvent, told: Told): string | undefined {
  const { type, phase, epoch } = event;
  if (type === 'LeaseRejected') return undefined;
  if (told.isOver) return 'it was completed before';
  switch (type) {
    case 'LeaseAcquired':
      return undefined;
    case 'PhaseStarted':
      if (told.halted) return 'it stands still';
      return mayStart(phase, told) ? undefined : `after ${told.phase ?? 'nothing'}`;
    case 'PhaseCompleted':
    case 'Partial':
    case 'RetryScheduled':
      if (told.halted || told.isCompleted) return 'it has ended before';
      return told.phase === phase && told.startedUnder === epoch ? undefined : 'it was not started';
    case 'Failed':
    case 'Paused':
      return told.halted ? 'it stands still' : undefined;
    case 'Canceled':
    case 'Resumed':
      return undefined;
    case 'Completed': {
      const isLast = phase === 'Contract' || (phase !== null && phase !== 'Expand');
      return isLast && told.isCompleted && told.phase === phase ? undefined : 'its last phase has not ended';
    }
  }
}

function mayStart(phase: MigrationPhase | null, { phase: before, isCompleted, mayBeginAnew }: Told): boolean {
  if (phase === null) return false;
  if (phase === before) return !isCompleted || mayBeginAnew;
  // An index is built without the other phases.
  if (before === undefined || mayBeginAnew) {
    if (phase === 'Expand' || phase === 'Backfill') return true;
  }
  return isCompleted && migrationPhases.indexOf(phase) === migrationPhases.indexOf(before ?? 'Expand') + 1;
}

function take({ type, phase, epoch, message }: MigrationAuditEvent, told: Told): void {
  switch (type) {
    case 'PhaseStarted':
      told.phase = phase ?? undefined;
      told.isCompleted = false;
      told.startedUnder = epoch;
      told.mayBeginAnew = false;
      return;
    case 'PhaseCompleted':
      told.isCompleted = true;
      return;
    case 'Canceled':
      if (message?.startsWith('Reset: ') === true) {
        Object.assign(told, begun());
        return;
      }
      told.halted = true;
      told.mayBeginAnew = true;
      return;
    case 'Failed':
      told.halted = true;
      told.mayBeginAnew = true;
      return;
    case 'Paused':
      told.halted = true;
      return;
    case 'Resumed':
      told.halted = false;
      return;
    case 'Completed':
      told.isOver = true;
      return;
    case 'LeaseAcquired':
      told.halted = false;
      return;
    case 'LeaseRejected':
    case 'Partial':
    case 'RetryScheduled':
      return;
  }
}

/** What was counted is what was told. */
export function checkCounters(events: readonly MigrationAuditEvent[], counted: MigrationMetrics): string[] {
  const count = (type: MigrationAuditEvent['type']) => events.filter((event) => event.type === type).length;
  const told = {
    completed: count('Completed'),
    failed: count('Failed'),
    canceled: count('Canceled'),
    paused: count('Paused'),
    partials: count('Partial'),
    retries: count('RetryScheduled'),
    takeovers: events.filter(({ type, message }) => type === 'LeaseAcquired' && message === 'taken over')
      .length,
  };
  return Object.entries(told).flatMap(([name, times]) => {
    const actual = counted[name as keyof typeof told];
    return actual === times ? [] : [`${name} counts ${actual}, the log has ${times}`];
  });
}
