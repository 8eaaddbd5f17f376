/**
 * `npm run bench:peers [-- --records 100000 --rounds 3 --micros 50 --install]`: the same migration as a Node team would do
 * it otherwise, beside Godwit, in turns. README.md in this directory says what is compared and how to read it; the head
 * of each contender's file says how it is built and what it is spared.
 *
 * Needs redis-server and postgresql; `--install` lets the bench install them with apt-get. The packages of the peers are
 * installed by `npm ci` in this directory where they are missing: they are no part of the main installation.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import type { ChildReport, ChildTask, Side } from '../child.ts';
import { median, spread } from '../compare.ts';
import { compile, describeMachine } from '../compile.ts';
import { runChild } from '../run-child.ts';
import { measureWork, workVariable } from '../work.ts';
import type { ServerKind } from './servers.ts';
import { requireServers, startServer, stopServers, versionOf } from './servers.ts';

type TransformName = 'cheap' | 'costly';

interface Run {
  readonly workMs: number;
  /** Of all processes that have a part in it, servers too; null where that cannot be told. */
  readonly workCpuMs: number | null;
  readonly durability: string;
  /** Of Godwit: the whole of `open`, with verification and publication. */
  readonly openMs?: number;
}

interface Contender {
  readonly name: string;
  /** Whether the mark that a chunk is done is one commit with its data. */
  readonly cursorAtomic: 'yes' | 'no';
  run(transform: TransformName): Promise<Run>;
}

const here = fileURLToPath(new URL('.', import.meta.url));
const print = (line = '') => process.stdout.write(`${line}\n`);
const count = (value: number) => value.toLocaleString('en-US', { maximumFractionDigits: 0 });

