import type { BusState } from '../cluster/bus.ts';
import type { MigrationError, MigrationPhase } from './state.ts';

/** Where a model stands. A closed set. */
export type MigrationStatusState = 'Idle' | 'Waiting' | 'Running' | 'Paused' | 'Canceled' | 'Failed';

/** Why it stands there, where that needs saying. An open set of codes: readers accept new ones. */
export interface MigrationReason {
  readonly code:
    | 'dependency'
    | 'lease'
    | 'retryBackoff'
    | 'throttled'
    | 'approval'
    | 'stalled'
    | 'pausing'
    | 'canceling'
    | 'targetChanged'
    | 'mixedRecords'
    | 'transformMismatch'
    | (string & {});
  readonly message: string;
  readonly sinceMs: number;
  readonly untilMs?: number | undefined;
}

export interface MigrationProgress {
  readonly recordsDone: number;
  /** An estimate until Backfill is over, from what was found in the ranges when they were planned; null while nobody has one. */
  readonly recordsEstimated: number | null;
  /** 0 to 1 within the phase, in key space; 1 only when the phase is over. Null where a handler reports none. */
  readonly fraction: number | null;
  readonly recordsPerSecond: number;
}

/** A node that has claimed ranges of the present phase. */
export interface MigrationMover {
  readonly nodeId: string;
  readonly ranges: number;
  /** 0 until it has moved for a second or so. */
  readonly recordsPerSecond: number;
}

/** What `migrationStatus` answers. */
export interface MigrationStatus {
  readonly modelId: number;
  readonly modelName: string;
  readonly migrationId: string | null;
  readonly state: MigrationStatusState;
  readonly reason?: MigrationReason | undefined;
  readonly phase: MigrationPhase | null;
  readonly attempt: number;
  readonly lastError: MigrationError | null;
  readonly hasCursor: boolean;
  readonly retryCount: number;
  /**
   * Milliseconds until the phase is over, at the pace of about the last minute and with the nodes that move now. Throttling
   * counts; what comes after the phase does not. Null where it is unknown: before a second chunk was committed, while
   * records are left that are far larger than all that were moved, where nobody moves, and where a handler writes the
   * records. A guess early in a phase may be far off where cost depends on nothing that shows: neither on the number of
   * records nor on their size.
   */
  readonly etaMs: number | null;
  /** Whether requests to the model are refused meanwhile. */
  readonly blocking: boolean;
  readonly message: string | null;
  readonly progress: MigrationProgress;
  readonly owner: { readonly nodeId: string; readonly epoch: number } | null;
  /** The nodes that move or verify its records now, by id: the owner, and those that help. */
  readonly movers: readonly MigrationMover[];
  /** Of the operator's last word on this migration; 0 when there was none. */
  readonly intentRevision: number;
  /** Of the process that answers: whether others hear of it. Null for a bus that does not tell. */
  readonly bus: BusState | null;
}
