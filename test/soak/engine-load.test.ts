import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { dataBytes } from '../../src/kv/embedded/compaction.ts';
import { openEmbeddedDatabase } from '../../src/kv/embedded/open.ts';
import { openTables, type Tables } from '../../src/kv/embedded/tables.ts';
import { limits } from '../../src/limits.ts';
import { startEngineProcess, type EngineProcess } from '../cluster/engine-processes.ts';
import { drawSeed } from '../rig/seed.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../rig/temporary-directory.ts';

/** Each test runs for so long: `GODWIT_SOAK_SECONDS=600 npm run test:soak` is the long form. At least 30. */
const seconds = Math.max(30, Number(process.env['GODWIT_SOAK_SECONDS'] ?? '60'));
const seed = drawSeed(`${seconds} s of load on one directory`);
const sampleMs = 500;
const timeoutMs = seconds * 1_000 + 120_000;

interface Sample {
  readonly atMs: number;
  readonly fileBytes: number;
  readonly logEntries: number;
  /** Microseconds between the versions of the oldest and the newest entry. */
  readonly logSpan: number;
}

describe('two processes at full load on one directory', () => {
  let directory: TemporaryDirectory;
  let tables: Tables;
  let processes: EngineProcess[];
  beforeEach(async () => {
    directory = createTemporaryDirectory('engine-soak');
    processes = [];
    await (await openEmbeddedDatabase({ directory: directory.path })).close();
    // Looks on, and is no session: commits are logged for the two alone.
    tables = await openTables(directory.path);
  });
  afterEach(async () => {
    await Promise.all(processes.map((started) => started.kill()));
    await tables.environment.close();
    directory.remove();
  });

  const versionAt = (reverse: boolean): number => {
    tables.environment.resetReadTxn();
    const [start, end] = reverse ? ['\xff', ''] : ['', '\xff'];
    const range = { start, end, reverse, limit: 1 };
    for (const key of tables.log.getKeys(range)) {
      return Number((key as unknown as Buffer).readBigUInt64BE());
    }
    return 0;
  };
  const sampleUntilEnd = async (): Promise<Sample[]> => {
    const samples: Sample[] = [];
    const startedMs = performance.now();
    for (let atMs = 0; atMs < seconds * 1_000; atMs = performance.now() - startedMs) {
      await setTimeout(sampleMs);
      const [newest, oldest] = [versionAt(true), versionAt(false)];
      const logEntries = tables.log.getKeysCount({ start: '', end: '\xff' });
      samples.push({ atMs, fileBytes: dataBytes(directory.path), logEntries, logSpan: newest - oldest });
    }
    return samples;
  };
  const most = (samples: readonly Sample[], of: (sample: Sample) => number) => Math.max(...samples.map(of));
  const halves = (samples: readonly Sample[]) => {
    const middle = Math.ceil(samples.length / 2);
    return [samples.slice(0, middle), samples.slice(middle)] as const;
  };
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;

  it(
    'deletes log entries as fast as they come',
    async () => {
      const load = (self: number) => startEngineProcess({ task: 'load', directory: directory.path, self });
      processes = await Promise.all([0, 1].map(load));
      const samples = await sampleUntilEnd();
      await Promise.all(processes.map((started) => started.stop()));
      const commits = processes.reduce((sum, { committed }) => sum + committed, 0);
      const [, late] = halves(samples);
      const span = most(samples, ({ logSpan }) => logSpan);
      process.stdout.write(
        `${commits} commits in ${seconds} s; at most ${most(samples, ({ logEntries }) => logEntries)} log entries ` +
          `of ${(span / 1e6).toFixed(1)} s; file ${megabytes(most(samples, ({ fileBytes }) => fileBytes))}\n`,
      );
      expect(Math.min(...processes.map(({ committed }) => committed))).toBeGreaterThan(1_000);
      expect(most(late, ({ logEntries }) => logEntries)).toBeGreaterThan(100);
      // Twice what is kept: a process that gets no turn for some seconds prunes that much later.
      expect(span).toBeLessThan(2 * limits.engine.logMs.value * 1_000);
    },
    timeoutMs,
  );

  it(
    'let the file level off under mixed load with readers that never let go, and give it back by compacting',
    async () => {
      const mixed = (self: number) =>
        startEngineProcess({ task: 'mixed', directory: directory.path, self, seed: seed + self });
      processes = await Promise.all([0, 1].map(mixed));
      const samples = await sampleUntilEnd();
      await Promise.all(processes.map((started) => started.stop()));
      const commits = processes.reduce((sum, { committed }) => sum + committed, 0);
      await tables.environment.close();
      const database = await openEmbeddedDatabase({ directory: directory.path });
      const { bytesBefore, bytesAfter } = (await database.compact?.()) ?? { bytesBefore: 0, bytesAfter: 0 };
      await database.close();
      const [early, late] = halves(samples).map((half) => most(half, ({ fileBytes }) => fileBytes)) as [
        number,
        number,
      ];
      process.stdout.write(
        `${commits} commits in ${seconds} s; the file had ${megabytes(early)} after half of them, ${megabytes(late)} at ` +
          `the end, ${megabytes(bytesAfter)} compacted\n`,
      );
      expect(Math.min(...processes.map(({ committed }) => committed))).toBeGreaterThan(1_000);
      expect(late).toBeLessThan(early * 1.5);
      expect(bytesAfter).toBeLessThan(bytesBefore);
    },
    timeoutMs,
  );
});
