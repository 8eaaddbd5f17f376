import { MigrationException } from '../errors.ts';
import type { Transaction } from '../kv/kv.ts';
import type { Clock } from '../ports/clock.ts';

export interface LeaseRequest {
  readonly modelId: number;
  readonly migrationId: string;
  readonly nodeId: string;
  readonly signal: AbortSignal;
  /**
   * Takes it from a holder that is alive too: somebody who knows better than a clock has decided who owns it. The holder
   * commits nothing from then on. Default false.
   */
  readonly displaces?: boolean | undefined;
  /**
   * Runs inside the transaction that makes this node the owner, before it commits: whatever has to be true together
   * with the ownership is read and written here. What it throws ends the attempt and leaves everything as it was.
   */
  readonly prepare?: ((tx: Transaction, grant: LeaseGrant) => Promise<void>) | undefined;
}

export interface LeaseGrant {
  /** The fencing number: greater than that of every earlier owner. */
  readonly epoch: number;
  /** Whether an owner that had not released was displaced. */
  readonly takeover: boolean;
  /** The session of that owner, silent or dead: what it has claimed may be claimed by others. */
  readonly displacedSession?: string | undefined;
}

export interface LeaseHandle extends LeaseGrant {
  readonly refused?: false;
  /** Makes the transaction fail, or conflict, unless this handle still owns the model. @throws LEASE_LOST */
  guard(tx: Transaction): Promise<void>;
  /** Gives the ownership back, keeps the epoch. Twice is fine. */
  release(): Promise<void>;
  /** Aborted as soon as this node knows, or must assume, that it is not the owner any more. */
  readonly lost: AbortSignal;
}

export interface LeaseRefused {
  readonly refused: true;
  readonly holder: LeaseExplanation | undefined;
  /** Ends when it is worth trying again: the owner row changed, or a poll interval is over. */
  worthRetrying(signal: AbortSignal): Promise<void>;
}

/** Who holds a lease, for operators. */
export interface LeaseExplanation {
  readonly nodeId: string;
  readonly host: string;
  readonly pid: number;
  readonly epoch: number;
  /** Wall clock of the owner. */
  readonly sinceMs: number;
  readonly migrationId: string;
  /** How many heartbeats the owner has made. */
  readonly beats: number;
  /** The last of them, or the acquisition, by the wall clock of the owner: for people, no lease is judged by it. */
  readonly beatAtMs: number;
  /** False once it was released. */
  readonly held: boolean;
}

/** What an operator asks for when a holder has to go. */
export interface ForcedRelease {
  readonly modelId: number;
  /** Runs inside the transaction that ends the ownership. */
  readonly record?: ((tx: Transaction, displaced: LeaseExplanation) => void) | undefined;
}

/** Who may migrate a model: one node at a time, each with a higher epoch than the one before. */
export interface MigrationLease {
  /** One attempt; it does not wait for the holder. What `prepare` throws is thrown on. */
  acquire(request: LeaseRequest): Promise<LeaseHandle | LeaseRefused>;
  /** Who holds it, or held it last; undefined where nobody ever did. */
  explain(modelId: number): Promise<LeaseExplanation | undefined>;
  /**
   * Ends the ownership of whoever has it, dead or alive: nothing that one does commits any more. Answers who that was;
   * undefined when nobody held it. A lease without it cannot be released by an operator.
   */
  forceRelease?(request: ForcedRelease): Promise<LeaseExplanation | undefined>;
}

/** What a store has to offer to a lease that is made for it. */
export interface LeaseParts {
  /** The default lease, to build upon. */
  readonly lease: MigrationLease;
  readonly clock: Clock;
  readonly heartbeatMs: number;
}

/** Makes the lease of a store when it is opened. */
export type MigrationLeaseFactory = (parts: LeaseParts) => MigrationLease;

/** What a guard throws, and what `lost` aborts with: the ownership is over. */
export function leaseLost(epoch: number, cause?: unknown): MigrationException {
  return new MigrationException('LEASE_LOST', `Epoch ${epoch} is not the owner any more.`, {
    details: { epoch },
    ...(cause === undefined ? {} : { cause }),
  });
}
