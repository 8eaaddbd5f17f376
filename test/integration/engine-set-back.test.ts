import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openEmbeddedDatabase } from '../../src/kv/embedded/open.ts';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import type { TemporaryDirectory } from '../rig/temporary-directory.ts';
import { createTemporaryDirectory } from '../rig/temporary-directory.ts';

const key = (name: string) => Buffer.from(name);

describe('a directory whose last commit another process has overlooked while it opened the files', () => {
  let directory: TemporaryDirectory;
  let database: KeyValueDatabase;
  beforeEach(async () => {
    directory = createTemporaryDirectory('set-back');
    database = await openEmbeddedDatabase({ directory: directory.path });
    await put('a');
    await put('b');
  });
  afterEach(async () => {
    await database.close();
    directory.remove();
  });

  const put = (name: string) =>
    database.transact((tx) => Promise.resolve(tx.set(key(name), Buffer.from('1'))));
  const names = () =>
    database.transact(async (tx) =>
      (await tx.getRangeAll(key('a'), key('z'))).map((pair) => pair.key.toString()),
    );

  /**
   * As LMDB does when it opens: the number of the last transaction, after magic and format of the lock file. By another
   * process: whoever closes a file gives up the locks that his process has on it.
   */
  const setBack = (by: number) => {
    const script = `
      const { closeSync, openSync, readSync, writeSync } = require('node:fs');
      const file = openSync(process.argv[1], 'r+');
      const number = Buffer.alloc(8);
      readSync(file, number, 0, 8, 8);
      number.writeBigUInt64LE(number.readBigUInt64LE() - BigInt(process.argv[2]));
      writeSync(file, number, 0, 8, 8);
      closeSync(file);`;
    execFileSync(process.execPath, ['-e', script, join(directory.path, 'lock.mdb'), String(by)]);
  };

  it.each([1, 2])('loses none of its commits to the next one (%i)', async (by) => {
    setBack(by);
    await put('c');
    await put('d');
    expect(await names()).toEqual(['a', 'b', 'c', 'd']);
  });

  it('shows whoever has committed nothing older than that', async () => {
    setBack(1);
    expect(await names()).toEqual(['a', 'b']);
  });
});
