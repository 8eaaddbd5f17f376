import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openEmbeddedDatabase } from '../../src/kv/embedded/open.ts';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../rig/temporary-directory.ts';
import { startEngineProcess, type EngineProcess } from './engine-processes.ts';

describe('what other processes commit on a directory', () => {
  let directory: TemporaryDirectory;
  let database: KeyValueDatabase;
  let other: EngineProcess | undefined;
  beforeEach(async () => {
    directory = createTemporaryDirectory('engine-neighbours');
    database = await openEmbeddedDatabase({ directory: directory.path });
    other = undefined;
  });
  afterEach(async () => {
    await other?.kill();
    await database.close();
    directory.remove();
  });
  /** What is known of the others comes with a commit of its own. */
  const commit = (priority: 'default' | 'batch') =>
    database.transact(async (tx) => tx.set(Buffer.from('own'), Buffer.alloc(0)), { priority });
  const countAfter = async (priority: 'default' | 'batch') => {
    other = await startEngineProcess({ task: 'load', directory: directory.path, self: 1, priority });
    await other.next('committed');
    await other.stop();
    await commit('batch');
    return database.commitsOfOthers?.();
  };

  it('is counted', async () => {
    const counted = await countAfter('default');
    expect(counted).toBe(other?.committed);
  });

  it('is not counted where it is of priority batch, and nor is what this process commits', async () => {
    await commit('default');
    expect(await countAfter('batch')).toBe(0);
  });

  it('was there before this process does not count', async () => {
    await commit('default');
    await database.close();
    database = await openEmbeddedDatabase({ directory: directory.path });
    await commit('default');
    expect(database.commitsOfOthers?.()).toBe(0);
  });
});
