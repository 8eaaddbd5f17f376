import type { KeyValueDatabase, Transaction } from '../kv/kv.ts';
import { limits } from '../limits.ts';
import type { ModelKeys } from '../records/keys.ts';
import { keyAfter, rangeOf } from '../records/keys.ts';
import { createRowFormat, isCount, isNullOr, isNumber, isOneOf, isString } from '../records/row.ts';
import type { MigrationBindings } from '../telemetry/logger.ts';
import { auditLine } from './audit-line.ts';
import { integer, integerOf } from './counters.ts';
import type { MigrationPhase } from './state.ts';
import { cutMessage } from './state.ts';

export type MigrationAuditEventType =
  | 'LeaseAcquired'
  | 'LeaseRejected'
  | 'PhaseStarted'
  | 'PhaseCompleted'
  | 'Partial'
  | 'RetryScheduled'
  | 'Failed'
  | 'Paused'
  | 'Resumed'
  | 'Canceled'
  | 'Completed';

/** What happened to a migration, when and by whom. Holds no record data. */
export interface MigrationAuditEvent {
  /** Wall clock of the node. */
  readonly timestampMs: number;
  readonly modelId: number;
  readonly modelName: string;
  readonly migrationId: string;
  readonly type: MigrationAuditEventType;
  readonly phase: MigrationPhase | null;
  readonly attempt: number;
  readonly message: string | null;
  readonly nodeId: string;
  /** Of the lease under which it happened; 0 for what an operator asked for. */
  readonly epoch: number;
}

/** What lines about it are bound to. */
export const migrationOf = ({ modelName, migrationId, epoch }: MigrationAuditEvent): MigrationBindings => ({
  model: modelName,
  migrationId,
  epoch,
});

const auditFormat = createRowFormat<MigrationAuditEvent>('audit event', {
  timestampMs: isNumber,
  modelId: isCount,
  modelName: isString,
  migrationId: isString,
  type: isOneOf(
    'LeaseAcquired',
    'LeaseRejected',
    'PhaseStarted',
    'PhaseCompleted',
    'Partial',
    'RetryScheduled',
    'Failed',
    'Paused',
    'Resumed',
    'Canceled',
    'Completed',
  ),
  phase: isNullOr(isOneOf('Expand', 'Backfill', 'Verify', 'Contract')),
  attempt: isCount,
  message: isNullOr(isString),
  nodeId: isString,
  epoch: isCount,
});

/** Receives each event once its transaction has committed; what it throws is swallowed and counted. */
export type MigrationAuditEventReporter = (event: MigrationAuditEvent) => void;

const versionstampBytes = 10;
const maxTrimmed = limits.store.trimmedEvents.value;

/**
 * Sets an event under a versionstamp, in the transaction that makes it true: it is there exactly once, or not at all.
 * `ordinal` tells the events of one transaction apart.
 */
export function persistAuditEvent(
  tx: Transaction,
  keys: ModelKeys,
  event: MigrationAuditEvent,
  ordinal: number,
): void {
  const key = Buffer.concat([keys.audit, Buffer.alloc(versionstampBytes), Buffer.of(ordinal)]);
  const message = event.message === null ? null : cutMessage(event.message);
  tx.setVersionstampedKey(key, keys.audit.length, auditFormat.encode({ ...event, message }));
  tx.atomicOp('add', keys.auditCount, integer(1));
}

/** Where an event lies in the order of all commits, as text that sorts: also of events that are not kept. */
export const auditPosition = (versionstamp: Uint8Array, ordinal: number): string =>
  Buffer.concat([versionstamp, Buffer.of(ordinal)]).toString('hex');

/** Looked through after an unknown result. */
const recentEvents = limits.store.searchedEvents.value;

/** Whether an event was kept in an attempt of which nobody knew how it ended. */
export async function hasAuditEvent(
  tx: Transaction,
  keys: ModelKeys,
  event: MigrationAuditEvent,
): Promise<boolean> {
  const text = auditLine(event);
  return (await readAuditEvents(tx, keys, recentEvents)).some((kept) => auditLine(kept) === text);
}

/** The latest `limit` events, oldest first. */
export async function readAuditEvents(
  tx: Transaction,
  keys: ModelKeys,
  limit: number,
): Promise<readonly MigrationAuditEvent[]> {
  const { begin, end } = rangeOf(keys.audit);
  const rows = await tx.getRangeAll(begin, end, { reverse: true, limit, snapshot: true });
  return rows.map(({ value }) => auditFormat.parse(value)).toReversed();
}

/**
 * Clears all but the latest `maxEntries`, in transactions of its own, after the commit of what was audited. A log that is
 * short enough costs one read. Two that trim at once conflict on the rows they clear, so that each is counted once.
 */
export async function trimAuditEvents(
  database: KeyValueDatabase,
  keys: ModelKeys,
  maxEntries: number,
): Promise<void> {
  const { begin, end } = rangeOf(keys.audit);
  let isTrimmed = false;
  while (!isTrimmed) {
    isTrimmed = await database.transact(async (tx) => {
      const tooMany = integerOf(await tx.get(keys.auditCount, { snapshot: true })) - maxEntries;
      if (tooMany <= 0) return true;
      const oldest = await tx.getRangeAll(begin, end, { limit: Math.min(tooMany, maxTrimmed) });
      const last = oldest.at(-1);
      if (last === undefined) return true;
      tx.clearRange(begin, keyAfter(last.key));
      tx.atomicOp('add', keys.auditCount, integer(-oldest.length));
      return tooMany <= oldest.length;
    });
  }
}
