/**
 * How far off the told time is. Every status of a backfill says how long it will still take (`etaMs`); when it is over, so
 * is what it should have said. The error is the difference, as a part of the whole time: 10 % of an hour are six minutes,
 * early or late. Beside it what one would reckon from the elapsed time and the fraction alone, by the same events:
 * elapsed × (1 - fraction) / fraction. Quarters are of the time, and the error of each is the mean of its statuses.
 *
 * Records are of equal size, or the last tenth of them is 100 times as large as the rest and costs the same, or costs in
 * proportion to its size; or nine tenths of the keys lie in the first tenth of their interval; or the rate is limited.
 * A status without a time is counted: the mean is of the others. Which ranges are moved first is drawn in each round, and the
 * first quarter rests on it.
 */
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { median } from './compare.ts';
import { bySizeVariable } from './costly-transform.ts';
import type { EtaData, EtaReport, EtaSample, EtaTask } from './eta-child.ts';
import type { Bench } from './figures.ts';
import { count, percent } from './figures.ts';
import { runChild } from './run-child.ts';
import { measureWork, workVariable } from './work.ts';

interface Course {
  readonly name: string;
  readonly data: EtaData;
  readonly isThrottled?: boolean;
}

const courses: readonly Course[] = [
  { name: 'uniform', data: 'uniform' },
  { name: 'skewed keys', data: 'skewed keys' },
  { name: 'skewed sizes', data: 'skewed sizes' },
  { name: 'skewed costs', data: 'skewed costs' },
  { name: 'throttled', data: 'uniform', isThrottled: true },
];

/** What a record costs: so that a backfill takes a while with few of them. */
const micros = 400;
const quarters = [0, 1, 2, 3] as const;

interface Errors {
  /** Parts of the whole time; nothing where no status said one. */
  readonly told: readonly number[];
  readonly naive: readonly number[];
  readonly unknown: number;
  readonly statuses: number;
}

export async function measureEta(bench: Bench): Promise<void> {
  const { compiled, scratch, section, isQuick, nodeOptions } = bench;
  const file = join(compiled, 'eta-child.js');
  const records = bench.records ?? (isQuick ? 8_000 : 30_000);
  const rounds = bench.runs ?? (isQuick ? 1 : 5);
  const work = String(measureWork(micros));
  section.print();
  section.print(
    `${count(records)} records of ${micros} µs, ${rounds} rounds; error of the remaining time by quarters`,
  );
  for (const { name, data, isThrottled = false } of courses) {
    const directory = join(scratch, `eta-${name.replace(' ', '-')}`);
    mkdirSync(directory);
    const original = join(directory, 'original');
    await runChild(file, { kind: 'fill', directory: original, data, records } satisfies EtaTask);
    const env = { [workVariable]: work, ...(data === 'skewed costs' ? { [bySizeVariable]: '1' } : {}) };
    const all: Errors[] = [];
    const took: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const copy = join(directory, `copy-${round}`);
      cpSync(original, copy, { recursive: true });
      const task: EtaTask = {
        kind: 'migrate',
        directory: copy,
        data,
        records,
        ...(isThrottled ? { mostPerSecond: isQuick ? 2_000 : 3_000 } : {}),
      };
      const report = await runChild<EtaReport>(file, task, { env, execArgv: nodeOptions });
      rmSync(copy, { recursive: true });
      all.push(errorsOf(report));
      took.push(report.tookMs);
    }
    rmSync(directory, { recursive: true });
    const of = (what: 'told' | 'naive') =>
      quarters
        .map((at) => percent(median(all.map((errors) => errors[what][at] ?? Number.NaN))).padStart(8))
        .join('');
    const [statuses, unknown] = [
      all.reduce((sum, one) => sum + one.statuses, 0),
      all.reduce((sum, one) => sum + one.unknown, 0),
    ];
    section.print(
      `  ${name}: ${count(median(took))} ms, ${statuses} statuses, ${unknown} of them without a time`,
    );
    section.print(`    told  ${of('told')}`);
    section.print(`    naive ${of('naive')}`);
    section.figure({
      name: `error of the told time, worst quarter, ${name}`,
      rounds: all.map(({ told }) => Math.max(...told)),
      better: 'lower',
      target: { atMost: 0.15 },
    });
  }
}

function errorsOf({ samples, tookMs }: EtaReport): Errors {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const within = (quarter: number) =>
    samples.filter(({ ms }) => Math.min(3, Math.floor((4 * ms) / tookMs)) === quarter);
  const errorOf = (sample: EtaSample, etaMs: number) => Math.abs(etaMs - (tookMs - sample.ms)) / tookMs;
  const meanError = (quarter: number, say: (sample: EtaSample) => number | null) =>
    mean(
      within(quarter).flatMap((sample) => {
        const etaMs = say(sample);
        return etaMs === null ? [] : [errorOf(sample, etaMs)];
      }),
    );
  const naive = ({ ms, fraction }: EtaSample) =>
    fraction === null || fraction === 0 ? null : (ms * (1 - fraction)) / fraction;
  return {
    told: quarters.map((quarter) => meanError(quarter, ({ etaMs }) => etaMs)),
    naive: quarters.map((quarter) => meanError(quarter, naive)),
    unknown: samples.filter(({ etaMs }) => etaMs === null).length,
    statuses: samples.length,
  };
}
