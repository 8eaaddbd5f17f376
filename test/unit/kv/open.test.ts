import { existsSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openEmbeddedDatabase } from '../../../src/kv/embedded/open.ts';
import { openDatabase } from '../../../src/kv/open.ts';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import { systemProcess } from '../../../src/ports/process.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../rig/temporary-directory.ts';

const key = Buffer.from('key');

describe('opening a database', () => {
  let directory: TemporaryDirectory;
  beforeEach(() => {
    directory = createTemporaryDirectory('kv-open');
  });
  afterEach(() => directory.remove());

  it('keeps what is in a directory from one opening to the next', async () => {
    const address = `embedded:${join(directory.path, 'made', 'on the way')}`;
    for (const expected of [undefined, '1', '2']) {
      const database = await openDatabase(address);
      await database.transact(async (tx) => {
        expect((await tx.get(key))?.toString()).toBe(expected);
        tx.set(key, Buffer.from(String(Number(expected ?? '0') + 1)));
      });
      await database.close();
    }
  });

  it('that the caller opened keeps all that its engine offers', async () => {
    const opened = await openEmbeddedDatabase({ directory: directory.path });
    const database = await openDatabase(opened);
    await database.transact(async (tx) => tx.set(key, key));
    expect(Object.keys(database).toSorted()).toEqual(Object.keys(opened).toSorted());
    expect(database.requestsOfOthers?.()).toBe(0);
    await opened.close();
  });

  it('makes nothing where that is not wished: a directory that is missing, empty or none of its own stays so', async () => {
    const missing = join(directory.path, 'missing');
    const empty = join(directory.path, 'empty');
    const foreign = join(directory.path, 'foreign');
    mkdirSync(empty);
    mkdirSync(foreign);
    writeFileSync(join(foreign, 'letter.txt'), 'dear all');
    for (const [path, code] of [
      [missing, 'STORE_MISSING'],
      [empty, 'STORE_MISSING'],
      [foreign, 'ENGINE_DIRECTORY_INVALID'],
      [join(foreign, 'letter.txt'), 'ENGINE_DIRECTORY_INVALID'],
    ] as const) {
      const opening = openDatabase(`embedded:${path}`, { create: false });
      await expect(opening).rejects.toMatchObject({ code });
    }
    expect(existsSync(missing)).toBe(false);
    expect([empty, foreign].map((path) => readdirSync(path))).toEqual([[], ['letter.txt']]);
    const made = await openDatabase(`embedded:${missing}`);
    await made.close();
    const again = await openDatabase(`embedded:${missing}`, { create: false });
    await again.close();
  });

  it('opens one directory twice in one process, each side seeing the commits of the other', async () => {
    const [left, right] = await Promise.all([0, 1].map(() => openDatabase(`embedded:${directory.path}`)));
    const add = async (index: number) =>
      (index % 2 === 0 ? left : right)?.transact(async (tx) => {
        const before = Number((await tx.get(key))?.toString() ?? '0');
        tx.set(key, Buffer.from(String(before + 1)));
      });
    await Promise.all(Array.from({ length: 30 }, (_, index) => add(index)));
    await left?.close();
    expect((await right?.transact((tx) => tx.get(key)))?.toString()).toBe('30');
    await right?.close();
  });

  it('forgets memory, and gives each opening its own', async () => {
    const [left, right] = [await openDatabase('memory:'), await openDatabase('memory:')];
    await left.transact(async (tx) => tx.set(key, key));
    expect(await right.transact((tx) => tx.get(key))).toBeUndefined();
    await Promise.all([left.close(), right.close()]);
  });

  it('takes an opened database and leaves it open', async () => {
    const mine = openMemoryDatabase();
    const taken = await openDatabase(mine);
    await taken.transact(async (tx) => tx.set(key, key));
    await taken.close();
    expect(await mine.transact((tx) => tx.get(key))).toEqual(key);
    await mine.close();
  });

  it.each(['', 'memory', 'embedded:', 'postgres://user:secret@host/'])(
    'says what it understands instead of %s',
    async (address) => {
      const opening = openDatabase(address);
      await expect(opening).rejects.toMatchObject({ code: 'DATABASE_INVALID' });
      await expect(opening).rejects.toThrow(/embedded:<directory>.*memory:.*fdb:<cluster file>/su);
      await expect(opening).rejects.not.toThrow(/secret/u);
    },
  );

  it('refuses a file and a foreign directory', async () => {
    const file = join(directory.path, 'file');
    writeFileSync(file, '');
    await expect(openEmbeddedDatabase({ directory: file })).rejects.toMatchObject({
      code: 'ENGINE_DIRECTORY_INVALID',
    });
    await expect(openEmbeddedDatabase({ directory: directory.path })).rejects.toThrow(
      /was not made by this engine/u,
    );
    const strange = join(directory.path, 'strange');
    mkdirSync(strange);
    writeFileSync(join(strange, 'godwit.json'), '{"engine":"another"}');
    await expect(openEmbeddedDatabase({ directory: strange })).rejects.toMatchObject({
      code: 'ENGINE_DIRECTORY_INVALID',
    });
  });

  it('refuses a directory of a newer format', async () => {
    writeFileSync(join(directory.path, 'godwit.json'), '{"engine":"godwit-embedded","format":2}');
    await expect(openEmbeddedDatabase({ directory: directory.path })).rejects.toMatchObject({
      code: 'STORAGE_FORMAT_NEWER',
      details: { format: 2, readable: 1 },
    });
  });

  it('refuses a directory that another kernel uses, and clears away what a dead one left', async () => {
    const leave = (name: string) => {
      const sessions = join(directory.path, name, 'sessions');
      mkdirSync(sessions, { recursive: true });
      writeFileSync(join(directory.path, name, 'godwit.json'), '{"engine":"godwit-embedded","format":1}');
      const path = join(sessions, 'other.json');
      writeFileSync(path, JSON.stringify({ ...systemProcess.identity, bootId: 'another-boot', pid: 1 }));
      return path;
    };
    if (systemProcess.identity.bootId === '') return;
    const living = leave('living');
    leave('dead');
    let beats = 0;
    const beating = setInterval(() => utimesSync(living, ++beats, beats), 100);
    const [refused, opened] = await Promise.allSettled([
      openEmbeddedDatabase({ directory: join(directory.path, 'living') }),
      openEmbeddedDatabase({ directory: join(directory.path, 'dead') }),
    ]);
    clearInterval(beating);
    expect(refused).toMatchObject({ status: 'rejected', reason: { code: 'ENGINE_SHARED_UNSAFELY' } });
    expect(opened.status).toBe('fulfilled');
    if (opened.status === 'fulfilled') await opened.value.close();
  });
});
