/**
 * `npm run bench [-- --records 200000 --runs 5 --quick]`: how much it costs to let Godwit move records, against doing
 * it by hand.
 *
 * What is compared. Both sides begin with copies of one embedded directory that holds `--records` records of about
 * 200 bytes (bench/models.ts). Both turn a string into a number in each and add an index entry for it.
 * - Godwit: one `open` whose backfill is a module (bench/transform.ts), with default options: transforms in the worker
 *   pool, several ranges in flight, values validated, ownership, gate and intent checked in each transaction.
 * - The loop (bench/loop.ts): one transaction of 1,000 records after another on the same key-value port, on the main
 *   thread, with the same codecs. It validates nothing and survives only its own kindest crash.
 *
 * How to read it. `ratio` is the loop's time over that of Godwit's backfill: 1 is as fast, above 1 is faster. It is
 * the median over pairs of neighbouring runs, so that a machine that slows down slows both of a pair; the spread is
 * the lowest and the highest pair. Verify reads everything once more, which the loop does not do, and stands by itself;
 * `open` is what a user waits for: loading modules, starting threads, all phases and publication. Every run is a
 * process of its own on a fresh copy, and its records and entries are read, checked, and compared byte for byte with
 * those of the other side. Commits are durable on both sides. Ratios travel between machines; times do not.
 *
 * CPU time is what the work costs, however many threads share it: the figure to trust on a machine that is busy with
 * other things. The main thread's part bounds what more threads can bring.
 *
 * `peak RSS` is that of the process with all its threads during one migration. LMDB maps its file into memory, and
 * mapped pages count as resident until somebody else needs the memory: "anonymous" is the rest. It levels off
 * after a few hundred thousand records (chunks in flight, LMDB's spare pages, one heap for each thread) and must not
 * grow beyond that with their number.
 *
 * The code is compiled first and measured as users run it: without a loader.
 */
import { execFileSync, fork } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { ChildReport, ChildTask } from './child.ts';

const top = fileURLToPath(new URL('..', import.meta.url));

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
    memoryRecords: quick ? [10_000, 100_000] : [100_000, 1_000_000],
    nodeOptions: values['node-options'].split(' ').filter((option) => option !== ''),
  };
}

/** Compiles sources and bench into a directory, as a build does, with this repository's packages beside it. */
function compile(directory: string): string {
  const config = {
    extends: join(top, 'tsconfig.build.json'),
    compilerOptions: {
      rootDir: top,
      outDir: join(directory, 'dist'),
      typeRoots: [join(top, 'node_modules/@types')],
      declaration: false,
    },
    include: ['src', 'machines', 'workers', 'bench'].map((name) => join(top, name)),
  };
  const file = join(directory, 'tsconfig.json');
  writeFileSync(file, JSON.stringify(config));
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }');
  symlinkSync(join(top, 'node_modules'), join(directory, 'node_modules'));
  execFileSync(join(top, 'node_modules/.bin/tsc'), ['-p', file], { stdio: 'inherit' });
  return join(directory, 'dist/bench/child.js');
}

function runChild(file: string, task: ChildTask, execArgv: readonly string[] = []): Promise<ChildReport> {
  return new Promise((resolve, reject) => {
    const child = fork(file, [JSON.stringify(task)], { execArgv: [...execArgv] });
    let report: ChildReport | undefined;
    child.on('message', (message) => {
      report = message as ChildReport;
    });
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      if (code === 0 && report !== undefined) resolve(report);
      else reject(new Error(`a child (${task.kind}) ended with ${code ?? signal ?? 'nothing'}`));
    });
  });
}

const sorted = (values: readonly number[]) => values.toSorted((left, right) => left - right);
function median(values: readonly number[]): number {
  const ordered = sorted(values);
  const middle = Math.floor(ordered.length / 2);
  const upper = ordered[middle] ?? Number.NaN;
  return ordered.length % 2 === 1 ? upper : (upper + (ordered[middle - 1] ?? Number.NaN)) / 2;
}

const count = (value: number) => value.toLocaleString('en-US', { maximumFractionDigits: 0 });
const rate = (records: number, ms: number) => count((records / ms) * 1_000).padStart(9);
const megabytes = (bytes: number | null) => (bytes === null ? 'unknown' : `${count(bytes / 1_000_000)} MB`);
const print = (line = '') => process.stdout.write(`${line}\n`);

