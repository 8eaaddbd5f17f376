import type { ConflictSet } from './conflict-set.ts';
import { isOverwritten, mergeCommittedWrites, type CommittedWrites } from './write-set.ts';

/**
 * So many neighbouring small sets become one: the check looks at a few dozen sets however many small commits there
 * were (10,000 of them checked one by one took 5 ms under the writer lock), and a key is merged four times at most.
 */
const mergeFanOut = 16;

/** Sets above this many keys stay as they are: a few hundred such commits fit into a transaction's life. */
const mergeMaxKeys = 4_096;

interface Run {
  readonly writes: CommittedWrites;
  /** How often its parts were merged. */
  readonly level: number;
}

/** The recent commits, oldest first: what the reads of a transaction are checked against when it commits. */
export class CommitHistory {
  #runs: Run[] = [];
  /** Every commit after this version is in here. */
  #completeAfter: number;

  constructor(version: number) {
    this.#completeAfter = version;
  }

  get completeAfter(): number {
    return this.#completeAfter;
  }

  add(writes: CommittedWrites): void {
    this.#runs.push({ writes, level: 0 });
    this.#compact();
  }

  /** Whether anything in `reads` was written after version `since`. */
  conflicts(reads: ConflictSet, since: number): boolean {
    for (let index = this.#runs.length - 1; index >= 0; index--) {
      const { writes } = this.#runs[index] as Run;
      if (writes.maxVersion <= since) return false;
      if (isOverwritten(reads, writes, since)) return true;
    }
    return false;
  }

  /** Forgets what no transaction that read at `version` or later has to know. */
  forgetThrough(version: number): void {
    let count = 0;
    while (count < this.#runs.length && (this.#runs[count] as Run).writes.maxVersion <= version) count++;
    if (count > 0) this.#runs.splice(0, count);
    if (version > this.#completeAfter) this.#completeAfter = version;
  }

  /** Begins anew where commits are missing: what read before `version` cannot be checked any more. */
  restart(version: number): void {
    this.#runs = [];
    this.#completeAfter = version;
  }

  #compact(): void {
    for (;;) {
      const last = this.#runs.at(-1);
      const first = this.#runs.length - mergeFanOut;
      if (last === undefined || first < 0) return;
      const group = this.#runs.slice(first);
      const keys = group.reduce((sum, { writes }) => sum + writes.size, 0);
      if (keys > mergeMaxKeys || group.some(({ level }) => level !== last.level)) return;
      const merged = mergeCommittedWrites(group.map(({ writes }) => writes));
      this.#runs.splice(first, mergeFanOut, { writes: merged, level: last.level + 1 });
    }
  }
}
