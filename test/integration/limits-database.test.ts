import { afterEach, describe, expect, it } from 'vitest';
import { openEmbeddedDatabase } from '../../src/kv/embedded/open.ts';
import { LmdbSnapshot } from '../../src/kv/embedded/snapshot.ts';
import { openTables, writeExclusively } from '../../src/kv/embedded/tables.ts';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { openMemoryDatabase } from '../../src/kv/memory/open.ts';
import { limits } from '../../src/limits.ts';
import type { Clock } from '../../src/ports/clock.ts';
import { codeOf, commitCode, k, v } from '../conformance/kv-setup.ts';
import { createTemporaryDirectory } from '../rig/temporary-directory.ts';
import { createVirtualClock } from '../rig/virtual-clock.ts';

const disposals: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const dispose of disposals.splice(0)) await dispose();
});

const openMemory = (clock?: Clock): Promise<KeyValueDatabase> => {
  const database = openMemoryDatabase({ clock });
  disposals.push(() => database.close());
  return Promise.resolve(database);
};
const openEmbedded = async (clock?: Clock): Promise<KeyValueDatabase> => {
  const directory = createTemporaryDirectory('limits');
  const database = await openEmbeddedDatabase({ directory: directory.path, clock });
  disposals.push(async () => {
    await database.close();
    directory.remove();
  });
  return database;
};

const { keyBytes, valueBytes, transactionBytes, transactionMs, watches } = limits.database;

describe.each([
  ['memory', openMemory],
  ['embedded', openEmbedded],
])('the %s engine', (_name, open) => {
  it('takes a key and a value of the full size, and refuses a byte more', async () => {
    const database = await open();
    const key = Buffer.alloc(keyBytes.value, 1);
    const value = Buffer.alloc(valueBytes.value, 2);
    await database.transact(async (tx) => tx.set(key, value));
    expect((await database.transact((tx) => tx.get(key)))?.equals(value)).toBe(true);
    const tx = database.createTransaction();
    expect(await codeOf(() => tx.set(Buffer.alloc(keyBytes.value + 1, 1), v('')))).toBe(2102);
    expect(await codeOf(() => tx.set(k('a'), Buffer.alloc(valueBytes.value + 1)))).toBe(2103);
    tx.cancel();
  });

  it('commits a transaction of the full size, and refuses a byte more', async () => {
    const database = await open();
    const almostFull = (last: number) => {
      const tx = database.createTransaction();
      for (let n = 0; n < 99; n += 1) tx.set(k(`full ${n}`), Buffer.alloc(valueBytes.value));
      tx.set(k('last'), Buffer.alloc(last));
      return tx;
    };
    const probe = almostFull(0);
    const weight = await probe.getApproximateSize();
    probe.cancel();
    const weighing = async (bytes: number) => {
      const tx = almostFull(bytes - weight);
      expect(await tx.getApproximateSize()).toBe(bytes);
      return tx;
    };
    expect(await commitCode(await weighing(transactionBytes.value))).toBeUndefined();
    const tx = await weighing(transactionBytes.value + 1);
    expect(await commitCode(tx)).toBe(2101);
    tx.cancel();
  });

  it('reads in a transaction of the full age, and not a millisecond later', async () => {
    const clock = createVirtualClock();
    const database = await open(clock);
    const tx = database.createTransaction();
    await tx.get(k('a'));
    // A timer ends what is older: at the same millisecond it comes first and leaves the transaction alone.
    clock.advance(transactionMs.value);
    expect(await codeOf(() => tx.get(k('a')))).toBeUndefined();
    clock.advance(1);
    expect(await codeOf(() => tx.get(k('a')))).toBe(1007);
    tx.cancel();
  });
});

it('as many watches as FoundationDB grants are armed, and one more is refused', async () => {
  const database = await openMemory();
  const arm = (count: number) =>
    database.transact((tx) =>
      Promise.resolve(Array.from({ length: count }, (_, n) => tx.watch(k(`watched ${n}`)))),
    );
  const [first, ...others] = await arm(watches.value);
  expect(await codeOf(() => arm(1))).toBe(1032);
  first?.cancel();
  const again = await arm(1);
  for (const watch of [...others, ...again]) watch.cancel();
});

