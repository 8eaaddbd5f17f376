import { limits } from '../../limits.ts';
import type { Clock } from '../../ports/clock.ts';
import { KeyValueError, KeyValueErrorCode, keyValueLimits } from '../kv.ts';
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
  /** How many leases hold a snapshot of each version: those of one version share what they pin. */
  readonly #holders = new Map<number, number>();
  #timer: unknown;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * `take` is called where there is room for a snapshot more.
   *
   * @throws KeyValueError 1037 where there is none: some end soon, none grows older than 5 s
   */
  open(take: () => Snapshot): ReadLease {
    if (this.#holders.size >= limits.engine.snapshots.value) {
      const message = `more than ${limits.engine.snapshots.value} snapshots are open`;
      throw new KeyValueError(KeyValueErrorCode.processBehind, { message });
    }
    const snapshot = take();
    const { version } = snapshot;
    this.#holders.set(version, (this.#holders.get(version) ?? 0) + 1);
    const lease = new OpenLease(snapshot, this.#clock, {
      released: () => this.#released(version),
      ended: (ended) => this.#leases.delete(ended),
    });
    this.#leases.add(lease);
    this.#watchAge();
    return lease;
  }

  /** The oldest version that somebody may still be checked against; undefined when nobody is. */
  get oldestVersion(): number | undefined {
    for (const lease of this.#leases) return lease.version;
    return undefined;
  }

  /** Ends those that still read; those that only wait for their commit keep their place in the history. */
  endSnapshots(): void {
    for (const lease of this.#leases) if (lease.snapshot !== undefined) lease.end();
  }

  close(): void {
    for (const lease of this.#leases) lease.end();
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #released(version: number): void {
    const left = (this.#holders.get(version) ?? 1) - 1;
    if (left > 0) this.#holders.set(version, left);
    else this.#holders.delete(version);
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

interface LeaseListener {
  released(): void;
  ended(lease: OpenLease): void;
}

class OpenLease implements ReadLease {
  readonly version: number;
  snapshot: Snapshot | undefined;
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #listener: LeaseListener;
  #hasEnded = false;

  constructor(snapshot: Snapshot, clock: Clock, listener: LeaseListener) {
    this.snapshot = snapshot;
    this.version = snapshot.version;
    this.#clock = clock;
    this.#startedMs = clock.monotonicMs();
    this.#listener = listener;
  }

  isTooOld(): boolean {
    return this.#hasEnded || this.#clock.monotonicMs() - this.#startedMs > keyValueLimits.transactionMs;
  }

  releaseSnapshot(): void {
    if (this.snapshot === undefined) return;
    this.snapshot.release();
    this.snapshot = undefined;
    this.#listener.released();
  }

  end(): void {
    this.releaseSnapshot();
    this.#hasEnded = true;
    this.#listener.ended(this);
  }
}
