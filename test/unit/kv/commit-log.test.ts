import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CommitLog } from '../../../src/kv/embedded/commit-log.ts';
import type { EngineState } from '../../../src/kv/embedded/state.ts';
import { openTables, writeExclusively, type Tables } from '../../../src/kv/embedded/tables.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../rig/temporary-directory.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

const state = (version: number): EngineState => ({
  version,
  logCompleteAfter: 0,
  sessionsRevision: 0,
  requestCommits: 0,
});

describe('the log of commits', () => {
  let directory: TemporaryDirectory;
  let tables: Tables;
  beforeEach(async () => {
    directory = createTemporaryDirectory('kv-log');
    tables = await openTables(directory.path);
  });
  afterEach(async () => {
    await tables.environment.close();
    directory.remove();
  });
  const entries = () => [...tables.log.getKeys({ start: '' })].length;

  it('loses what is older than any transaction, keeps the rest, and catches up however much there is', async () => {
    const clock = createVirtualClock();
    const log = new CommitLog(tables, clock);
    await writeExclusively(tables, () => {
      for (let version = 1; version <= 1_000; version++) log.append(version, { keys: ['a'], ranges: [] });
      clock.advance(9_000);
      for (let version = 1_001; version <= 1_100; version++) log.append(version, { keys: ['a'], ranges: [] });
      expect(log.prune(state(1_100))).toBe(0);
      expect(entries()).toBe(1_100);
      clock.advance(1_500);
      // The note of the first batch is the version at its beginning; the next one covers the rest of it.
      expect(log.prune(state(1_100))).toBe(1);
      clock.advance(10_000);
      let current = state(1_100);
      for (let commit = 0; commit < 6; commit++)
        current = { ...current, logCompleteAfter: log.prune(current) };
      expect(current.logCompleteAfter).toBe(1_001);
      expect(entries()).toBe(99);
    });
  });

  it('is emptied when nobody else is there to read it', async () => {
    const log = new CommitLog(tables, createVirtualClock());
    await writeExclusively(tables, () => {
      for (let version = 1; version <= 500; version++) log.append(version, { keys: ['a'], ranges: [] });
      for (let round = 0; round < 4; round++) log.discard(state(500));
      expect(entries()).toBe(0);
      log.append(501, { keys: ['b'], ranges: [] });
      expect(entries()).toBe(1);
      log.discard(state(501));
      expect(entries()).toBe(0);
    });
  });
});