describe.each([
  ['memory', openMemory],
  ['embedded', openEmbedded],
])('snapshots of the %s engine', (_name, open) => {
  /** Nothing shares one: between any two of them is a commit. */
  const readersOf = async (database: KeyValueDatabase, count: number) => {
    const readers = [];
    for (let n = 0; n < count; n += 1) {
      const reader = database.createTransaction();
      await reader.get(k('a'));
      readers.push(reader);
      await database.transact(async (tx) => tx.set(k('a'), v(String(n))));
    }
    return readers;
  };

  it('are as many as that, and one more is told to try again', async () => {
    // Time stands still: on a busy disk so many commits take longer than a snapshot may live.
    const database = await open(createVirtualClock());
    const readers = await readersOf(database, limits.engine.snapshots.value);
    const oneMore = database.createTransaction();
    expect(await codeOf(() => oneMore.get(k('a')))).toBe(1037);
    readers[0]?.cancel();
    expect(await codeOf(() => oneMore.get(k('a')))).toBeUndefined();
    for (const reader of [...readers, oneMore]) reader.cancel();
  });

  it('let a body wait until one of them is free, and commits and watches go on meanwhile', async () => {
    const clock = createVirtualClock();
    const database = await open(clock);
    const watch = await database.transact((tx) => Promise.resolve(tx.watch(k('b'))));
    const readers = await readersOf(database, limits.engine.snapshots.value);
    await database.transact(async (tx) => tx.set(k('b'), v('1')));
    expect(await watch.changed).toBe(true);
    let attempts = 0;
    let value: string | undefined;
    const reading = database.transact(async (tx) => {
      attempts += 1;
      if (attempts === 2) readers[0]?.cancel();
      value = (await tx.get(k('b')))?.toString();
    });
    // The second attempt comes after a while, and no snapshot grows old in it.
    while (attempts < 2) await clock.advanceAsync(10);
    await reading;
    expect(value).toBe('1');
    expect(attempts).toBe(2);
    for (const reader of readers) reader.cancel();
  });

  it('count once where they are of one version', async () => {
    const database = await open();
    const readers = Array.from({ length: limits.engine.snapshots.value + 1 }, () =>
      database.createTransaction(),
    );
    for (const reader of readers) expect(await codeOf(() => reader.get(k('a')))).toBeUndefined();
    for (const reader of readers) reader.cancel();
  });
});

it('a directory has as many readers as that, and one more is told to try again', async () => {
  const directory = createTemporaryDirectory('limits');
  const tables = await openTables(directory.path);
  const snapshots: LmdbSnapshot[] = [];
  const commit = () => writeExclusively(tables, () => void tables.meta.put('a', Buffer.of(1)));
  const read = () => snapshots.push(new LmdbSnapshot(tables));
  for (let n = 0; n < limits.engine.readers.value; n += 1) {
    read();
    await commit();
  }
  expect(await codeOf(read)).toBe(1037);
  snapshots.pop()?.release();
  expect(await codeOf(read)).toBeUndefined();
  for (const snapshot of snapshots) snapshot.release();
  await tables.environment.close();
  directory.remove();
});

it('watches are looked at again once readers that are all in use are free', async () => {
  const directory = createTemporaryDirectory('limits');
  const clock = createVirtualClock();
  const database = await openEmbeddedDatabase({ directory: directory.path, clock });
  const watch = await database.transact((tx) => Promise.resolve(tx.watch(k('a'))));
  // A snapshot of its own, so that looking takes another reader.
  const open = database.createTransaction();
  await open.get(k('a'));
  const tables = await openTables(directory.path);
  const snapshots: LmdbSnapshot[] = [];
  const commit = () => writeExclusively(tables, () => void tables.meta.put('a', Buffer.of(1)));
  const read = () => snapshots.push(new LmdbSnapshot(tables));
  for (await commit(); (await codeOf(read)) !== 1037; await commit());
  await clock.advanceAsync(1_000);
  open.cancel();
  for (const snapshot of snapshots) snapshot.release();
  await database.transact((tx) => Promise.resolve(tx.set(k('a'), v('1'))));
  await clock.advanceAsync(1_000);
  expect(await watch.changed).toBe(true);
  await tables.environment.close();
  await database.close();
  directory.remove();
});

describe('an iterator', () => {
  it.each([limits.engine.iteratorPairs.value, limits.engine.iteratorPairs.value + 1])(
    'has all of %d pairs once, in order, whichever way',
    async (count) => {
      const database = await openMemory();
      const names = Array.from({ length: count }, (_, n) => `n${String(n).padStart(4, '0')}`);
      await database.transact(async (tx) => {
        for (const name of names) tx.set(k(name), v(name));
      });
      for (const reverse of [false, true]) {
        const found: string[] = [];
        await database.transact(async (tx) => {
          found.length = 0;
          for await (const { value } of tx.getRange(k('n'), k('o'), { reverse })) {
            found.push(value.toString());
          }
        });
        expect(found).toEqual(reverse ? names.toReversed() : names);
      }
    },
  );
});
