import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { copyTables, dataBytes, takeInCopy } from '../../src/kv/embedded/compaction.ts';
import { openEmbeddedDatabase } from '../../src/kv/embedded/open.ts';
import { Sessions } from '../../src/kv/embedded/sessions.ts';
import { openTables } from '../../src/kv/embedded/tables.ts';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { openDatabase } from '../../src/kv/open.ts';
import { openMemoryDatabase } from '../../src/kv/memory/open.ts';
import { systemProcess } from '../../src/ports/process.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { defineModel, string } from '../../src/model/index.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../rig/temporary-directory.ts';

const key = (text: string): Buffer => Buffer.from(text);
const everything: [Buffer, Buffer] = [Buffer.alloc(0), Buffer.of(0xff)];
const model = defineModel({
  name: 'Note',
  version: '1.0',
  key: ['id'],
  properties: {
    id: string({ number: 1, required: true }),
    text: string({ number: 2, required: true, maxSize: 2_000 }),
  },
});

describe('compacting a directory', () => {
  let directory: TemporaryDirectory;
  const opened: KeyValueDatabase[] = [];
  beforeEach(() => {
    directory = createTemporaryDirectory('compaction');
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((database) => database.close()));
    directory.remove();
  });

  const open = async (): Promise<KeyValueDatabase> => {
    const database = await openEmbeddedDatabase({ directory: directory.path });
    opened.push(database);
    return database;
  };
  const compact = (database: KeyValueDatabase) => {
    if (database.compact === undefined) throw new Error('the engine has no compact()');
    return database.compact();
  };
  const fill = async (database: KeyValueDatabase, count: number) => {
    for (let at = 0; at < count; at += 1_000) {
      await database.transact(async (tx) => {
        for (let index = at; index < at + 1_000; index++) tx.set(key(`k/${index}`), Buffer.alloc(500, index));
      });
    }
  };
  /** A file of some megabytes with a few records in it. */
  const fillAndEmpty = async (database: KeyValueDatabase) => {
    await fill(database, 10_000);
    await database.transact(async (tx) => {
      tx.clearRange(key('k/'), key('k0'));
      for (let index = 0; index < 100; index++) tx.set(key(`kept/${index}`), key(`value ${index}`));
      // Keys of this length lie in buckets.
      tx.set(Buffer.alloc(5_000, 'l'), key('long'));
    });
  };
  const contents = (database: KeyValueDatabase) =>
    database.transact(async (tx) => {
      const pairs = await tx.getRangeAll(...everything);
      return pairs.map((pair) => `${pair.key.toString()}=${pair.value.toString()}`);
    });

  it('makes the file small, tells by how much, and keeps every pair', async () => {
    const database = await open();
    await fillAndEmpty(database);
    const before = await contents(database);
    const bytes = dataBytes(directory.path);
    const { bytesBefore, bytesAfter } = await compact(database);
    expect(bytesBefore).toBe(bytes);
    expect(bytesAfter).toBe(dataBytes(directory.path));
    expect(bytesAfter).toBeLessThan(bytesBefore / 10);
    expect(before).toHaveLength(101);
    expect(await contents(database)).toEqual(before);
    expect(existsSync(join(directory.path, 'compaction'))).toBe(false);
    await database.close();
    expect(await contents(await open())).toEqual(before);
  });

  it('goes on with versions, watches and conflicts as if nothing had been', async () => {
    const database = await open();
    await fillAndEmpty(database);
    const watch = await database.transact(async (tx) => tx.watch(key('kept/1')));
    const stampBefore = await stampOf(database);
    await compact(database);
    const reader = database.createTransaction();
    await reader.get(key('kept/1'));
    reader.set(key('kept/2'), key('from a stale read'));
    expect((await stampOf(database)).compare(stampBefore)).toBe(1);
    expect(await watch.changed).toBe(true);
    await expect(reader.commit()).rejects.toMatchObject({ code: 1020 });
  });

  const stampOf = async (database: KeyValueDatabase): Promise<Buffer> => {
    const { stamp } = await database.transact(async (tx) => {
      tx.set(key('kept/1'), key('changed'));
      return { stamp: tx.getVersionstamp() };
    });
    return stamp;
  };

  it('compacts again and again, and is shared by other processes afterwards', async () => {
    const database = await open();
    for (let round = 0; round < 3; round++) {
      await fillAndEmpty(database);
      const { bytesBefore, bytesAfter } = await compact(database);
      expect(bytesAfter).toBeLessThan(bytesBefore / 10);
    }
    const other = await open();
    await database.transact(async (tx) => tx.set(key('from'), key('one')));
    expect((await other.transact((tx) => tx.get(key('from'))))?.toString()).toBe('one');
    await other.transact(async (tx) => tx.set(key('from'), key('other')));
    expect((await database.transact((tx) => tx.get(key('from'))))?.toString()).toBe('other');
  });

  it('loses no commit of those that go on meanwhile, and lets open reads begin anew', async () => {
    const database = await open();
    await fillAndEmpty(database);
    const compaction = compact(database);
    let isDone = false;
    void compaction.finally(() => (isDone = true));
    let committed = 0;
    const count = async () => {
      while (!isDone) {
        await database.transact(async (tx) => {
          const before = Number((await tx.get(key('counter')))?.toString() ?? '0');
          await new Promise((resolve) => setImmediate(resolve));
          tx.set(key('counter'), key(String(before + 1)));
        });
        committed++;
      }
    };
    await Promise.all([compaction, ...Array.from({ length: 4 }, count)]);
    const counter = await database.transact((tx) => tx.get(key('counter')));
    expect(committed).toBeGreaterThan(0);
    expect(counter?.toString()).toBe(String(committed));
  });

  it('ends a snapshot that was open before with 1007', async () => {
    const database = await open();
    await fillAndEmpty(database);
    const reader = database.createTransaction();
    expect(await reader.get(key('kept/1'))).toBeDefined();
    await compact(database);
    await expect(reader.get(key('kept/2'))).rejects.toMatchObject({ code: 1007 });
    reader.cancel();
  });

  it('answers two callers with one compaction, and waits for it when the database is closed', async () => {
    const database = await open();
    await fillAndEmpty(database);
    const both = [compact(database), compact(database)] as const;
    const closing = database.close();
    expect(await both[0]).toBe(await both[1]);
    await closing;
    await expect(compact(database)).rejects.toMatchObject({ code: 1025 });
  });

  it('is refused while another session has the directory open, and changes nothing', async () => {
    const [database, other] = [await open(), await open()];
    await fillAndEmpty(database);
    const before = dataBytes(directory.path);
    const refused = compact(database);
    await expect(refused).rejects.toMatchObject({
      code: 'ENGINE_BUSY',
      retryable: true,
      details: { processes: [{ pid: process.pid }] },
    });
    expect(dataBytes(directory.path)).toBe(before);
    await database.transact(async (tx) => tx.set(key('a'), key('still writes')));
    await other.close();
    expect((await compact(database)).bytesAfter).toBeLessThan(before);
  });

  it('goes ahead where the other sessions are dead', async () => {
    const database = await open();
    const dead = { ...systemProcess.identity, startTime: '1' };
    if (systemProcess.identity.startTime === '') return;
    writeFileSync(join(directory.path, 'sessions', 'dead.json'), JSON.stringify(dead));
    writeFileSync(join(directory.path, 'sessions', 'dead.compacting'), '');
    await compact(database);
    expect(existsSync(join(directory.path, 'sessions', 'dead.compacting'))).toBe(false);
  });

  it('makes those wait who open the directory meanwhile', async () => {
    const database = await open();
    await fillAndEmpty(database);
    let isDone = false;
    const compaction = compact(database).finally(() => (isDone = true));
    const other = await open();
    expect(isDone).toBe(true);
    await compaction;
    expect(await contents(other)).toHaveLength(101);
  });

  it('makes them wait no longer than they would', async () => {
    const database = await open();
    const sessions = join(directory.path, 'sessions');
    systemProcess.sessions.add('hanging');
    writeFileSync(join(sessions, 'hanging.json'), JSON.stringify(systemProcess.identity));
    writeFileSync(join(sessions, 'hanging.compacting'), '');
    await expect(Sessions.open(directory.path, 'late', 50)).rejects.toMatchObject({ code: 'ENGINE_BUSY' });
    expect(existsSync(join(sessions, 'late.json'))).toBe(false);
    systemProcess.sessions.delete('hanging');
    (await Sessions.open(directory.path, 'later', 50)).close();
    await database.close();
  });

  it('clears away what a killed one left, whichever step it died at', async () => {
    const database = await open();
    await fillAndEmpty(database);
    const before = await contents(database);
    await database.close();
    mkdirSync(join(directory.path, 'compaction'));
    writeFileSync(join(directory.path, 'compaction', 'data.mdb'), 'half of a copy');
    const again = await open();
    expect(existsSync(join(directory.path, 'compaction'))).toBe(false);
    expect(await contents(again)).toEqual(before);
  });

  it('leaves the old file where the new one cannot be taken in', async () => {
    const database = await open();
    await fillAndEmpty(database);
    const before = await contents(database);
    const tables = await openTables(directory.path);
    const copy = await copyTables(tables, directory.path);
    const place = { ...tables };
    expect(() => takeInCopy(place, copy, join(directory.path, 'nowhere'))).toThrow(/ENOENT/u);
    expect(place.environment).toBe(tables.environment);
    await Promise.all([copy.environment.close(), tables.environment.close()]);
    expect(await contents(database)).toEqual(before);
    await compact(database);
    expect(await contents(database)).toEqual(before);
  });
});

