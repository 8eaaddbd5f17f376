import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CommitLog } from '../../../src/kv/embedded/commit-log.ts';
import type { EngineState } from '../../../src/kv/embedded/state.ts';
import { openTables, writeExclusively, type Tables } from '../../../src/kv/embedded/tables.ts';
import { backoffDelayMs } from '../../../src/kv/engine/backoff.ts';
import { CommitHistory } from '../../../src/kv/engine/commit-history.ts';
import { CommitQueue } from '../../../src/kv/engine/commit-queue.ts';
import { ConflictSet } from '../../../src/kv/engine/conflict-set.ts';
import { WriteBuffer } from '../../../src/kv/engine/write-buffer.ts';
import { limits } from '../../../src/limits.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../rig/temporary-directory.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

describe('the batch of one exclusive write', () => {
  const history = new CommitHistory(0);
  /** A queue of commits that weigh so much each. */
  const queueOf = (sizes: readonly number[]) => {
    const queue = new CommitQueue();
    for (const size of sizes) {
      const writes = new WriteBuffer();
      writes.set('k', Buffer.alloc(0));
      writes.sizeBytes = size;
      queue
        .add(
          { lease: undefined, reads: new ConflictSet(), writes, isBatch: false, isRequest: false },
          history,
          0,
        )
        .catch(() => undefined);
    }
    return queue;
  };
  const batchesOf = (queue: CommitQueue) => {
    const batches = [];
    while (!queue.isEmpty) batches.push(queue.takeBatch().length);
    return batches;
  };
  const { batchCommits, batchBytes } = limits.engine;

  it('takes as many commits as it may, and leaves one more for the next', () => {
    const commits = (count: number) => queueOf(Array.from({ length: count }, () => 1));
    expect(batchesOf(commits(batchCommits.value))).toEqual([batchCommits.value]);
    expect(batchesOf(commits(batchCommits.value + 1))).toEqual([batchCommits.value, 1]);
  });

  it('takes the commit that fills its bytes, and leaves one more for the next', () => {
    expect(batchesOf(queueOf([batchBytes.value - 1, 1]))).toEqual([2]);
    expect(batchesOf(queueOf([batchBytes.value - 1, 1, 1]))).toEqual([2, 1]);
  });
});

describe('commits of both priorities', () => {
  it('take turns: those of priority default go alone, and then all', () => {
    const queue = new CommitQueue();
    const history = new CommitHistory(0);
    const add = (isBatch: boolean) => {
      const writes = new WriteBuffer();
      writes.set(isBatch ? 'batch' : 'default', Buffer.alloc(0));
      queue
        .add({ lease: undefined, reads: new ConflictSet(), writes, isBatch, isRequest: false }, history, 0)
        .catch(() => undefined);
    };
    const take = () => queue.takeBatch().map(({ isBatch }) => (isBatch ? 'batch' : 'default'));
    for (const isBatch of [true, false, true, false]) add(isBatch);
    expect(take()).toEqual(['default', 'default']);
    add(false);
    expect(take()).toEqual(['batch', 'batch', 'default']);
    add(false);
    expect(take()).toEqual(['default']);
    add(true);
    expect(take()).toEqual(['batch']);
    expect(queue.isEmpty).toBe(true);
  });
});

describe('the delay before a transaction is repeated', () => {
  it('grows up to its bound and no further', () => {
    const random = { fraction: () => 1, id: () => '' };
    const delays = Array.from({ length: 30 }, (_, failures) => backoffDelayMs(1007, failures, random));
    expect(delays.slice(0, 8)).toEqual([10, 20, 40, 80, 160, 320, 640, limits.database.retryDelayMs.value]);
    expect(Math.max(...delays)).toBe(limits.database.retryDelayMs.value);
  });
});

describe('the log of commits', () => {
  let directory: TemporaryDirectory;
  let tables: Tables;
  beforeEach(async () => {
    directory = createTemporaryDirectory('log-limits');
    tables = await openTables(directory.path);
  });
  afterEach(async () => {
    await tables.environment.close();
    directory.remove();
  });
  const entries = () => [...tables.log.getKeys({ start: '' })].length;
  const state = (version: number): EngineState => ({
    version,
    logCompleteAfter: 0,
    sessionsRevision: 0,
    requestCommits: 0,
  });
  const { logMs, prunedEntries } = limits.engine;

  it('keeps an entry for as long as somebody may need it, and not longer', async () => {
    const clock = createVirtualClock();
    const log = new CommitLog(tables, clock);
    await writeExclusively(tables, () => {
      log.append(1, { keys: ['a'], ranges: [] });
      clock.advance(logMs.value - 1);
      expect(log.prune(state(1))).toBe(0);
      expect(entries()).toBe(1);
      clock.advance(1);
      expect(log.prune(state(1))).toBe(1);
      expect(entries()).toBe(0);
    });
  });

  it.each([
    [prunedEntries.value, 0],
    [prunedEntries.value + 1, 1],
  ])('of %d old entries leaves %d for the next commit', async (count, left) => {
    const log = new CommitLog(tables, createVirtualClock());
    await writeExclusively(tables, () => {
      for (let version = 1; version <= count; version += 1) log.append(version, { keys: ['a'], ranges: [] });
      log.discard(state(count));
      expect(entries()).toBe(left);
      log.discard(state(count));
      expect(entries()).toBe(0);
    });
  });
});
