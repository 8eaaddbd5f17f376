import { MigrationException } from '../errors.ts';
import type { Transaction } from '../kv/kv.ts';
import { limits } from '../limits.ts';
import type { ModelKeys } from '../records/keys.ts';
import {
  createRowFormat,
  isBoolean,
  isCount,
  isListOf,
  isNullOr,
  isNumber,
  isOneOf,
  isOptional,
  isShape,
  isString,
} from '../records/row.ts';
import type { DuplicatePair } from './duplicates.ts';
import { areDuplicates } from './duplicates.ts';

/** The four phases, in this order. */
export type MigrationPhase = 'Expand' | 'Backfill' | 'Verify' | 'Contract';
export const migrationPhases: readonly MigrationPhase[] = ['Expand', 'Backfill', 'Verify', 'Contract'];

export type MigrationStateStatus = 'Running' | 'Partial' | 'Retry' | 'Failed' | 'Paused' | 'Canceled';

/** The last thing that went wrong. */
export interface MigrationError {
  readonly code: string;
  readonly message: string;
  readonly atMs: number;
  readonly retryable: boolean;
  /** `UNIQUE_VIOLATION`: the first pairs of records that have the same values of a unique index, by key, at most 20. */
  readonly duplicates?: readonly DuplicatePair[] | undefined;
}

/** How an index of the target is filled: whole under a new id, or patched where the record's entries changed. */
export interface PlannedIndex {
  readonly name: string;
  readonly indexId: number;
  readonly mode: 'fill' | 'patch';
}

/**
 * What is persisted of a migration, besides its ranges: all that a restarted process needs to go on. Written at step
 * boundaries only, each time in the transaction that makes true what it says.
 */
export interface MigrationState {
  readonly migrationId: string;
  /** `index`: only entries of added indexes are filled; the gate stays open. */
  readonly kind: 'migration' | 'index';
  /** One more with every write: how a repeated transaction knows itself (protocol 4). */
  readonly revision: number;
  readonly phase: MigrationPhase;
  /** The phase is done and the next one has not started; after Contract: only publishing is left. */
  readonly phaseCompleted: boolean;
  readonly status: MigrationStateStatus;
  /** Starts of this phase in a row without progress. */
  readonly attempt: number;
  /** Retries granted to this phase in a row. */
  readonly retryCount: number;
  /** Belongs to hand-written handlers. */
  readonly cursor: string | null;
  readonly message: string | null;
  readonly lastError: MigrationError | null;
  /** Progress seen when the current attempt began, and steps forward that ranges do not show. */
  readonly progressSeen: number;
  readonly advances: number;
  /** What a hand-written handler reported through `advance`. */
  readonly reportedRecords: number;
  readonly reportedFraction: number | null;
  /** The hand-written handler of this phase answered Success; what the engine does after it may be left. */
  readonly handlerSucceeded: boolean;
  /** An Expand handler was called: there is no way back by itself. */
  readonly expandRan: boolean;
  readonly targetSchemaId: number;
  readonly targetKeySpace: number;
  /** Where records may lie that are to be moved. */
  readonly sourceKeySpaces: readonly number[];
  readonly indexes: readonly PlannedIndex[];
  /**
   * Content of the transform, so that nobody goes on with another one. Null for hand-written handlers; empty where the
   * next owner's is taken, whatever it is: an operator resumed.
   */
  readonly transformHash: string | null;
  /** How the owner moves and verifies: `termsOf`. Who helps has the same. Absent before the first owner. */
  readonly terms?: string | undefined;
  /** When the phases that have begun were first started, by the wall clock. */
  readonly phaseStartedMs: readonly number[];
  /** Verify is completed without the built-in verification: the options of its owner turn that off. */
  readonly unverified?: boolean | undefined;
  /**
   * Since when, by the wall clock, Contract waits for an operator's approval, or had to. Absent before Verify is completed,
   * and where the present owner asks for none: each owner says so when it acquires the lease.
   */
  readonly approvalSinceMs?: number | undefined;
  /** Wall clock time before which a retry does not start. */
  readonly retryAtMs: number | null;
  /** Revision of the intent that was last obeyed. */
  readonly intentRevision: number;
}

