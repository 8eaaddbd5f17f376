import { KeyValueError, KeyValueErrorCode } from '../kv.ts';
import type { CommitHistory } from './commit-history.ts';
import type { Commit, CommitRequest } from './commit-request.ts';
import { compareKeys, type Key } from './keys.ts';
import type { KeyRange } from './conflict-set.ts';
import type { StorageWriter } from './storage.ts';
import { encodeVersionstamp } from './versionstamp.ts';
import type { WriteBuffer } from './write-buffer.ts';
import { createCommittedWrites, type WriteSet } from './write-set.ts';

/** A commit that waits for its batch. */
export interface QueuedCommit extends CommitRequest {
  /** Its reads were checked against every commit up to here, outside the lock. */
  readonly checkedThrough: number;
  readonly resolve: (commit: Commit) => void;
  readonly reject: (error: KeyValueError) => void;
}

export interface BatchResult {
  readonly committed: readonly { readonly queued: QueuedCommit; readonly commit: Commit }[];
  readonly refused: readonly { readonly queued: QueuedCommit; readonly error: KeyValueError }[];
  /** What each of the committed ones wrote; empty when everything was refused. */
  readonly writes: readonly WriteSet[];
}

export interface BatchOptions {
  readonly version: number;
  readonly history: CommitHistory;
  readonly writer: StorageWriter;
  /** For tests that show what the check is good for: without it, invariants break. */
  readonly unsafeWithoutConflictCheck: boolean;
}

/**
 * Carries out commits inside the exclusive write, in their order: each is checked against all commits that its
 * reads do not know, those before it in the same batch included.
 */
export function applyBatch(batch: readonly QueuedCommit[], options: BatchOptions): BatchResult {
  const { version, history, writer } = options;
  const committed: { queued: QueuedCommit; commit: Commit }[] = [];
  const refused: { queued: QueuedCommit; error: KeyValueError }[] = [];
  const writes: WriteSet[] = [];
  for (const queued of batch) {
    const error = options.unsafeWithoutConflictCheck ? undefined : refusal(queued, history);
    if (error !== undefined) {
      refused.push({ queued, error });
      continue;
    }
    const commit = { version, order: committed.length };
    const stampedKeys = queued.writes.apply(writer, encodeVersionstamp(version, commit.order));
    const written = writeSetOf(queued.writes, stampedKeys);
    history.add(createCommittedWrites(version, written));
    writes.push(written);
    committed.push({ queued, commit });
  }
  return { committed, refused, writes };
}

/** Why a transaction may not commit, as far as `history` knows; undefined when it may. */
export function refusal(
  { lease, reads, checkedThrough }: Pick<QueuedCommit, 'lease' | 'reads' | 'checkedThrough'>,
  history: CommitHistory,
): KeyValueError | undefined {
  if (lease === undefined) return undefined;
  if (lease.isTooOld() || lease.version < history.completeAfter) {
    return new KeyValueError(KeyValueErrorCode.transactionTooOld);
  }
  const since = Math.max(lease.version, checkedThrough);
  return history.conflicts(reads, since) ? new KeyValueError(KeyValueErrorCode.conflict) : undefined;
}

function writeSetOf(writes: WriteBuffer, stampedKeys: readonly Key[]): WriteSet {
  const ranges = [...writes.conflictRanges()];
  const keys = writes.sortedKeys();
  if (stampedKeys.length === 0) return { keys, ranges };
  return { keys: [...keys, ...stampedKeys].sort(compareKeys), ranges };
}

/** One set out of those of a batch, for whoever keeps it: sorting thousands of keys is not free. */
export function joinWriteSets(sets: readonly WriteSet[]): WriteSet {
  const [only] = sets;
  if (sets.length === 1 && only !== undefined) return only;
  const keys = new Set<Key>();
  const ranges: KeyRange[] = [];
  for (const set of sets) {
    for (const key of set.keys) keys.add(key);
    ranges.push(...set.ranges);
  }
  return { keys: [...keys].sort(compareKeys), ranges };
}
