/**
 * The same backfill on a FoundationDB cluster, where `FDB_CLUSTER_FILE` names one: the loop of bench/loop.ts with the npm
 * package `foundationdb` alone, and Godwit with one worker thread and with the default pool, in turns. There are no
 * copies of a cluster: each run clears the subspace `('bench')` and fills it anew, and the last one clears it again.
 */
import { join } from 'node:path';
import type { ChildReport, ChildTask, Side } from './child.ts';
import { median } from './compare.ts';
import type { Bench } from './figures.ts';
import { count, rate } from './figures.ts';
import { runChild } from './run-child.ts';
import { measureWork, workVariable } from './work.ts';

const sides: readonly Side[] = ['binding', 'godwit-1', 'godwit'];
const nameOf = (side: Side) =>
  side === 'binding' ? 'the loop' : side === 'godwit-1' ? 'one thread' : 'all cores';
const costlyMicros = 50;

export async function compareOnCluster(bench: Bench): Promise<void> {
  const { compiled, section, isQuick, nodeOptions } = bench;
  const cluster = process.env['FDB_CLUSTER_FILE'];
  section.print();
  if (cluster === undefined) {
    section.print('not measured: FDB_CLUSTER_FILE names no cluster');
    return;
  }
  const file = join(compiled, 'child.js');
  const records = bench.records ?? (isQuick ? 10_000 : 150_000);
  const rounds = bench.runs ?? (isQuick ? 2 : 5);
  const env = { [workVariable]: String(measureWork(costlyMicros)) };
  for (const transform of ['cheap', 'costly'] as const) {
    const cost = transform === 'cheap' ? 'a cheap transform' : `a transform of ${costlyMicros} µs`;
    section.print(`${count(records)} records of 200 bytes, ${cost}, ${rounds} rounds; records per second`);
    const all: Record<string, ChildReport>[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const reports = new Map<Side, ChildReport>();
      for (const at of sides.keys()) {
        const side = sides[(at + round) % sides.length] as Side;
        const task: ChildTask = { kind: side, directory: '', cluster, records, sizes: 'small', transform };
        await runChild(file, { ...task, kind: 'fill' } satisfies ChildTask);
        reports.set(side, await runChild<ChildReport>(file, task, { env, execArgv: nodeOptions }));
      }
      if (new Set([...reports.values()].map(({ digest }) => digest)).size > 1) {
        throw new Error('the sides wrote different rows');
      }
      all.push(Object.fromEntries(reports));
    }
    for (const side of sides) {
      const work = median(all.map((round) => round[side]?.workMs ?? Number.NaN));
      section.print(`  ${nameOf(side).padEnd(10)} ${rate(records, work)} records/s`);
    }
    for (const side of ['godwit-1', 'godwit'] as const) {
      section.figure({
        name: `${transform}, ${nameOf(side)} to the loop with the binding`,
        rounds: all.map(({ binding, [side]: godwit }) => (binding?.workMs ?? NaN) / (godwit?.workMs ?? NaN)),
        better: 'higher',
      });
    }
  }
  await runChild(file, {
    kind: 'clear',
    directory: '',
    cluster,
    records: 0,
    sizes: 'small',
  } satisfies ChildTask);
}
