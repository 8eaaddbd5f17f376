import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dataBytes } from '../../src/kv/embedded/compaction.ts';
import { openEmbeddedDatabase } from '../../src/kv/embedded/open.ts';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { createSeededRandom, drawSeed } from '../rig/seed.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../rig/temporary-directory.ts';
import { startEngineProcess, type EngineProcess } from './engine-processes.ts';

const seed = drawSeed('kills of compactions');
const key = (text: string): Buffer => Buffer.from(text);
const everything: [Buffer, Buffer] = [Buffer.alloc(0), Buffer.of(0xff)];

describe('a process that is killed while it compacts', () => {
  let directory: TemporaryDirectory;
  let started: EngineProcess | undefined;
  beforeEach(() => {
    directory = createTemporaryDirectory('engine-kill');
  });
  afterEach(async () => {
    await started?.kill();
    directory.remove();
  });

  const withDatabase = async <T>(use: (database: KeyValueDatabase) => Promise<T>): Promise<T> => {
    const database = await openEmbeddedDatabase({ directory: directory.path });
    try {
      return await use(database);
    } finally {
      await database.close();
    }
  };
  const fillAndEmpty = async (database: KeyValueDatabase) => {
    for (const fillWith of [1, 2]) {
      await database.transact(async (tx) => {
        for (let index = 0; index < 3_000; index++) tx.set(key(`k/${index}`), Buffer.alloc(500, fillWith));
      });
    }
    await database.transact(async (tx) => tx.clearRange(key('k/1'), key('k0')));
  };
  const contents = (database: KeyValueDatabase) =>
    database.transact(async (tx) => {
      const pairs = await tx.getRangeAll(...everything);
      return pairs.map((pair) => `${pair.key.toString()}=${pair.value.toString('hex')}`);
    });

  it('leaves the old file or the new one, whole, before each step that it takes', async () => {
    const sizes: number[] = [];
    let isDone = false;
    for (let step = 1; !isDone; step++) {
      expect(step).toBeLessThan(50);
      await withDatabase(fillAndEmpty);
      const [before, bytesBefore] = [await withDatabase(contents), dataBytes(directory.path)];
      started = await startEngineProcess({ task: 'compact', directory: directory.path, dieBefore: step });
      isDone = (await started.exited()) !== 'SIGKILL';
      sizes.push(dataBytes(directory.path) / bytesBefore);
      expect(await withDatabase(contents)).toEqual(before);
      expect(existsSync(join(directory.path, 'compaction'))).toBe(false);
      await withDatabase((database) => database.transact(async (tx) => tx.set(key('after'), key(`${step}`))));
    }
    // Some died before the new file was there, some after it.
    expect(sizes.filter((ratio) => ratio === 1).length).toBeGreaterThan(3);
    expect(sizes.filter((ratio) => ratio < 0.5).length).toBeGreaterThan(2);
  }, 120_000);

  it('has every commit that it acknowledged, wherever between two commits it dies', async () => {
    const random = createSeededRandom(seed);
    let acknowledged = 0;
    for (let kill = 0; kill < 6; kill++) {
      started = await startEngineProcess({ task: 'compactForever', directory: directory.path });
      await started.next('compacted');
      const after = random.below(12);
      for (let commit = 0; commit < after; commit++) await started.next('committed');
      // And a part of what comes next.
      for (let turn = random.below(200); turn > 0; turn--)
        await new Promise((resolve) => setImmediate(resolve));
      await started.kill();
      acknowledged = Math.max(acknowledged, started.committed);
      const found = await withDatabase((database) =>
        database.transact(async (tx) => ({
          round: Number((await tx.get(key('round')))?.toString()),
          pairs: await tx.getRangeAll(key('pair/'), key('pair0')),
        })),
      );
      expect(found.round).toBeGreaterThanOrEqual(acknowledged);
      expect(found.pairs).toHaveLength(300);
      const whole = Buffer.alloc(400, found.round % 256);
      expect(found.pairs.every(({ value }) => value.equals(whole))).toBe(true);
    }
  }, 120_000);
});
