/**
 * The embedded engine by itself, against the package `lmdb` that it lies on, in one process and in turns: commits of one
 * row of 200 bytes, with one under way at a time and with 64; a scan of rows that are cached. lmdb looks for no conflicts
 * and writes no log; both are as durable.
 *
 * A conflict check is the commit of a transaction that read a key before others committed 10,000 times, against one that
 * read it just now: the difference is what the check costs, the rest is the disk. Others are the same process, whose
 * commits it remembers, or another one, whose commits it has to read from the log.
 *
 * Then four processes that commit at once, against one; and what the commit log holds, watched from outside: what is older
 * than 10 s is deleted, so its rows must stay below the commits of that time. Every process counts its commits in the
 * database, and compares.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { limits } from '../src/limits.ts';
import { median } from './compare.ts';
import type {
  CommitReport,
  ConflictCheck,
  EngineReport,
  EngineTask,
  LogLook,
  LookReport,
} from './engine-child.ts';
import type { Bench, Section } from './figures.ts';
import { count, megabytes, rate } from './figures.ts';
import { machineMs } from './machine-clock.ts';
import { runChild } from './run-child.ts';
import { printComparisons } from './side-by-side.ts';

/** Until a process stands ready, milliseconds. */
const startUpMs = 1_500;

export async function measureEngine(bench: Bench): Promise<void> {
  const { compiled, scratch, section, runs, isQuick } = bench;
  const file = join(compiled, 'engine-child.js');
  const directoryOf = (name: string) => {
    const directory = join(scratch, `engine-${name}`);
    mkdirSync(directory);
    return directory;
  };
  const task: EngineTask = {
    kind: 'compare',
    directory: directoryOf('compare'),
    rounds: runs ?? (isQuick ? 3 : 5),
    commits: isQuick ? 1_000 : 5_000,
    rows: isQuick ? 20_000 : 100_000,
    newer: 10_000,
  };
  const { commits, scans, checks } = await runChild<EngineReport>(file, task);
  printComparisons(section, ['the engine', 'bare lmdb'], commits);
  printComparisons(section, ['the engine', 'bare lmdb'], scans, {
    'range scan': { atLeast: 0.7 },
  });
  section.print();
  section.print('the commit of a transaction that began before others committed');
  for (const where of ['here', 'elsewhere'] as const) printChecks(section, where, checks[where]);

  const start = (directory: string, name: string, ms: number, inFlight: number, startAtMs: number) => {
    const order: EngineTask = { kind: 'commit', directory, name, startAtMs, ms, inFlight };
    return runChild<CommitReport>(file, order);
  };
  await compareProcesses(bench, directoryOf('processes'), start);
  await watchLog(section, file, { directory: directoryOf('log'), ms: isQuick ? 14_000 : 25_000 }, start);
}

type Start = (
  directory: string,
  name: string,
  ms: number,
  inFlight: number,
  startAtMs: number,
) => Promise<CommitReport>;

function printChecks(section: Section, where: 'here' | 'elsewhere', checks: readonly ConflictCheck[]): void {
  const of = (value: (check: ConflictCheck) => number) => median(checks.map(value));
  const who = where === 'here' ? 'of this process' : 'of another process';
  section.print(
    `  ${count(of(({ newer }) => newer))} newer commits ${who}: ${of(({ newerMs }) => newerMs).toFixed(2)} ms, ` +
      `none: ${of(({ noneMs }) => noneMs).toFixed(2)} ms`,
  );
  section.figure({
    name: `conflict check against newer commits ${who}`,
    rounds: checks.map(({ newerMs, noneMs }) => newerMs - noneMs),
    unit: 'ms',
    better: 'lower',
  });
}

async function compareProcesses(
  { section, runs, isQuick }: Bench,
  directory: string,
  start: Start,
): Promise<void> {
  const ms = isQuick ? 1_000 : 2_000;
  const many = 4;
  section.print();
  section.print(`commits per second of one process and of ${many} at once on one directory`);
  for (const inFlight of [1, 64]) {
    const ratios: number[] = [];
    for (let round = 0; round < (runs ?? (isQuick ? 1 : 3)); round += 1) {
      const run = async (processes: number) => {
        const startAtMs = machineMs() + startUpMs;
        const reports = await Promise.all(
          Array.from({ length: processes }, (_, n) =>
            start(directory, `${processes} ${inFlight} ${round} ${n}`, ms, inFlight, startAtMs),
          ),
        );
        if (reports.some(({ isLate }) => isLate)) section.print('  a process was late: the machine is busy');
        const commits = reports.reduce((sum, report) => sum + report.commits, 0);
        const tookMs = Math.max(...reports.map((report) => report.ms));
        return { perSecond: (commits / tookMs) * 1_000, text: rate(commits, tookMs) };
      };
      const [alone, together] = [await run(1), await run(many)];
      section.print(`  ${String(inFlight).padStart(2)} in flight each: ${alone.text}  ${together.text}`);
      ratios.push(together.perSecond / alone.perSecond);
    }
    section.figure({
      name: `${many} processes to one, ${inFlight} in flight each`,
      rounds: ratios,
      better: 'higher',
    });
  }
}

const keepMs = limits.engine.logMs.value;

async function watchLog(
  section: Section,
  file: string,
  { directory, ms }: { readonly directory: string; readonly ms: number },
  start: Start,
): Promise<void> {
  const startAtMs = machineMs() + startUpMs;
  const look: EngineTask = { kind: 'look', directory, startAtMs: startAtMs + 500, ms: ms - 500 };
  const [one, other, { looks }] = await Promise.all([
    start(directory, 'one', ms, 1, startAtMs),
    start(directory, 'other', ms, 1, startAtMs),
    runChild<LookReport>(file, look),
  ]);
  const commitsAt = (atMs: number) =>
    [one, other].reduce(
      (sum, { counts }) => sum + (counts.findLast((known) => known.atMs <= atMs)?.commits ?? 0),
      0,
    );
  section.print();
  section.print(
    'the commit log while two processes commit: rows, commits so far, those of the last 10 s, file',
  );
  const late: { readonly look: LogLook; readonly recent: number }[] = [];
  for (const seen of looks) {
    const commits = commitsAt(seen.atMs);
    const recent = commits - commitsAt(seen.atMs - keepMs);
    if (seen.atMs - startAtMs > keepMs + 1_000) late.push({ look: seen, recent });
    const columns = [count(seen.logRows), count(commits), count(recent), megabytes(seen.fileBytes)];
    section.print(
      `  ${((seen.atMs - startAtMs) / 1_000).toFixed(0).padStart(3)} s ${columns.map((column) => column.padStart(10)).join('')}`,
    );
  }
  section.figure({
    name: 'rows of the commit log to the commits of 10 s',
    rounds: late.map(({ look: seen, recent }) => seen.logRows / recent),
    better: 'lower',
  });
}
