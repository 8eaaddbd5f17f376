import { limits } from '../../limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { CommitHistory } from '../engine/commit-history.ts';
import type { WriteSet } from '../engine/write-set.ts';
import type { Key } from '../engine/keys.ts';
import { decodeWriteSet, encodeWriteSet } from './log-codec.ts';
import type { EngineState } from './state.ts';
import type { Tables } from './tables.ts';

/** No transaction in any process reads at a version older than 5 s; twice that leaves room for slow ones. */
const keepMs = limits.engine.logMs.value;

/** Ages are noted at most this often: a hundred notes cover what is kept. */
const noteEveryMs = 100;

/** Entries deleted by one commit at most. A commit adds one, so deleting always catches up. */
const maxPrunedPerCommit = limits.engine.prunedEntries.value;

interface AgeNote {
  readonly version: number;
  readonly seenMs: number;
}

/**
 * What recent commits wrote, for the other processes on the directory: each checks its own transactions against the
 * commits of all. Entries are deleted by how long *this* process has known them on its monotonic clock, so no step of
 * any wall clock deletes one that is still needed.
 */
export class CommitLog {
  readonly #tables: Tables;
  readonly #clock: Clock;
  readonly #ages: AgeNote[] = [];
  #mayHaveEntries = true;

  constructor(tables: Tables, clock: Clock) {
    this.#tables = tables;
    this.#clock = clock;
  }

  /**
   * Brings `history` from version `knownThrough` to that of `state`, from `entries` newer than `knownThrough`. Where
   * the log has a gap the history begins anew behind it.
   */
  catchUp(
    history: CommitHistory,
    knownThrough: number,
    state: EngineState,
    entries: Iterable<{ readonly key: Key; readonly value: Buffer }>,
  ): void {
    if (state.version <= knownThrough) return;
    if (state.logCompleteAfter > knownThrough) history.restart(state.logCompleteAfter);
    for (const { key, value } of entries) {
      const version = versionOfKey(key);
      if (version > state.logCompleteAfter) history.add(decodeWriteSet(version, value));
    }
    this.#note(state.version);
  }

  /** Inside the exclusive write. */
  append(version: number, writes: WriteSet): void {
    void this.#tables.log.put(versionKey(version), encodeWriteSet(writes));
    this.#mayHaveEntries = true;
    this.#note(version);
  }

  /** Inside the exclusive write. Answers the version that the log is complete after. */
  prune(state: EngineState): number {
    const nowMs = this.#clock.monotonicMs();
    let through = 0;
    let old = 0;
    for (const note of this.#ages) {
      if (nowMs - note.seenMs < keepMs) break;
      through = note.version;
      old++;
    }
    if (old === 0) return state.logCompleteAfter;
    const last = this.#deleteThrough(through);
    if (last === through) this.#ages.splice(0, old);
    return Math.max(state.logCompleteAfter, last);
  }

  /** Inside the exclusive write, when nobody else is there to read it. */
  discard(state: EngineState): void {
    if (!this.#mayHaveEntries) return;
    this.#ages.length = 0;
    this.#mayHaveEntries = this.#deleteThrough(state.version) < state.version;
  }

  /** Answers the version up to which nothing is left. */
  #deleteThrough(version: number): number {
    const keys = [
      ...this.#tables.log.getKeys({ start: '', end: versionKey(version + 1), limit: maxPrunedPerCommit }),
    ];
    let last = 0;
    for (const bytes of keys) {
      const key = (bytes as unknown as Buffer).toString('latin1');
      void this.#tables.log.remove(key);
      last = versionOfKey(key);
    }
    return keys.length < maxPrunedPerCommit ? version : last;
  }

  #note(version: number): void {
    const seenMs = this.#clock.monotonicMs();
    const last = this.#ages.at(-1);
    // The note of an interval is its first: later versions wait for the next one and are deleted with it.
    if (last === undefined || seenMs - last.seenMs >= noteEveryMs) this.#ages.push({ version, seenMs });
  }
}

export function versionKey(version: number): Key {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(version));
  return bytes.toString('latin1');
}

function versionOfKey(key: Key): number {
  return Number(Buffer.from(key, 'latin1').readBigUInt64BE());
}