function printVersions(): void {
  const packageOf = (name: string) =>
    (JSON.parse(readFileSync(join(top, 'node_modules', name, 'package.json'), 'utf8')) as { version: string })
      .version;
  const packages = ['lmdb', 'msgpackr', 'piscina', 'xstate'].map((name) => `${name} ${packageOf(name)}`);
  print(`node ${process.version}, ${packages.join(', ')}`);
  print(`${availableParallelism()} cores, ${cpus()[0]?.model ?? 'unknown processor'}, ${process.platform}`);
}

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
    await runChild(file, { kind: 'fill', directory: arena.#original, records });
    return arena;
  }

  get #original(): string {
    return join(this.#parent, 'original');
  }

  async run(kind: 'godwit' | 'loop', execArgv: readonly string[] = []): Promise<ChildReport> {
    const directory = join(this.#parent, `copy-${(this.#copies += 1)}`);
    cpSync(this.#original, directory, { recursive: true });
    const report = await runChild(this.#file, { kind, directory, records: this.#records }, execArgv);
    rmSync(directory, { recursive: true });
    return report;
  }

  remove(): void {
    rmSync(this.#parent, { recursive: true });
  }
}

async function compareSpeed(
  file: string,
  directory: string,
  { records, runs, nodeOptions }: ReturnType<typeof readOptions>,
): Promise<void> {
  const arena = await Arena.create(file, directory, records);
  const pairs: { readonly godwit: ChildReport; readonly loop: ChildReport }[] = [];
  print(`\n${count(records)} records, ${runs} pairs of runs; records per second, ratio = Godwit to loop`);
  print('  run  backfill       loop   ratio    verify   open ms');
  for (let run = 1; run <= runs; run += 1) {
    // Whoever goes first has the colder machine: they take turns.
    const first = run % 2 === 1 ? 'loop' : 'godwit';
    const one = await arena.run(first, first === 'godwit' ? nodeOptions : []);
    const other = await arena.run(first === 'loop' ? 'godwit' : 'loop', first === 'loop' ? nodeOptions : []);
    const pair = first === 'loop' ? { loop: one, godwit: other } : { godwit: one, loop: other };
    if (pair.godwit.digest !== pair.loop.digest) throw new Error('the two sides wrote different rows');
    pairs.push(pair);
    const { godwit, loop } = pair;
    const ratio = (loop.workMs / godwit.workMs).toFixed(2).padStart(7);
    const line = `${rate(records, godwit.workMs)}  ${rate(records, loop.workMs)} ${ratio} ${rate(records, godwit.verifyMs)}`;
    print(`  ${String(run).padStart(3)} ${line} ${count(godwit.openMs).padStart(9)}`);
  }
  arena.remove();
  const ratios = sorted(pairs.map(({ godwit, loop }) => loop.workMs / godwit.workMs));
  const of = (value: (pair: (typeof pairs)[number]) => number) => median(pairs.map(value));
  print(
    `  every run checked: ${count(records)} records and as many index entries, the same bytes on both sides`,
  );
  print(`  bytes per record: ${of(({ godwit }) => godwit.recordBytes).toFixed(0)}, key and value`);
  print(
    `  medians: backfill ${count(of(({ godwit }) => godwit.workMs))} ms, ` +
      `verify ${count(of(({ godwit }) => godwit.verifyMs))} ms, ` +
      `whole open ${count(of(({ godwit }) => godwit.openMs))} ms, loop ${count(of(({ loop }) => loop.workMs))} ms`,
  );
  const cpu = (side: 'godwit' | 'loop') => {
    const all = of((pair) => pair[side].workCpuMs);
    const main = of((pair) => pair[side].workMainCpuMs ?? Number.NaN);
    return `${count(all)} ms (main thread ${Number.isNaN(main) ? 'unknown' : `${count(main)} ms`})`;
  };
  print(`  CPU time: backfill ${cpu('godwit')}, loop ${cpu('loop')}`);
  print(
    `  ratio ${median(ratios).toFixed(2)} (${(ratios[0] ?? 0).toFixed(2)} to ${(ratios.at(-1) ?? 0).toFixed(2)})`,
  );
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
  printVersions();
  const file = compile(directory);
  await compareSpeed(file, directory, options);
  await measureMemory(file, directory, options.memoryRecords);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
