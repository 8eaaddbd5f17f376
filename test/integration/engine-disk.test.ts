import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openEmbeddedDatabase } from '../../src/kv/embedded/open.ts';
import { KeyValueError, type KeyValueDatabase } from '../../src/kv/kv.ts';
import { limits } from '../../src/limits.ts';
import { createSmallDisk, whyNoSmallDisk, type SmallDisk } from '../rig/small-disk.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../rig/temporary-directory.ts';

const key = (text: string): Buffer => Buffer.from(text);
const whyNot = whyNoSmallDisk();
if (whyNot !== undefined) process.stdout.write(`tests of full and read-only disks are skipped: ${whyNot}\n`);

const sizeBytes = 12_000_000;
const pairBytes = 50_000;

describe.runIf(whyNot === undefined)('a disk that is full', () => {
  let disk: SmallDisk;
  let directory: string;
  let ballast: string;
  const opened: KeyValueDatabase[] = [];
  beforeEach(() => {
    disk = createSmallDisk(sizeBytes);
    directory = join(disk.path, 'data');
    ballast = join(disk.path, 'ballast');
    writeFileSync(ballast, Buffer.alloc(4_000_000));
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((database) => database.close().catch(() => undefined)));
    disk.remove();
  });

  const open = async (): Promise<KeyValueDatabase> => {
    const database = await openEmbeddedDatabase({ directory });
    opened.push(database);
    return database;
  };
  /** Two pairs each, so that half of a commit would show. */
  const commit = (database: KeyValueDatabase, round: number) =>
    database.transact(async (tx) => {
      for (const half of ['a', 'b']) tx.set(key(`k/${round}/${half}`), Buffer.alloc(pairBytes, round));
    });
  /** Answers how many commits went through before one did not, and with what that one failed. */
  const fill = async (database: KeyValueDatabase) => {
    for (let round = 0; ; round++) {
      try {
        await commit(database, round);
      } catch (error) {
        return { round, error };
      }
    }
  };
  const names = (database: KeyValueDatabase) =>
    database.transact(async (tx) => {
      const pairs = await tx.getRangeAll(key('k/'), key('k0'));
      return pairs.map((pair) => pair.key.toString());
    });
  const namesOf = (rounds: number) =>
    Array.from({ length: rounds }, (_, round) => [`k/${round}/a`, `k/${round}/b`])
      .flat()
      .toSorted();
  /** What is left of the disk goes into a file. */
  const useUp = () => {
    for (let bytes = 1_000_000; bytes >= 1_000; bytes = Math.floor(bytes / 2)) {
      for (let file = 0; existsSync(disk.path); file++) {
        try {
          writeFileSync(join(disk.path, `used-${bytes}-${file}`), Buffer.alloc(bytes));
        } catch {
          break;
        }
      }
    }
  };

  it('rejects the commit with 1510, has nothing of it, and goes on after space is there', async () => {
    const database = await open();
    const { round, error } = await fill(database);
    expect(error).toBeInstanceOf(KeyValueError);
    expect(error).toMatchObject({ code: 1510 });
    expect(round).toBeGreaterThan(10);
    expect(await names(database)).toEqual(namesOf(round));
    // Again and again: it stays refused, and stays readable.
    for (let attempt = 0; attempt < 5; attempt++) {
      await expect(commit(database, round)).rejects.toMatchObject({ code: 1510 });
      expect(await names(database)).toEqual(namesOf(round));
    }
    rmSync(ballast);
    await commit(database, round);
    expect(await names(database)).toEqual(namesOf(round + 1));
    await database.close();
    expect(await names(await open())).toEqual(namesOf(round + 1));
  });

  it('rejects all that were in one write, whoever committed, and no conflict comes out of what never was', async () => {
    const database = await open();
    const { round } = await fill(database);
    const reader = database.createTransaction();
    expect(await reader.get(key('k/0/a'))).toBeDefined();
    const settled = await Promise.allSettled([1, 2, 3].map((more) => commit(database, round + more)));
    expect(settled.map((one) => one.status === 'rejected' && (one.reason as KeyValueError).code)).toEqual([
      1510, 1510, 1510,
    ]);
    expect((await reader.get(key('k/1/a')))?.length).toBe(pairBytes);
    reader.cancel();
    rmSync(ballast);
    await database.transact(async (tx) => {
      expect(await tx.get(key(`k/${round + 1}/a`))).toBeUndefined();
      tx.set(key(`k/${round}/a`), key('1'));
    });
  });

  it('keeps watches, reads and the closing alive without a byte of room', async () => {
    const database = await open();
    const other = await open();
    const { round } = await fill(database);
    useUp();
    const watch = await other.transact(async (tx) => tx.watch(key('k/0/a')));
    for (let attempt = 0; attempt < 20; attempt++) {
      await expect(commit(database, round)).rejects.toMatchObject({ code: 1510 });
      expect((await other.transact((tx) => tx.get(key('k/0/a'))))?.length).toBe(pairBytes);
    }
    rmSync(ballast);
    await database.transact(async (tx) => tx.set(key('k/0/a'), key('changed')));
    expect(await watch.changed).toBe(true);
  });

  it('is told to whoever opens the directory, and leaves nothing behind', async () => {
    await (await open()).close();
    const before = readdirSync(join(directory, 'sessions'));
    useUp();
    await expect(openEmbeddedDatabase({ directory })).rejects.toMatchObject({
      code: 'ENGINE_DIRECTORY_INVALID',
      message: expect.stringMatching(/cannot be written.*no space left/iu) as string,
    });
    await expect(openEmbeddedDatabase({ directory: join(disk.path, 'fresh') })).rejects.toMatchObject({
      code: 'ENGINE_DIRECTORY_INVALID',
    });
    expect(readdirSync(join(directory, 'sessions'))).toEqual(before);
    rmSync(ballast);
    await commit(await open(), 0);
  });

  it('fails a compaction and nothing else', async () => {
    const database = await open();
    const { round } = await fill(database);
    await expect(database.compact?.()).rejects.toMatchObject({ code: 'STORAGE_FAILED', retryable: true });
    expect(await names(database)).toEqual(namesOf(round));
    expect(existsSync(join(directory, 'compaction'))).toBe(false);
    rmSync(ballast);
    await database.transact(async (tx) => tx.clearRange(key('k/1'), key('k0')));
    const kept = await names(database);
    const { bytesBefore, bytesAfter } = (await database.compact?.()) ?? { bytesBefore: 0, bytesAfter: 0 };
    expect(bytesAfter).toBeLessThan(bytesBefore);
    expect(await names(database)).toEqual(kept);
    await commit(database, round);
  });

  it('that can only be read says so', async () => {
    const database = await open();
    await commit(database, 0);
    await database.close();
    disk.setReadOnly(true);
    await expect(openEmbeddedDatabase({ directory })).rejects.toMatchObject({
      code: 'ENGINE_DIRECTORY_INVALID',
      message: expect.stringContaining('is read-only') as string,
    });
    disk.setReadOnly(false);
    expect(await names(await open())).toEqual(namesOf(1));
  });
});

