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
  readonly #waiting: QueuedCommit[] = [];
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

  takeBatch(): QueuedCommit[] {
    let count = 0;
    let bytes = 0;
    while (count < this.#waiting.length && count < maxBatchCommits && bytes < maxBatchBytes) {
      bytes += (this.#waiting[count] as QueuedCommit).writes.sizeBytes;
      count++;
    }
    return this.#waiting.splice(0, count);
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
