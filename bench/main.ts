/**
 * `npm run bench [-- --records 200000 --runs 5 --quick]`: how much it costs to let Godwit move records, against doing
 * it by hand.
 *
 * What is compared. All sides begin with copies of one embedded directory that holds `--records` records of about
 * 200 bytes (bench/models.ts). All turn a string into a number in each and add an index entry for it.
 * - Godwit: one `open` whose backfill is a module (bench/transform.ts), with default options: transforms in the worker
 *   pool, several ranges in flight, values validated, ownership, gate and intent checked in each transaction.
 * - The loop (bench/loop.ts): one transaction of 1,000 records after another on the same key-value port, on the main
 *   thread, with the same codecs. It validates nothing and survives only its own kindest crash.
 * - The loop on lmdb (bench/lmdb-loop.ts): the same without the port, on LMDB's tables through the package `lmdb`, in
 *   the same batches and as durable. Nobody else may have the directory open: no snapshots, no conflicts, no log.
 *
 * How to read it. `ratio` is the loop's time over that of Godwit's backfill: 1 is as fast, above 1 is faster. It is
 * the median over rounds of neighbouring runs, so that a machine that slows down slows all of a round; the spread is
 * the lowest and the highest round. Verify reads everything once more, which the loop does not do, and stands by itself;
 * `open` is what a user waits for: loading modules, starting threads, all phases and publication. Every run is a
 * process of its own on a fresh copy, and its records and entries are read, checked, and compared byte for byte with
 * those of the other sides. Commits are durable on all sides. Ratios travel between machines; times do not.
 *
 * CPU time is what the work costs, however many threads share it: the figure to trust on a machine that is busy with
 * other things. The main thread's part bounds what more threads can bring.
 *
 * `peak RSS` is that of the process with all its threads during one migration. LMDB maps its file into memory, and
 * mapped pages count as resident until somebody else needs the memory: "anonymous" is the rest. It levels off
 * after a few hundred thousand records (chunks in flight, LMDB's spare pages, one heap for each thread) and must not
 * grow beyond that with their number.
 *
 * Then small things, side by side in one process (bench/side-by-side.ts): opening a store with many models that are up
 * to date; `get`, `put` and `scan` against the key-value port without the store; the codec of records against msgpackr.
 * Both sides take turns, and every result is checked. A ratio is the bare side's time over Godwit's.
 *
 * The code is compiled first and measured as users run it: without a loader.
 */
import { fork } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { ChildReport, ChildTask, Side } from './child.ts';
import type { Comparison } from './compare.ts';
import { median, spread } from './compare.ts';
import { compile, describeMachine } from './compile.ts';
import type { SideBySideReport, SideBySideTask } from './side-by-side.ts';

