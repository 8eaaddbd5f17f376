import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, describe, expect, it } from 'vitest';
import { help, parseOptions } from '../../examples/cities/options.ts';
import { repositoryTop } from '../../.scripts/architecture.ts';
import type { TemporaryDirectory } from '../rig/temporary-directory.ts';
import { createTemporaryDirectory } from '../rig/temporary-directory.ts';

interface Example {
  readonly pid: number;
  /** What it wrote so far. */
  readonly lines: readonly string[];
  /** Resolves with the first line that matches; rejects when it ends without one. */
  seen(pattern: RegExp): Promise<RegExpExecArray>;
  kill(signal: NodeJS.Signals): void;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

const directories: TemporaryDirectory[] = [];
const running = new Set<Example>();

const createDirectory = (): string => {
  const directory = createTemporaryDirectory('cities');
  directories.push(directory);
  // The engine makes its own, as it does for a user.
  return join(directory.path, 'data');
};

afterEach(async () => {
  for (const example of running) {
    example.kill('SIGKILL');
    await example.ended;
  }
  for (const directory of directories.splice(0)) directory.remove();
});

/** Starts what `npm start -- <args>` starts. */
function start(...args: readonly string[]): Example {
  const child = spawn(process.execPath, ['--import', 'tsx', 'examples/cities/main.ts', ...args], {
    cwd: repositoryTop,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  let isOver = false;
  const wake = () => {
    for (const look of waiting) look();
  };
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line);
      wake();
    });
  }
  const ended = new Promise<Awaited<Example['ended']>>((resolve) => {
    child.on('close', (code, signal) => {
      isOver = true;
      running.delete(example);
      wake();
      resolve({ code, signal });
    });
  });
  const example: Example = {
    pid: child.pid ?? 0,
    lines,
    seen: (pattern) =>
      new Promise((resolve, reject) => {
        let next = 0;
        const look = () => {
          for (; next < lines.length; next += 1) {
            const match = pattern.exec(lines[next] ?? '');
            if (match === null) continue;
            waiting.delete(look);
            resolve(match);
            return;
          }
          if (!isOver) return;
          waiting.delete(look);
          reject(new Error(`it ended without ${String(pattern)}:\n${lines.join('\n')}`));
        };
        waiting.add(look);
        look();
      }),
    kill: (signal) => void child.kill(signal),
    ended,
  };
  running.add(example);
  return example;
}

/** Runs it to its end, which has to be a good one; all that it wrote. */
async function runToEnd(...args: readonly string[]): Promise<string> {
  const example = start(...args);
  const { code, signal } = await example.ended;
  const output = example.lines.join('\n');
  expect({ code, signal, output }).toEqual({ code: 0, signal: null, output });
  return output;
}

const numberIn = (text: string | undefined) => Number(text?.replaceAll(',', ''));

/** The share that a line of progress shows, once some of the backfill is done. */
const someBackfill = /^City +Backfill +\[.*\] +(?!0\.0 %)([\d.]+) %/;

