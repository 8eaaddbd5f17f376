import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openEmbeddedDatabase } from '../../src/kv/embedded/open.ts';
import { openTables } from '../../src/kv/embedded/tables.ts';
import { limits } from '../../src/limits.ts';
import { pinningReaders } from '../rig/lmdb-readers.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../rig/temporary-directory.ts';
import { createVirtualClock } from '../rig/virtual-clock.ts';
import { startEngineProcess, type EngineProcess } from './engine-processes.ts';

const snapshots = 900;
/** More than there are slots, if none came back. */
const kills = Math.ceil(limits.engine.readers.value / snapshots) + 1;

describe('readers of killed processes', () => {
  let directory: TemporaryDirectory;
  const processes: EngineProcess[] = [];
  beforeEach(() => {
    directory = createTemporaryDirectory('engine-readers');
  });
  afterEach(async () => {
    await Promise.all(processes.splice(0).map((started) => started.kill()));
    directory.remove();
  });
  const startHolder = async () => {
    const started = await startEngineProcess({ task: 'hold', directory: directory.path, snapshots });
    processes.push(started);
    await started.next('holding');
    return started;
  };
  const read = Buffer.from('held');

  it('give their slots back, however many are killed', async () => {
    const survivor = await openEmbeddedDatabase({ directory: directory.path });
    for (let kill = 0; kill < kills; kill++) {
      const holder = await startHolder();
      await holder.kill();
      expect(await survivor.transact((tx) => tx.get(read))).toBeDefined();
      await survivor.transact(async (tx) => tx.set(Buffer.from('survivor'), Buffer.from(String(kill))));
    }
    await survivor.close();
  }, 120_000);

  it('pin no pages once a survivor has noticed, though nobody opens the directory', async () => {
    const clock = createVirtualClock();
    const survivor = await openEmbeddedDatabase({ directory: directory.path, clock });
    const tables = await openTables(directory.path);
    const pinning = () => pinningReaders(tables.environment).length;
    const holders = [await startHolder(), await startHolder()];
    expect(pinning()).toBeGreaterThan(snapshots);
    await Promise.all(holders.map((holder) => holder.kill()));
    expect(pinning()).toBeGreaterThan(snapshots);
    // A commit looks for the dead every 2 s.
    clock.advance(2_500);
    await survivor.transact(async (tx) => tx.set(Buffer.from('a'), Buffer.from('1')));
    expect(pinning()).toBe(0);
    await tables.environment.close();
    await survivor.close();
  }, 120_000);
});