describe('compacting by a store', () => {
  it('tells the bytes before and after, and goes on serving', async () => {
    const directory = createTemporaryDirectory('compaction-store');
    const database = `embedded:${directory.path}`;
    const store = await FoundationDBDataStore.open({
      database,
      subspace: ['notes'],
      dataModelsById: { 1: model },
    });
    try {
      const notes = store.model(model);
      const text = 'x'.repeat(1_000);
      const ids = Array.from({ length: 2_000 }, (_, index) => `n${index}`);
      await Promise.all(ids.map((id) => notes.add({ id, text })));
      await Promise.all(ids.slice(10).map((id) => notes.delete(id)));
      const { bytesBefore, bytesAfter } = await store.compact();
      expect(bytesAfter).toBeLessThan(bytesBefore / 2);
      expect(await notes.count()).toBe(10);
      await notes.add({ id: 'after', text });
      expect((await notes.get('after'))?.text).toBe(text);
    } finally {
      await store.close();
    }
    await expect(store.compact()).rejects.toMatchObject({ code: 'STORE_CLOSED' });
    directory.remove();
  });

  it('reaches through a database that the host has opened', async () => {
    const directory = createTemporaryDirectory('compaction-host');
    const mine = await openEmbeddedDatabase({ directory: directory.path });
    const taken = await openDatabase(mine);
    expect((await taken.compact?.())?.bytesAfter).toBeGreaterThan(0);
    await mine.close();
    directory.remove();
  });

  it('is refused by an engine that has no file', async () => {
    const database = openMemoryDatabase();
    const store = await FoundationDBDataStore.open({
      database,
      subspace: ['notes'],
      dataModelsById: { 1: model },
    });
    await expect(store.compact()).rejects.toMatchObject({
      code: 'COMPACTION_UNSUPPORTED',
      retryable: false,
    });
    await store.close();
    await database.close();
  });
});
