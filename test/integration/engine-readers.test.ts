import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dataBytes } from '../../src/kv/embedded/compaction.ts';
import { openEmbeddedDatabase } from '../../src/kv/embedded/open.ts';
import { openTables, type Tables } from '../../src/kv/embedded/tables.ts';
import { keyValueLimits, type KeyValueDatabase } from '../../src/kv/kv.ts';
import { pinningReaders } from '../rig/lmdb-readers.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../rig/temporary-directory.ts';
import { createVirtualClock, type VirtualClock } from '../rig/virtual-clock.ts';

const key = (text: string): Buffer => Buffer.from(text);
const valueBytes = 50_000;

describe('a snapshot that is held too long', () => {
  let directory: TemporaryDirectory;
  let clock: VirtualClock;
  let database: KeyValueDatabase;
  let watching: Tables;
  beforeEach(async () => {
    directory = createTemporaryDirectory('readers');
    clock = createVirtualClock();
    database = await openEmbeddedDatabase({ directory: directory.path, clock });
    // The same environment: LMDB has one for each file of a process.
    watching = await openTables(directory.path);
  });
  afterEach(async () => {
    await watching.environment.close();
    await database.close();
    directory.remove();
  });

  /** The same twenty pairs again and again: with nobody reading, old pages are used again. */
  const overwrite = async (times: number) => {
    for (let round = 0; round < times; round++) {
      await database.transact(async (tx) => {
        for (let index = 0; index < 20; index++) tx.set(key(`k/${index}`), Buffer.alloc(valueBytes, round));
      });
    }
  };
  const readers = () => pinningReaders(watching.environment);

  it('pins its pages for the 5 s of a transaction, then its reader is gone and they are used again', async () => {
    await overwrite(5);
    const settledBytes = dataBytes(directory.path);
    const forgotten = database.createTransaction();
    await forgotten.get(key('k/0'));
    await overwrite(20);
    expect(readers()).toHaveLength(1);
    const grownBytes = dataBytes(directory.path);
    expect(grownBytes).toBeGreaterThan(settledBytes + 10 * 20 * valueBytes);
    clock.advance(keyValueLimits.transactionMs);
    expect(readers()).toHaveLength(1);
    // Looked at once in 5 s: the timer of the first look comes before it is too old, the next one after.
    clock.advance(keyValueLimits.transactionMs);
    await expect.poll(readers).toEqual([]);
    await expect(forgotten.get(key('k/0'))).rejects.toMatchObject({ code: 1007 });
    await overwrite(60);
    expect(dataBytes(directory.path)).toBeLessThanOrEqual(grownBytes);
  });

  it('is cut off at once when it is used after 5 s, and gives its pages free', async () => {
    await overwrite(1);
    const late = database.createTransaction();
    const pairs = late.getRange(key('k/'), key('k0'), { limit: 3 })[Symbol.asyncIterator]();
    await pairs.next();
    clock.advance(keyValueLimits.transactionMs + 1);
    await expect(late.get(key('k/0'))).rejects.toMatchObject({ code: 1007 });
    await expect(late.getRangeAll(key('k/'), key('k0'))).rejects.toMatchObject({ code: 1007 });
    late.set(key('late'), key('late'));
    await expect(late.commit()).rejects.toMatchObject({ code: 1007 });
    late.cancel();
    await expect.poll(readers).toEqual([]);
    expect(await database.transact((tx) => tx.get(key('late')))).toBeUndefined();
  });

  it('leaves those alone that are younger', async () => {
    await overwrite(1);
    const old = database.createTransaction();
    await old.get(key('k/0'));
    clock.advance(4_000);
    await overwrite(1);
    const young = database.createTransaction();
    await young.get(key('k/0'));
    expect(readers()).toHaveLength(2);
    clock.advance(4_000);
    expect((await young.get(key('k/1')))?.length).toBe(valueBytes);
    await expect(old.get(key('k/1'))).rejects.toMatchObject({ code: 1007 });
    young.cancel();
    old.cancel();
    await expect.poll(readers).toEqual([]);
  });

  it('is let go where nobody holds on to it: after commits, cancels and failures', async () => {
    await overwrite(1);
    for (let round = 0; round < 50; round++) {
      const canceled = database.createTransaction();
      await canceled.get(key('k/0'));
      const conflicting = database.createTransaction();
      await conflicting.get(key('k/1'));
      conflicting.set(key('mine'), key('1'));
      await database.transact(async (tx) => {
        await tx.get(key('k/2'));
        tx.set(key('k/1'), key(String(round)));
      });
      await expect(conflicting.commit()).rejects.toMatchObject({ code: 1020 });
      canceled.cancel();
      await expect(database.transact(() => Promise.reject(new Error('mine')))).rejects.toThrow('mine');
    }
    await expect.poll(readers).toEqual([]);
  });
});
