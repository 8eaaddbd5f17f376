/**
 * What a backfill does to others, and how soon it stops.
 *
 * Requests to another model of the same store, eight gets to two puts, at a fixed rate: before the migration, and while it
 * backfills as fast as it can. Each is measured from the moment it was due, so that waiting for a blocked thread counts.
 * They come from the process that migrates, which shares its main thread with them, or from another one, which shares the
 * directory and the cores. `kept` is the backfill's rate with the requests over its rate without, of the same round.
 *
 * Then a backfill that is not throttled is paused again and again, at a moment that is drawn: from the call of
 * `pauseMigration` to the last commit of a chunk; 0 where none came behind the call.
 */
import { join } from 'node:path';
import { Arena } from './arena.ts';
import { median } from './compare.ts';
import type { Bench, Section } from './figures.ts';
import { count, milliseconds, quantile } from './figures.ts';
import type { GentleReport, GentleTask, PausesReport, Requests } from './gentle-child.ts';
import { runChild } from './run-child.ts';

const perSecond = 250;
const places: readonly Requests[] = ['none', 'same process', 'another process'];
type Round = Readonly<Record<Requests, GentleReport>>;

export async function measureGentleness(bench: Bench): Promise<void> {
  const { compiled, scratch, section, records, runs, isQuick, nodeOptions } = bench;
  const file = join(compiled, 'gentle-child.js');
  const total = runs ?? (isQuick ? 2 : 5);
  const idleMs = isQuick ? 1_500 : 3_000;
  const arena = await Arena.create(compiled, scratch, records ?? (isQuick ? 100_000 : 300_000));
  section.print();
  section.print(
    `${perSecond} requests a second to another model, beside a backfill of ${count(arena.records)}; ${total} rounds`,
  );
  const rounds: Round[] = [];
  for (let run = 1; run <= total; run += 1) {
    const reports = new Map<Requests, GentleReport>();
    for (const at of places.keys()) {
      const requests = places[(at + run) % places.length] as Requests;
      const report = await arena.onCopy((directory) => {
        const task: GentleTask = { kind: 'migrate', directory, requests, perSecond, idleMs };
        return runChild<GentleReport>(file, task, { execArgv: nodeOptions });
      });
      reports.set(requests, report);
    }
    rounds.push(Object.fromEntries(reports) as Record<Requests, GentleReport>);
  }
  const none = median(rounds.map((round) => round.none.workMs));
  section.print(`  backfill without requests: ${count((arena.records / none) * 1_000)} records/s`);
  for (const from of ['same process', 'another process'] as const) {
    printRequests(section, rounds, from, arena.records);
  }
  await measurePauses(bench, arena, file);
  arena.remove();
}

function printRequests(
  section: Section,
  rounds: readonly Round[],
  from: Exclude<Requests, 'none'>,
  records: number,
): void {
  const of = (what: 'idle' | 'busy', part: number) =>
    rounds.map((round) => quantile(round[from][what], part));
  const text = (what: 'idle' | 'busy') =>
    `p50 ${median(of(what, 0.5)).toFixed(2)} ms, p99 ${median(of(what, 0.99)).toFixed(2)} ms ` +
    `(${count(rounds.reduce((sum, round) => sum + round[from][what].length, 0))} requests)`;
  const work = median(rounds.map((round) => round[from].workMs));
  section.print(`  from the ${from}`.replace('the another', 'another'));
  section.print(`    idle:   ${text('idle')}`);
  section.print(`    beside: ${text('busy')}; backfill ${count((records / work) * 1_000)} records/s`);
  const [busy, idle] = [of('busy', 0.99), of('idle', 0.99)];
  section.figure({
    name: `p99 of requests from ${from}, beside a backfill to idle`,
    rounds: busy.map((ms, at) => ms / (idle[at] ?? Number.NaN)),
    better: 'lower',
    target: { atMost: 2 },
  });
  section.figure({
    name: `rate that the backfill keeps, requests from ${from}`,
    rounds: rounds.map((round) => round.none.workMs / round[from].workMs),
    better: 'higher',
    target: { atLeast: 0.5 },
  });
}

async function measurePauses(
  { section, isQuick, nodeOptions }: Bench,
  arena: Arena,
  file: string,
): Promise<void> {
  const most = isQuick ? 10 : 50;
  const commitMs: number[] = [];
  while (commitMs.length < most) {
    const { commitMs: more } = await arena.onCopy((directory) => {
      const task: GentleTask = { kind: 'pauses', directory, most: most - commitMs.length };
      return runChild<PausesReport>(file, task, { execArgv: nodeOptions });
    });
    if (more.length === 0)
      throw new Error('a backfill was over before it could be paused: it needs more records');
    commitMs.push(...more);
  }
  section.print();
  section.print(`paused ${commitMs.length} times: to the last commit ${milliseconds(commitMs)}`);
  section.figure({
    name: 'pause to last commit',
    rounds: commitMs,
    unit: 'ms',
    better: 'lower',
    target: { atMost: 100 },
    judged: 'maximum',
    counts: commitMs.length >= 50,
  });
}