function readOptions() {
  const { values } = parseArgs({
    options: {
      records: { type: 'string' },
      rounds: { type: 'string' },
      micros: { type: 'string' },
      install: { type: 'boolean', default: false },
    },
  });
  const integer = (name: 'records' | 'rounds' | 'micros', otherwise: number) => {
    const value = Number(values[name] ?? otherwise);
    if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} is an integer from 1`);
    return value;
  };
  return {
    records: integer('records', 100_000),
    rounds: integer('rounds', 3),
    /** What the costly transform takes of CPU for each record. */
    micros: integer('micros', 50),
    isToInstall: values.install,
  };
}

/** The packages of the peers with their versions, installed where one is missing or another version. */
function installPackages(): readonly string[] {
  const read = (file: string) =>
    JSON.parse(readFileSync(join(here, file), 'utf8')) as {
      readonly version?: string;
      readonly dependencies: Readonly<Record<string, string>>;
    };
  const wanted = Object.entries(read('package.json').dependencies);
  const isInstalled = ([name, version]: readonly [string, string]) => {
    const file = `node_modules/${name}/package.json`;
    return existsSync(join(here, file)) && read(file).version === version;
  };
  if (!wanted.every(isInstalled)) {
    print('installing the packages of the peers: npm ci in bench/peers');
    execFileSync('npm', ['ci', '--prefix', here], { cwd: here, stdio: 'inherit' });
  }
  return wanted.map(([name, version]) => `${name} ${version}`);
}

/** As many processes as Godwit takes threads by default, and as many chunks in flight as it has, or more. */
const processes = Math.min(availableParallelism(), 8);
const jobsPerProcess = Math.max(2, Math.ceil(4 / processes));

async function createContenders(
  scratch: string,
  bench: string,
  records: number,
): Promise<readonly Contender[]> {
  const original = join(scratch, 'original');
  const child = join(bench, 'child.js');
  const fill: ChildTask = { kind: 'fill', directory: original, records, sizes: 'small' };
  await runChild(child, fill);

  const godwit = (name: string, kind: Side & `godwit${string}`): Contender => ({
    name,
    cursorAtomic: 'yes',
    async run(transform) {
      const directory = join(scratch, 'copy');
      cpSync(original, directory, { recursive: true });
      try {
        const task: ChildTask = { kind, directory, records, sizes: 'small', transform };
        const { workMs, workCpuMs, openMs } = await runChild<ChildReport>(child, task);
        return { workMs, workCpuMs, openMs, durability: 'a commit is answered when it is synced' };
      } finally {
        rmSync(directory, { recursive: true });
      }
    },
  });

  const urlOf = (name: string) => pathToFileURL(join(bench, name)).href;
  const peer = (name: string, file: string, kind: ServerKind): Contender => ({
    name,
    cursorAtomic: 'no',
    async run(transform) {
      const server = await startServer(kind);
      try {
        return await runChild<Run>(join(here, 'peer.js'), {
          role: 'lead',
          peer: file,
          port: server.port,
          serverPid: server.pid,
          records,
          processes,
          jobsPerProcess,
          modelsUrl: urlOf('models.js'),
          transformUrl: urlOf(transform === 'cheap' ? 'transform.js' : 'costly-place-transform.js'),
        });
      } finally {
        await server.stop();
      }
    },
  });

  return [
    godwit('Godwit, all threads', 'godwit'),
    godwit('Godwit, one thread', 'godwit-1'),
    peer('BullMQ on Redis', './bullmq.js', 'redis'),
    peer('graphile-worker on PostgreSQL', './graphile-worker.js', 'postgres'),
  ];
}

/** Rounds of one transform, each with a run of every contender. */
async function runRounds(
  contenders: readonly Contender[],
  transform: TransformName,
  { records, rounds }: ReturnType<typeof readOptions>,
): Promise<readonly ReadonlyMap<Contender, Run>[]> {
  const done: Map<Contender, Run>[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    const runs = new Map<Contender, Run>();
    // Whoever goes first has the colder machine: they take turns.
    for (let at = 0; at < contenders.length; at += 1) {
      const contender = contenders[(at + round - 1) % contenders.length];
      if (contender === undefined) continue;
      const run = await contender.run(transform);
      runs.set(contender, run);
      const rate = count((records / run.workMs) * 1_000).padStart(9);
      print(`  ${transform}, round ${round}: ${contender.name.padEnd(30)} ${rate} records/s, checked`);
    }
    done.push(runs);
  }
  return done;
}

const columns = [
  ['transform', 10],
  ['contender', 31],
  ['records/s', 10],
  ['lowest', 10],
  ['highest', 10],
  ['time ÷ Godwit’s', 24],
  ['CPU µs/record', 15],
  ['cursor atomic', 15],
  ['durable setting', 0],
] as const;

const row = (cells: readonly string[]) =>
  `  ${columns.map(([, width], at) => (cells[at] ?? '').padEnd(width)).join('')}`.trimEnd();

function printTable(
  contenders: readonly Contender[],
  transform: string,
  rounds: readonly ReadonlyMap<Contender, Run>[],
  records: number,
): void {
  const [reference] = contenders;
  for (const contender of contenders) {
    const pairs = rounds.flatMap((round) => {
      const [run, godwit] = [round.get(contender), reference && round.get(reference)];
      return run === undefined || godwit === undefined ? [] : [{ run, godwit }];
    });
    const rates = pairs.map(({ run }) => (records / run.workMs) * 1_000);
    const cpu = pairs.flatMap(({ run }) => (run.workCpuMs === null ? [] : [run.workCpuMs]));
    print(
      row([
        transform,
        contender.name,
        count(median(rates)),
        count(Math.min(...rates)),
        count(Math.max(...rates)),
        contender === reference ? '1' : spread(pairs.map(({ run, godwit }) => run.workMs / godwit.workMs)),
        cpu.length === 0 ? 'unknown' : ((median(cpu) * 1_000) / records).toFixed(1),
        contender.cursorAtomic,
        pairs[0]?.run.durability ?? '',
      ]),
    );
  }
}

const options = readOptions();
requireServers(options.isToInstall);
const packages = installPackages();
const scratch = mkdtempSync(join(tmpdir(), 'godwit-bench-peers-'));
const remove = () => rmSync(scratch, { recursive: true, force: true });
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void stopServers().finally(() => {
      remove();
      process.exit(1);
    });
  });
}
try {
  const { records, rounds, micros } = options;
  print(describeMachine());
  print(`${versionOf('redis')}, ${versionOf('postgres')}, ${packages.join(', ')}`);
  print(`peers: ${processes} processes of ${jobsPerProcess} jobs, a job for each 1,000 records`);
  print(`${count(records)} records, ${rounds} rounds\n`);
  process.env[workVariable] = String(measureWork(micros));
  const contenders = await createContenders(scratch, compile(scratch), records);
  const cheap = await runRounds(contenders, 'cheap', options);
  const costly = await runRounds(contenders, 'costly', options);
  print(`\n${row(columns.map(([title]) => title))}`);
  printTable(contenders, 'cheap', cheap, records);
  printTable(contenders, `${micros} µs`, costly, records);
  const opens = cheap.flatMap((round) => Array.from(round.values(), ({ openMs }) => openMs ?? []).flat());
  print(
    `\n  Medians of ${rounds} rounds; time ÷ Godwit’s is of neighbouring runs: above 1, Godwit with all threads is faster.\n` +
      `  Every run was checked: ${count(records)} records and as many index entries, as they should be.\n` +
      `  Godwit’s ${'`open`'} as a whole, verification and publication included: ${count(median(opens))} ms (cheap, median).`,
  );
} finally {
  await stopServers();
  remove();
}
