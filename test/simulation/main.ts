import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { createCoverage } from './coverage.ts';
import { simulate } from './simulate.ts';

/**
 * `npm run simulate -- --seeds 10000`: many histories, on all processors.
 * `npm run simulate -- --seed 4711`: one history, told.
 */
const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    processes: { type: 'string', default: String(availableParallelism()) },
    /** Lists all transitions with their counts. */
    transitions: { type: 'boolean', default: false },
    /** Of a process among several: its seeds are those that leave this rest. */
    part: { type: 'string' },
  },
});

interface Tally {
  seeds: number;
  operations: number;
  faults: number;
  failures: { seed: number; failure: string }[];
  counts: Record<string, number>;
}

const first = Number(values.from);
const last = first + Number(values.seeds) - 1;
const processes = Math.max(1, Number(values.processes));

/** How to see a history again. */
const replay = (seed: number): string => `npm run simulate -- --seed ${seed}`;

async function run(part: number): Promise<Tally> {
  const coverage = createCoverage();
  const tally: Tally = { seeds: 0, operations: 0, faults: 0, failures: [], counts: {} };
  let seed = first + part;
  process.on('unhandledRejection', (error: unknown) => {
    const failure = `nobody took an error: ${error instanceof Error ? (error.stack ?? '') : String(error)}`;
    tally.failures.push({ seed, failure });
  });
  for (; seed <= last; seed += processes) {
    const { operations, faults, failure } = await simulate(seed, { inspect: coverage.inspect });
    tally.seeds += 1;
    tally.operations += operations;
    tally.faults += faults;
    if (failure !== undefined) tally.failures.push({ seed, failure });
  }
  return { ...tally, counts: coverage.counts };
}

function runElsewhere(part: number): Promise<Tally> {
  const child = fork(new URL(import.meta.url), [...process.argv.slice(2), '--part', String(part)], {
    // Most of what a simulation makes is garbage by the next one.
    execArgv: [...process.execArgv, '--max-semi-space-size=64'],
  });
  return new Promise((resolve, reject) => {
    child.once('message', (tally) => resolve(tally as Tally));
    child.once('error', reject);
    child.once('exit', (code) =>
      reject(new Error(`a process ended with ${String(code)} before its last seed`)),
    );
  });
}

function add(tallies: readonly Tally[]): Tally {
  const sum: Tally = { seeds: 0, operations: 0, faults: 0, failures: [], counts: {} };
  for (const { seeds, operations, faults, failures, counts } of tallies) {
    sum.seeds += seeds;
    sum.operations += operations;
    sum.faults += faults;
    sum.failures.push(...failures);
    for (const [name, count] of Object.entries(counts)) sum.counts[name] = (sum.counts[name] ?? 0) + count;
  }
  return sum;
}

function print(lines: readonly string[]): void {
  process.stdout.write(`${lines.join('\n')}\n`);
}

async function tellOne(seed: number): Promise<void> {
  const { trace, failure, operations, faults } = await simulate(seed, { isTraced: true });
  print([
    ...trace,
    '',
    `seed ${seed}: ${operations} operations of the database, ${faults} faults`,
    failure === undefined ? 'Nothing went wrong.' : `WRONG: ${failure}`,
  ]);
  if (failure !== undefined) process.exitCode = 1;
}

async function runAll(): Promise<void> {
  const startedMs = performance.now();
  const tally = add(await Promise.all(Array.from({ length: processes }, (_, part) => runElsewhere(part))));
  const seconds = (performance.now() - startedMs) / 1_000;
  const counts = Object.entries(tally.counts).toSorted(([, a], [, b]) => a - b);
  const rare = counts.filter(([, count]) => count < 10);
  print([
    ...tally.failures
      .toSorted((a, b) => a.seed - b.seed)
      .map(({ seed, failure }) => `seed ${seed}: ${failure.slice(0, 500)}\n  ${replay(seed)}`),
    `${tally.seeds} seeds in ${seconds.toFixed(1)} s on ${processes} processes: ${(tally.seeds / seconds).toFixed(1)} a second`,
    `${(tally.operations / tally.seeds).toFixed(0)} operations of the database and ${(tally.faults / tally.seeds).toFixed(1)} faults a seed`,
    `${counts.length - rare.length} of ${counts.length} transitions of the machines were taken 10 times or more`,
    ...(values.transitions ? counts : rare).map(([name, count]) => `  ${String(count).padStart(8)}  ${name}`),
    `${tally.failures.length} histories went wrong`,
  ]);
  if (tally.failures.length > 0) process.exitCode = 1;
}

if (values.part !== undefined) {
  const tally = await run(Number(values.part));
  process.send?.(tally, () => process.disconnect());
} else if (values.seed !== undefined) await tellOne(Number(values.seed));
else await runAll();