function readOptions() {
  const { values } = parseArgs({
    options: {
      records: { type: 'string' },
      runs: { type: 'string' },
      quick: { type: 'boolean', default: false },
      /** Passed on to the Godwit children, separated by blanks: `--node-options=--cpu-prof`, for one. */
      'node-options': { type: 'string', default: '' },
    },
  });
  const { quick } = values;
  const integer = (name: 'records' | 'runs', otherwise: number) => {
    const value = Number(values[name] ?? otherwise);
    if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} is an integer from 1`);
    return value;
  };
  return {
    records: integer('records', quick ? 20_000 : 200_000),
    runs: integer('runs', quick ? 1 : 5),
    rounds: quick ? 5 : 20,
    memoryRecords: quick ? [10_000, 100_000] : [100_000, 1_000_000],
    nodeOptions: values['node-options'].split(' ').filter((option) => option !== ''),
  };
}

/** Forks a child with its task, and answers what it sends. */
function runChild<Report>(file: string, task: object, execArgv: readonly string[] = []): Promise<Report> {
  return new Promise((resolve, reject) => {
    const child = fork(file, [JSON.stringify(task)], { execArgv: [...execArgv] });
    let report: Report | undefined;
    child.on('message', (message) => {
      report = message as Report;
    });
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      if (code === 0 && report !== undefined) resolve(report);
      else reject(new Error(`a child ended with ${code ?? signal ?? 'nothing'}: ${JSON.stringify(task)}`));
    });
  });
}

const count = (value: number) => value.toLocaleString('en-US', { maximumFractionDigits: 0 });
const rate = (records: number, ms: number) => count((records / ms) * 1_000).padStart(9);
const megabytes = (bytes: number | null) => (bytes === null ? 'unknown' : `${count(bytes / 1_000_000)} MB`);
const print = (line = '') => process.stdout.write(`${line}\n`);

/** A directory with that many records of version 1.0, and what a child does on fresh copies of it. */
class Arena {
  readonly #file: string;
  readonly #parent: string;
  readonly #records: number;
  #copies = 0;

  private constructor(file: string, parent: string, records: number) {
    this.#file = file;
    this.#parent = parent;
    this.#records = records;
  }

  static async create(file: string, directory: string, records: number): Promise<Arena> {
    const parent = join(directory, `records-${records}`);
    mkdirSync(parent);
    const arena = new Arena(file, parent, records);
    const task: ChildTask = { kind: 'fill', directory: arena.#original, records };
    await runChild(file, task);
    return arena;
  }

  get #original(): string {
    return join(this.#parent, 'original');
  }

  async run(kind: Side, execArgv: readonly string[] = []): Promise<ChildReport> {
    const directory = join(this.#parent, `copy-${(this.#copies += 1)}`);
    cpSync(this.#original, directory, { recursive: true });
    const task: ChildTask = { kind, directory, records: this.#records };
    const report = await runChild<ChildReport>(this.#file, task, execArgv);
    rmSync(directory, { recursive: true });
    return report;
  }

  remove(): void {
    rmSync(this.#parent, { recursive: true });
  }
}

const sides: readonly Side[] = ['loop', 'godwit', 'lmdb'];

async function compareSpeed(
  file: string,
  directory: string,
  { records, runs, nodeOptions }: ReturnType<typeof readOptions>,
): Promise<void> {
  const arena = await Arena.create(file, directory, records);
  const rounds: Readonly<Record<Side, ChildReport>>[] = [];
  print(`\n${count(records)} records, ${runs} rounds; records per second, ratio = Godwit to loop`);
  print('  run  backfill       loop   ratio       lmdb   ratio    verify   open ms');
  for (let run = 1; run <= runs; run += 1) {
    // Whoever goes first has the colder machine: they take turns.
    const order = sides.map((_, at) => sides[(at + run) % sides.length] as Side);
    const reports = new Map<Side, ChildReport>();
    for (const side of order) reports.set(side, await arena.run(side, side === 'godwit' ? nodeOptions : []));
    const round = Object.fromEntries(reports) as Record<Side, ChildReport>;
    const { godwit, loop, lmdb } = round;
    if (sides.some((side) => round[side].digest !== godwit.digest)) {
      throw new Error('the sides wrote different rows');
    }
    rounds.push(round);
    const against = (other: ChildReport) =>
      `${rate(records, other.workMs)} ${(other.workMs / godwit.workMs).toFixed(2).padStart(7)}`;
    print(
      `  ${String(run).padStart(3)} ${rate(records, godwit.workMs)}  ${against(loop)}  ${against(lmdb)} ` +
        `${rate(records, godwit.verifyMs)} ${count(godwit.openMs).padStart(9)}`,
    );
  }
  arena.remove();
  const of = (value: (round: (typeof rounds)[number]) => number) => median(rounds.map(value));
  print(
    `  every run checked: ${count(records)} records and as many index entries, the same bytes on all sides`,
  );
  print(`  bytes per record: ${of(({ godwit }) => godwit.recordBytes).toFixed(0)}, key and value`);
  print(
    `  medians: backfill ${count(of(({ godwit }) => godwit.workMs))} ms, ` +
      `verify ${count(of(({ godwit }) => godwit.verifyMs))} ms, ` +
      `whole open ${count(of(({ godwit }) => godwit.openMs))} ms, loop ${count(of(({ loop }) => loop.workMs))} ms, ` +
      `loop on lmdb ${count(of(({ lmdb }) => lmdb.workMs))} ms`,
  );
  const cpu = (side: Side) => {
    const all = of((round) => round[side].workCpuMs);
    const main = of((round) => round[side].workMainCpuMs ?? Number.NaN);
    return `${count(all)} ms (main thread ${Number.isNaN(main) ? 'unknown' : `${count(main)} ms`})`;
  };
  print(`  CPU time: backfill ${cpu('godwit')}, loop ${cpu('loop')}, loop on lmdb ${cpu('lmdb')}`);
  const ratioTo = (side: Side) => spread(rounds.map((round) => round[side].workMs / round.godwit.workMs));
  print(`  ratio ${ratioTo('loop')}, to the loop on lmdb ${ratioTo('lmdb')}`);
}

async function compareSmallThings(file: string, directory: string, rounds: number): Promise<void> {
  const task: SideBySideTask = { directory: join(directory, 'side-by-side'), rounds };
  mkdirSync(task.directory);
  const { opened, requests, codec } = await runChild<SideBySideReport>(file, task);
  print(`\nopen, all models up to date, ${rounds} rounds`);
  const [one] = opened;
  for (const { models, transactions, tookMs } of opened) {
    const ratio = spread(tookMs.map((ms, at) => ms / (one?.tookMs[at] ?? Number.NaN)));
    const text = `${median(tookMs).toFixed(1).padStart(6)} ms, ${transactions} transactions`;
    print(`  models ${String(models).padStart(4)}: ${text}, ${ratio} times as long as one`);
  }
  printComparisons('the store', 'the bare port', requests);
  printComparisons('the codec', 'bare msgpackr', codec);
}

function printComparisons(ours: string, bare: string, comparisons: readonly Comparison[]): void {
  print(`\n${ours} and ${bare}; operations per second, ratio = ${ours} to ${bare}`);
  for (const { name, operations, rounds } of comparisons) {
    const [left, right] = [
      median(rounds.map((round) => round.ours)),
      median(rounds.map((round) => round.bare)),
    ];
    const ratio = spread(rounds.map((round) => round.bare / round.ours));
    print(`  ${name.padEnd(20)} ${rate(operations, left)}  ${rate(operations, right)}  ratio ${ratio}`);
  }
}

async function measureMemory(file: string, directory: string, sizes: readonly number[]): Promise<void> {
  print('\npeak RSS of a migration, of which anonymous');
  for (const records of sizes) {
    const arena = await Arena.create(file, directory, records);
    const { peakRssBytes, peakAnonymousBytes } = await arena.run('godwit');
    arena.remove();
    print(
      `  ${count(records).padStart(9)} records: ${megabytes(peakRssBytes)}, ${megabytes(peakAnonymousBytes)}`,
    );
  }
}

const options = readOptions();
const directory = mkdtempSync(join(tmpdir(), 'godwit-bench-'));
try {
  print(describeMachine());
  const bench = compile(directory);
  const child = join(bench, 'child.js');
  await compareSpeed(child, directory, options);
  await compareSmallThings(join(bench, 'side-by-side.js'), directory, options.rounds);
  await measureMemory(child, directory, options.memoryRecords);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
