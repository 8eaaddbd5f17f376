import type { Clock } from '../../ports/clock.ts';
import { keyValueLimits } from '../kv.ts';
import type { Snapshot } from './storage.ts';

/**
 * One transaction's right to read a snapshot and to be checked at its commit. Ends with the transaction, or when it
 * grows older than FoundationDB allows: a snapshot pins pages and history.
 */
export interface ReadLease {
  readonly version: number;
  /** Undefined once it was let go. */
  readonly snapshot: Snapshot | undefined;
  isTooOld(): boolean;
  /** Unpins the data, keeps the place in the history: all that a commit needs. */
  releaseSnapshot(): void;
  /** Twice is fine. */
  end(): void;
}

/** All open leases of one engine, oldest first. */
export class ReadLeases {
  readonly #clock: Clock;
  readonly #leases = new Set<OpenLease>();
  #timer: unknown;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  open(snapshot: Snapshot): ReadLease {
    const lease = new OpenLease(snapshot, this.#clock, (ended) => this.#leases.delete(ended));
    this.#leases.add(lease);
    this.#watchAge();
    return lease;
  }

  /** The oldest version that somebody may still be checked against; undefined when nobody is. */
  get oldestVersion(): number | undefined {
    for (const lease of this.#leases) return lease.version;
    return undefined;
  }

  close(): void {
    for (const lease of this.#leases) lease.end();
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** A transaction that its owner forgot would pin its snapshot for ever: the timer lets it go. */
  #watchAge(): void {
    if (this.#timer !== undefined) return;
    this.#timer = this.#clock.setTimeout(() => {
      this.#timer = undefined;
      for (const lease of this.#leases) {
        if (!lease.isTooOld()) break;
        lease.end();
      }
      if (this.#leases.size > 0) this.#watchAge();
    }, keyValueLimits.transactionMs);
  }
}

class OpenLease implements ReadLease {
  readonly version: number;
  snapshot: Snapshot | undefined;
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #onEnd: (lease: OpenLease) => void;
  #hasEnded = false;

  constructor(snapshot: Snapshot, clock: Clock, onEnd: (lease: OpenLease) => void) {
    this.snapshot = snapshot;
    this.version = snapshot.version;
    this.#clock = clock;
    this.#startedMs = clock.monotonicMs();
    this.#onEnd = onEnd;
  }

  isTooOld(): boolean {
    return this.#hasEnded || this.#clock.monotonicMs() - this.#startedMs > keyValueLimits.transactionMs;
  }

  releaseSnapshot(): void {
    this.snapshot?.release();
    this.snapshot = undefined;
  }

  end(): void {
    this.releaseSnapshot();
    this.#hasEnded = true;
    this.#onEnd(this);
  }
}