describe('a directory that cannot be used', () => {
  let directory: TemporaryDirectory;
  beforeEach(() => {
    directory = createTemporaryDirectory('engine-disk');
  });
  afterEach(() => directory.remove());
  const opening = () => openEmbeddedDatabase({ directory: directory.path });
  const dataFile = () => join(directory.path, 'data.mdb');
  /** A whole database of some hundred pages, closed. */
  const prepare = async () => {
    const database = await opening();
    for (let round = 0; round < 20; round++) {
      await database.transact(async (tx) => {
        for (let index = 0; index < 50; index++) tx.set(key(`${round}/${index}`), Buffer.alloc(1_000, round));
        // Of pages of its own.
        tx.set(key(`${round}/large`), Buffer.alloc(50_000, round));
      });
    }
    await database.close();
  };
  const count = async (database: KeyValueDatabase) => {
    const pairs = await database.transact((tx) => tx.getRangeAll(Buffer.alloc(0), Buffer.of(0xff)));
    return pairs.length;
  };
  const pairCount = 20 * 51;

  it.runIf(process.getuid?.() !== 0)('says that it is read-only', async () => {
    chmodSync(directory.path, 0o555);
    await expect(opening()).rejects.toMatchObject({
      code: 'ENGINE_DIRECTORY_INVALID',
      message: expect.stringContaining('is read-only') as string,
    });
    chmodSync(directory.path, 0o755);
  });

  it.each([
    ['holds something else', () => writeFileSync(dataFile(), Buffer.alloc(100_000, 'not a database '))],
    ['holds zeros', () => writeFileSync(dataFile(), Buffer.alloc(100_000))],
    ['is shorter than its header', () => truncateSync(dataFile(), 1_000)],
    ['is cut off behind its header', () => truncateSync(dataFile(), 8_192)],
    ['is cut off in the middle', () => truncateSync(dataFile(), 200_000)],
    [
      'is a directory',
      () => {
        rmSync(dataFile());
        mkdirSync(dataFile());
      },
    ],
  ])('is refused where the file of the data %s', async (_, damage) => {
    await prepare();
    damage();
    const names = readdirSync(join(directory.path, 'sessions'));
    await expect(opening()).rejects.toMatchObject({ code: 'ENGINE_DIRECTORY_INVALID' });
    expect(readdirSync(join(directory.path, 'sessions'))).toEqual(names);
  });

  it('is refused or whole, wherever the file is cut off', async () => {
    await prepare();
    const whole = readFileSync(dataFile());
    let refused = 0;
    for (let cut = 1; cut <= 20; cut++) {
      writeFileSync(dataFile(), whole.subarray(0, whole.length - Math.floor((whole.length / 21) * cut)));
      try {
        const database = await opening();
        expect(await count(database)).toBe(pairCount);
        await database.close();
      } catch (error) {
        expect(error).toMatchObject({ code: 'ENGINE_DIRECTORY_INVALID' });
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(15);
    writeFileSync(dataFile(), whole);
    const database = await opening();
    expect(await count(database)).toBe(pairCount);
    await database.close();
  });

  it('is opened where only free pages are missing at the end of the file', async () => {
    await prepare();
    const bytes = readFileSync(dataFile());
    // The last page, in the three places where LMDB keeps it (MDB_meta.mm_last_pg).
    for (const page of [0, 2_048, 4_096]) {
      if (bytes.readUInt32LE(page + 24) !== 0xbeefc0de) continue;
      bytes.writeBigUInt64LE(bytes.readBigUInt64LE(page + 144) + 3n, page + 144);
    }
    writeFileSync(dataFile(), bytes);
    const database = await opening();
    expect(await count(database)).toBe(pairCount);
    await database.transact(async (tx) => tx.set(key('more'), Buffer.alloc(50_000)));
    expect(await count(database)).toBe(pairCount + 1);
    await database.close();
  });

  it('has all of the file of its readers on the disk, so that a full one takes no process with it', async () => {
    await prepare();
    const { blocks } = statSync(join(directory.path, 'lock.mdb'));
    expect(blocks * 512).toBeGreaterThanOrEqual(limits.engine.readers.value * 64);
  });
});