describe('the example with the cities', () => {
  it('moves them in worker threads, shows what it did, and has nothing to do the next time', async () => {
    const directory = createDirectory();
    const first = start('--directory', directory, '--limit', '5000');
    await first.ended;
    const output = first.lines.join('\n');

    expect(first.lines[0]).toMatch(new RegExp(`^pid ${first.pid} does the work`));
    expect(output).toMatch(/^Loaded version 1: 5,000 places in \d+ countries\.$/m);
    expect(output).toMatch(/^City needs migration:\n {2}- /m);
    const moved = /^City +([\d,]+) records moved in ([\d,]+) chunks$/m.exec(output);
    const [records, chunks] = (moved ?? []).slice(1).map(numberIn);
    const took =
      /^City .*\n +in this run: Expand [\d.]+ s, Backfill [\d.]+ s \(([\d,]+) tasks of (\d+) worker threads\), Verify [\d.]+ s, Contract [\d.]+ s$/m;
    const [tasks, threads] = (took.exec(output) ?? []).slice(1).map(numberIn);
    expect(records).toBe(5_000);
    // A chunk without records, the last of a range, needs no thread.
    expect(tasks).toBeGreaterThan(0);
    expect(tasks).toBeLessThanOrEqual(chunks ?? 0);
    expect((tasks ?? 0) * 2_000).toBeGreaterThanOrEqual(5_000);
    expect(threads).toBeGreaterThan(0);
    expect(output).toContain('5,000 cities by key, 5,000 and 5,000 by the new indexes.');
    expect(output).toMatch(/^ {2}northernmost +\S/m);

    const again = await runToEnd('--directory', directory);
    expect(again.split('\n')).toEqual([
      expect.stringMatching(/^pid \d+ does the work/),
      expect.stringMatching(/^Everything is up to date: 5,000 cities in \d+ countries, version 2\.0\./),
    ]);
  }, 120_000);

  it('goes on where it was after kill -9 and after Ctrl-C', async () => {
    const directory = createDirectory();
    const slowly = ['--directory', directory, '--rate', '200'];
    const killed = start(...slowly, '--limit', '3000');
    const [, before] = await killed.seen(someBackfill);
    killed.kill('SIGKILL');
    expect(await killed.ended).toEqual({ code: null, signal: 'SIGKILL' });

    const interrupted = start(...slowly);
    const [, resumedAt] = await interrupted.seen(/^City goes on at ([\d.]+) % of Backfill\.$/);
    expect(Number(resumedAt)).toBeGreaterThanOrEqual(Number(before));
    await interrupted.seen(someBackfill);
    interrupted.kill('SIGINT');
    expect(await interrupted.ended).toEqual({ code: 130, signal: null });
    const [, stoppedAt] = await interrupted.seen(/^Stopped at about ([\d.]+) % of Backfill of City\./);
    expect(Number(stoppedAt)).toBeGreaterThanOrEqual(Number(resumedAt));

    const output = await runToEnd('--directory', directory, '--rate', 'max');
    const [, goesOnAt] = /^City goes on at ([\d.]+) % of Backfill\.$/m.exec(output) ?? [];
    expect(Number(goesOnAt)).toBeGreaterThanOrEqual(Number(stoppedAt));
    expect(output).toMatch(/^City +3,000 records moved/m);
    expect(output).toContain('3,000 cities by key, 3,000 and 3,000 by the new indexes.');
  }, 120_000);

  it('goes on with the loading of version 1 where that was', async () => {
    const directory = createDirectory();
    const killed = start('--directory', directory);
    await killed.seen(/^Loading version 1: /);
    killed.kill('SIGKILL');
    await killed.ended;

    const interrupted = start('--directory', directory);
    const [, resumedAt] = await interrupted.seen(/^Loading version 1 goes on at ([\d.]+) %\.$/);
    expect(Number(resumedAt)).toBeGreaterThan(0);
    interrupted.kill('SIGINT');
    expect(await interrupted.ended).toEqual({ code: 130, signal: null });
    const [, stoppedAt] = await interrupted.seen(/^Stopped at ([\d.]+) % of loading version 1\./);
    expect(Number(stoppedAt)).toBeGreaterThanOrEqual(Number(resumedAt));
  }, 120_000);

  it('starts over with --reset, and deletes nothing that is not its own', async () => {
    const directory = createDirectory();
    await runToEnd('--directory', directory, '--limit', '200');
    const output = await runToEnd('--directory', directory, '--limit', '300', '--reset');
    expect(output).toContain('300 cities by key');

    const foreign = createTemporaryDirectory('foreign');
    directories.push(foreign);
    writeFileSync(join(foreign.path, 'letter.txt'), 'dear');
    const refused = start('--directory', foreign.path, '--reset');
    expect(await refused.ended).toEqual({ code: 2, signal: null });
    expect(refused.lines.at(-1)).toContain('--reset deletes only directories of this example');
  }, 120_000);
});

describe('its options', () => {
  it('limit the rate in a terminal alone', () => {
    expect(parseOptions([], true).rate).toBe(20_000);
    expect(parseOptions([], false).rate).toBeUndefined();
    expect(parseOptions(['--rate', 'max'], true).rate).toBeUndefined();
    expect(parseOptions(['--rate', '5'], false).rate).toBe(5);
  });

  it.each([
    [['--rate', 'fast'], "--rate must be a whole number of records per second from 1, or 'max', not 'fast'."],
    [['--rate', '0'], /from 1, or 'max', not '0'/],
    [['--limit', '1.5'], "--limit must be a whole number from 1, not '1.5'."],
    [
      ['--speed'],
      /Unknown option '--speed'\. Options are --rate, --limit, --directory, --reset and --help\./,
    ],
    [['now'], /Unexpected argument 'now'\. Options are --rate/],
  ])('refuse %j and say what is allowed', (args, message) => {
    expect(() => parseOptions(args, false)).toThrow(message);
  });

  it('are all in the help', () => {
    for (const name of ['--rate <n|max>', '--limit <n>', '--directory <path>', '--reset', '--help']) {
      expect(help).toContain(`  ${name} `);
    }
  });
});
