import { limits } from '../../limits.ts';
import { KeyValueError, KeyValueErrorCode } from '../kv.ts';
import { refusal, type QueuedCommit } from './batch.ts';
import type { CommitHistory } from './commit-history.ts';
import type { Commit, CommitRequest } from './commit-request.ts';

/** What one exclusive write takes at most: others wait for the lock meanwhile. */
const maxBatchCommits = limits.engine.batchCommits.value;
const maxBatchBytes = limits.engine.batchBytes.value;

/** Commits on their way to the exclusive write. Its length is bounded by the transactions that are open. */
export class CommitQueue {
  #waiting: QueuedCommit[] = [];
  /** Those of priority `default` went without the others the last time. */
  #wentFirst = false;
  #inFlight = 0;
  #onIdle: (() => void) | undefined;

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /**
   * Checks outside the lock what is known outside the lock, so that only the newest commits are left for inside.
   * `knownThrough`: the history is complete up to this version.
   */
  add(request: CommitRequest, history: CommitHistory, knownThrough: number): Promise<Commit> {
    const refused = refusal({ ...request, checkedThrough: 0 }, history);
    if (refused !== undefined) return Promise.reject(refused);
    this.#inFlight++;
    return new Promise<Commit>((resolve, reject) => {
      this.#waiting.push({ ...request, checkedThrough: knownThrough, resolve, reject });
    }).finally(() => {
      if (--this.#inFlight === 0) this.#onIdle?.();
    });
  }

  /**
   * What the next exclusive write carries out, in the order in which it came. Where commits of both priorities wait, those
   * of priority `default` go alone: they would wait for what the others write. Then it is the turn of all.
   */
  takeBatch(): QueuedCommit[] {
    const isMixed =
      this.#waiting.some(({ isBatch }) => isBatch) && !this.#waiting.every(({ isBatch }) => isBatch);
    this.#wentFirst = isMixed && !this.#wentFirst;
    const taken: QueuedCommit[] = [];
    const left: QueuedCommit[] = [];
    let bytes = 0;
    for (const queued of this.#waiting) {
      const hasRoom = taken.length < maxBatchCommits && bytes < maxBatchBytes;
      if (!hasRoom || (this.#wentFirst && queued.isBatch)) left.push(queued);
      else {
        taken.push(queued);
        bytes += queued.writes.sizeBytes;
      }
    }
    this.#waiting = left;
    return taken;
  }

  rejectAll(error = new KeyValueError(KeyValueErrorCode.canceled)): void {
    for (const queued of this.takeBatch()) queued.reject(error);
    if (!this.isEmpty) this.rejectAll(error);
  }

  /** Resolves when nothing waits and nothing is being written. */
  async idle(): Promise<void> {
    if (this.#inFlight > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
  }
}