const stateFormat = createRowFormat<MigrationState>('migration state', {
  migrationId: isString,
  kind: isOneOf('migration', 'index'),
  revision: isCount,
  phase: isOneOf('Expand', 'Backfill', 'Verify', 'Contract'),
  phaseCompleted: isBoolean,
  status: isOneOf('Running', 'Partial', 'Retry', 'Failed', 'Paused', 'Canceled'),
  attempt: isCount,
  retryCount: isCount,
  cursor: isNullOr(isString),
  message: isNullOr(isString),
  lastError: isNullOr(
    isShape<MigrationError>({
      code: isString,
      message: isString,
      atMs: isNumber,
      retryable: isBoolean,
      duplicates: isOptional(areDuplicates),
    }),
  ),
  progressSeen: isCount,
  advances: isCount,
  reportedRecords: isCount,
  reportedFraction: isNullOr(isNumber),
  handlerSucceeded: isBoolean,
  expandRan: isBoolean,
  targetSchemaId: isCount,
  targetKeySpace: isCount,
  sourceKeySpaces: isListOf(isCount),
  indexes: isListOf(
    isShape<PlannedIndex>({ name: isString, indexId: isCount, mode: isOneOf('fill', 'patch') }),
  ),
  transformHash: isNullOr(isString),
  terms: isOptional(isString),
  phaseStartedMs: isListOf(isNumber),
  unverified: isOptional(isBoolean),
  approvalSinceMs: isOptional(isNumber),
  retryAtMs: isNullOr(isNumber),
  intentRevision: isCount,
});

/** In place of a transform's hash. */
export const adoptsTransform = '';

type FirstState = Pick<
  MigrationState,
  | 'migrationId'
  | 'kind'
  | 'revision'
  | 'phase'
  | 'targetSchemaId'
  | 'targetKeySpace'
  | 'sourceKeySpaces'
  | 'indexes'
  | 'transformHash'
  | 'intentRevision'
>;

/** The state of a migration whose first phase has not started. */
export function createState(first: FirstState): MigrationState {
  return {
    ...first,
    phaseCompleted: false,
    status: 'Running',
    attempt: 0,
    retryCount: 0,
    cursor: null,
    message: null,
    lastError: null,
    progressSeen: 0,
    advances: 0,
    reportedRecords: 0,
    reportedFraction: null,
    handlerSucceeded: false,
    expandRan: false,
    phaseStartedMs: [],
    retryAtMs: null,
  };
}

/** In place of the target's id: an operator had the word before anybody began, and chose no target. Real ids begin at 1. */
export const noTarget = 0;

export function isBegun({ targetSchemaId }: MigrationState): boolean {
  return targetSchemaId !== noTarget;
}

/** Whether it stands still until an operator resumes it. */
export function isHalted(state: MigrationState | undefined): boolean {
  return state !== undefined && ['Paused', 'Canceled', 'Failed'].includes(state.status);
}

const maxCursorBytes = limits.migration.cursorBytes.value;
/** UTF-16 code units of a persisted message; longer ones are cut. */
const maxMessageLength = limits.migration.messageLength.value;

export function cutMessage(message: string): string {
  return message.length <= maxMessageLength ? message : `${message.slice(0, maxMessageLength - 1)}…`;
}

/** @throws MigrationException CURSOR_TOO_LARGE */
export function checkCursor(cursor: string): string {
  const bytes = Buffer.byteLength(cursor);
  if (bytes > maxCursorBytes) {
    throw new MigrationException(
      'CURSOR_TOO_LARGE',
      `A cursor of ${bytes} bytes; at most ${maxCursorBytes} are kept.`,
      {
        details: { bytes, maxBytes: maxCursorBytes },
      },
    );
  }
  return cursor;
}

export async function readState(tx: Transaction, keys: ModelKeys): Promise<MigrationState | undefined> {
  return stateFormat.parseOptional(await tx.get(keys.state));
}

export function writeState(tx: Transaction, keys: ModelKeys, state: MigrationState): MigrationState {
  tx.set(keys.state, stateFormat.encode(state));
  return state;
}
