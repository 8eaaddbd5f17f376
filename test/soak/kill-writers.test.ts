import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { WriterOrder, WriterReport } from '../cluster/kill-writer-child.ts';
import { createSeededRandom, drawSeed } from '../rig/seed.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../rig/temporary-directory.ts';

const seed = drawSeed('kills of writers');
const script = fileURLToPath(new URL('../cluster/kill-writer-child.ts', import.meta.url));
const writers = 3;
/** With lmdb's overlapping flushes, four or so in 200 lost a commit of one that lived on. */
const kills = 100;
/** A victim has written this much at least, and that much more at most. */
const writesBefore = 30;

interface Writer {
  readonly child: ChildProcess;
  readonly lost: readonly WriterReport[];
  hasWritten(times: number): Promise<void>;
}

describe('three processes that write to one directory', () => {
  let directory: TemporaryDirectory;
  let started: Writer[];

  beforeEach(() => {
    directory = createTemporaryDirectory('kill-writers');
    started = [];
  });
  afterEach(async () => {
    await Promise.all(started.map(({ child }) => killed(child)));
    directory.remove();
  });

  const start = (order: Omit<WriterOrder, 'directory'>): Writer => {
    const child = fork(script, { execArgv: ['--import', 'tsx'] });
    const lost: WriterReport[] = [];
    let acknowledged = 0;
    const listeners = new Set<() => void>();
    child.once('message', () => void child.send({ ...order, directory: directory.path }));
    child.on('message', (message) => {
      const report = message as WriterReport;
      if (report.type === 'lost') lost.push(report);
      if (report.type === 'acknowledged') acknowledged += 1;
      for (const listener of listeners) listener();
    });
    const writer: Writer = {
      child,
      lost,
      hasWritten: (times) =>
        new Promise((resolve, reject) => {
          const look = () => {
            if (acknowledged < times) return;
            listeners.delete(look);
            resolve();
          };
          child.once('exit', () => reject(new Error(`${order.name} ended by itself`)));
          listeners.add(look);
          look();
        }),
    };
    started.push(writer);
    return writer;
  };

  it('lose nothing that was acknowledged when one of them is killed', { timeout: 600_000 }, async () => {
    const random = createSeededRandom(seed);
    const next = () => start({ name: `w${started.length}`, seed: random.below(2 ** 31) });
    const living = Array.from({ length: writers }, next);
    for (let n = 0; n < kills; n += 1) {
      const which = random.below(writers);
      const victim = living[which] ?? next();
      await victim.hasWritten(writesBefore + random.below(100));
      await killed(victim.child);
      living[which] = next();
    }
    for (const writer of living) await writer.hasWritten(writesBefore);
    expect(started.flatMap(({ lost }) => lost)).toEqual([]);
  });
});

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}
