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
  const commit = (isRequest: boolean) =>
    database.transact(async (tx) => tx.set(Buffer.from('own'), Buffer.alloc(0)), { isRequest });
  const countAfter = async (isRequest: boolean) => {
    other = await startEngineProcess({ task: 'load', directory: directory.path, self: 1, isRequest });
    await other.next('committed');
    await other.stop();
    await commit(false);
    return database.requestsOfOthers?.();
  };

  it('is counted where it is a request', async () => {
    const counted = await countAfter(true);
    expect(counted).toBe(other?.committed);
  });

  it('is not counted where it is none, and nor is what this process commits', async () => {
    await commit(true);
    expect(await countAfter(false)).toBe(0);
  });

  it('was there before this process does not count', async () => {
    await commit(true);
    await database.close();
    database = await openEmbeddedDatabase({ directory: directory.path });
    await commit(true);
    expect(database.requestsOfOthers?.()).toBe(0);
  });
});
