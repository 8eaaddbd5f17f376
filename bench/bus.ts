/**
 * `npm run bench:bus [-- --records 100000 --runs 11 --pauses 50 --quick]`: what a message bus costs a migration, and how
 * soon a migration obeys. Needs a `nats-server` on the PATH or in NATS_SERVER_BIN.
 *
 * Cost. One backfill of `--records` records (bench/models.ts, with the transform of bench/transform.ts), in a process and
 * on a copy of one embedded directory for each run:
 * - no bus: the default, which never leaves its process;
 * - healthy: a real nats-server, with somebody who subscribes to everything;
 * - deaf: a server that accepts, and never reads. Target: the ratio is 0.95 or more, memory 50 MB more at most;
 * - away: nobody listens on the port;
 * - flooded: deaf, and beside the migration 20,000 messages of 1 kB a second are published into the same bus, for events
 *   alone would hardly fill the 8 MB that it holds. Its ratio has the cost of the flood in it; the target is the memory.
 *
 * The kinds take turns within a round, and `ratio` is the time without a bus over that of a kind in the same round, so
 * that a machine that slows down slows all of a round: the median over the rounds, with the lowest and the highest. Of
 * memory the medians are compared. CPU time is the figure to trust where the machine is busy with other things.
 *
 * Obedience. A backfill that is throttled is paused and resumed `--pauses` times: over the bus by `controlMigration` from
 * this process (target: 200 ms), and with NATS away by the store of another process on the directory (target: 1,000 ms).
 * From: just before the request is sent, or `pauseMigration` is called. To: the owner's last commit of a chunk, and when
 * it says that it is paused, on the monotonic clock that all processes of the machine share. The moment is drawn. Where
 * no chunk was committed behind the request, that counts as 0.
 *
 * A missed target is told and fails nothing: milliseconds and ratios depend on what else the machine does.
 */
import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { controlMigration, natsBus } from '../src/nats.ts';
import { startDeafServer } from '../test/rig/deaf-nats-server.ts';
import { natsServerBinary, startNatsServer } from '../test/rig/nats-server.ts';
import type { BusReport, BusTask, LatencyOrder, LatencyReport } from './bus-child.ts';
import type { ChildTask } from './child.ts';
import { median, spread } from './compare.ts';
import { compile, describeMachine } from './compile.ts';
import { machineMs } from './machine-clock.ts';
import { placeModelId } from './models.ts';

const kinds = ['no bus', 'healthy', 'deaf', 'away', 'flooded'] as const;
type Kind = (typeof kinds)[number];

const leastRatio = 0.95;
const mostMemory = 50_000_000;
const flood = { bytes: 1_000, perSecond: 20_000 };
/** As in bench/bus-child.ts, which does its work when it is loaded. */
const store = 'bench';
/** Records of the migration that is paused, which have to last; and how fast they are moved, a second. */
const pausedRecords = 200_000;
const recordsPerSecond = 5_000;
/** Until it is asked again, at most, milliseconds. */
const runMs = 300;

const print = (line = '') => process.stdout.write(`${line}\n`);
const count = (value: number) => value.toLocaleString('en-US', { maximumFractionDigits: 0 });
const megabytes = (bytes: number) => `${(bytes / 1_000_000).toFixed(1)} MB`;
const verdict = (isMet: boolean) => (isMet ? 'met' : 'MISSED');

interface Servers {
  readonly healthy: string;
  readonly deaf: string;
  readonly away: string;
}

class Benches {
  readonly #bench: string;
  readonly #scratch: string;
  #copies = 0;

  constructor(bench: string, scratch: string) {
    this.#bench = bench;
    this.#scratch = scratch;
  }

  async fill(records: number): Promise<string> {
    const directory = join(this.#scratch, `records-${records}`);
    const task: ChildTask = { kind: 'fill', directory, records, sizes: 'small' };
    await once(fork(join(this.#bench, 'child.js'), [JSON.stringify(task)], { execArgv: [] }), 'exit');
    return directory;
  }

  async onCopy<T>(original: string, work: (directory: string) => Promise<T>): Promise<T> {
    const directory = join(this.#scratch, `copy-${(this.#copies += 1)}`);
    cpSync(original, directory, { recursive: true });
    try {
      return await work(directory);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }

  start(task: BusTask): Child {
    // Not with the loader of this process: measured is what users run.
    return new Child(fork(join(this.#bench, 'bus-child.js'), [JSON.stringify(task)], { execArgv: [] }));
  }
}

class Child {
  readonly #process: ChildProcess;
  readonly #reports: (LatencyReport | BusReport)[] = [];
  #look: (() => void) | undefined;
  #isOver = false;

  constructor(child: ChildProcess) {
    this.#process = child;
    child.on('message', (message) => {
      this.#reports.push(message as LatencyReport | BusReport);
      this.#look?.();
    });
    child.on('exit', () => {
      this.#isOver = true;
      this.#look?.();
    });
  }

  order(order: LatencyOrder): void {
    this.#process.send(order);
  }

  /** Forgets what it has said so far. */
  forget(): void {
    this.#reports.length = 0;
  }

  /** The first report of a kind that is not forgotten. One waits at a time. */
  said<T extends LatencyReport | BusReport>(
    isIt: (report: LatencyReport | BusReport) => report is T,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.#reports.find(isIt);
        const failed = this.#reports.find((report) => 'type' in report && report.type === 'failed');
        if (found !== undefined) resolve(found);
        else if (failed !== undefined) reject(new Error(JSON.stringify(failed)));
        else if (this.#isOver) reject(new Error('a process ended before it was done'));
      };
      this.#look = look;
      look();
    });
  }

  saidType<T extends LatencyReport['type']>(type: T): Promise<Extract<LatencyReport, { type: T }>> {
    return this.said(
      (report): report is Extract<LatencyReport, { type: T }> => 'type' in report && report.type === type,
    );
  }

  async kill(): Promise<void> {
    if (this.#isOver) return;
    const gone = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await gone;
  }
}

async function compareCost(
  benches: Benches,
  servers: Servers,
  { records, runs }: ReturnType<typeof readOptions>,
): Promise<void> {
  const original = await benches.fill(records);
  const subscriber = natsBus({ servers: servers.healthy });
  let heard = 0;
  subscriber.subscribe('godwit.>', () => {
    heard += 1;
  });
  const tasks: Readonly<Record<Kind, Omit<Extract<BusTask, { kind: 'migrate' }>, 'kind' | 'directory'>>> = {
    'no bus': { server: undefined, isThere: false, flood: undefined },
    healthy: { server: servers.healthy, isThere: true, flood: undefined },
    deaf: { server: servers.deaf, isThere: true, flood: undefined },
    away: { server: servers.away, isThere: false, flood: undefined },
    flooded: { server: servers.deaf, isThere: true, flood },
  };
  const run = (kind: Kind) =>
    benches.onCopy(original, (directory) =>
      benches
        .start({ kind: 'migrate', directory, ...tasks[kind] })
        .said((report): report is BusReport => !('type' in report)),
    );
  // Files and caches are cold for the first one.
  await run('no bus');
  print(`\n${count(records)} records, ${runs} rounds; records per second`);
  print(`  run ${kinds.map((kind) => kind.padStart(10)).join('')}`);
  const rounds: Readonly<Record<Kind, BusReport>>[] = [];
  for (let round = 1; round <= runs; round += 1) {
    const reports = new Map<Kind, BusReport>();
    for (const at of kinds.keys()) {
      const kind = kinds[(at + round) % kinds.length] as Kind;
      reports.set(kind, await run(kind));
    }
    const all = Object.fromEntries(reports) as Record<Kind, BusReport>;
    rounds.push(all);
    const rates = kinds.map((kind) => count((records / all[kind].workMs) * 1_000).padStart(10));
    print(`  ${String(round).padStart(3)} ${rates.join('')}`);
  }
  await subscriber.close();
  printCost(rounds);
  print(`  the subscriber heard ${count(heard)} messages`);
}

function printCost(rounds: readonly Readonly<Record<Kind, BusReport>>[]): void {
  const of = (kind: Kind, value: (report: BusReport) => number) =>
    median(rounds.map((round) => value(round[kind])));
  print('\n  medians: ratio to no bus, CPU time of the backfill, peak RSS more than with none, messages');
  for (const kind of kinds) {
    const ratios = rounds.map((round) => round['no bus'].workMs / round[kind].workMs);
    const more =
      of(kind, ({ peakRssBytes }) => peakRssBytes) - of('no bus', ({ peakRssBytes }) => peakRssBytes);
    const anonymous = ({ peakAnonymousBytes }: BusReport) => peakAnonymousBytes ?? Number.NaN;
    const moreAnonymous = of(kind, anonymous) - of('no bus', anonymous);
    print(
      `  ${kind.padEnd(8)} ratio ${spread(ratios)}, CPU ${count(of(kind, ({ workCpuMs }) => workCpuMs))} ms, ` +
        `memory ${megabytes(more)} (anonymous ${megabytes(moreAnonymous)}), ` +
        `published ${count(of(kind, ({ published, flooded }) => published + flooded))}, ` +
        `dropped ${count(of(kind, ({ dropped }) => dropped))}`,
    );
    if (kind === 'deaf') {
      print(`           target ratio at least ${leastRatio}: ${verdict(median(ratios) >= leastRatio)}`);
    }
    if (kind === 'deaf' || kind === 'flooded') {
      print(`           target memory at most ${megabytes(mostMemory)}: ${verdict(more <= mostMemory)}`);
    }
  }
}

interface Latency {
  readonly commitMs: number;
  readonly pausedMs: number;
}

async function measureObedience(
  benches: Benches,
  original: string,
  pauses: number,
  { server, isUp }: { readonly server: string; readonly isUp: boolean },
): Promise<void> {
  const took: Latency[] = [];
  await benches.onCopy(original, async (directory) => {
    const part = { directory, server, isThere: isUp, recordsPerSecond };
    const owner = benches.start({ kind: 'owner', ...part });
    await owner.saidType('moving');
    const steward = benches.start({ kind: 'steward', ...part });
    await steward.saidType('open');
    const bus = natsBus({ servers: server });
    const ask = (verb: 'pause' | 'resume') => controlMigration(bus, { store, model: placeModelId, verb });
    try {
      for (let n = 0; n < pauses; n += 1) {
        await setTimeout(Math.random() * runMs);
        owner.forget();
        let fromMs = machineMs();
        if (isUp) void ask('pause');
        else {
          steward.forget();
          steward.order('pause');
          fromMs = (await steward.saidType('asking')).atMs;
        }
        const { atMs: pausedAtMs } = await owner.saidType('paused');
        // What was committed before it may be told behind it.
        await setTimeout(50);
        owner.order('lastCommit');
        const { atMs: commitAtMs } = await owner.saidType('lastCommit');
        took.push({ commitMs: Math.max(0, commitAtMs - fromMs), pausedMs: pausedAtMs - fromMs });
        if (isUp) await ask('resume');
        else steward.order('resume');
        await owner.saidType('moving');
      }
    } finally {
      await Promise.all([owner.kill(), steward.kill()]);
      await bus.close();
    }
  });
  printObedience(took, isUp);
}

function printObedience(took: readonly Latency[], isUp: boolean): void {
  const of = (what: keyof Latency) => {
    const all = took.map((one) => one[what]);
    return `median ${median(all).toFixed(1).padStart(7)} ms, maximum ${Math.max(...all)
      .toFixed(1)
      .padStart(7)} ms`;
  };
  const mostMs = isUp ? 200 : 1_000;
  const worst = Math.max(...took.map(({ commitMs }) => commitMs));
  print(`\npaused ${isUp ? 'over the bus' : 'through another store, NATS away'}, ${took.length} times`);
  print(`  to the last commit of a chunk  ${of('commitMs')}`);
  print(`  to being told that it is       ${of('pausedMs')}`);
  print(`  target at most ${count(mostMs)} ms: ${verdict(worst <= mostMs)}`);
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      records: { type: 'string' },
      runs: { type: 'string' },
      pauses: { type: 'string' },
      quick: { type: 'boolean', default: false },
    },
  });
  const { quick } = values;
  const integer = (name: 'records' | 'runs' | 'pauses', otherwise: number) => {
    const value = Number(values[name] ?? otherwise);
    if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} is an integer from 1`);
    return value;
  };
  return {
    records: integer('records', quick ? 20_000 : 100_000),
    runs: integer('runs', quick ? 2 : 11),
    pauses: integer('pauses', quick ? 5 : 50),
  };
}

const options = readOptions();
if (natsServerBinary === undefined) throw new Error('npm run bench:bus needs a nats-server');
const scratch = mkdtempSync(join(tmpdir(), 'godwit-bench-bus-'));
const healthy = await startNatsServer();
const deaf = await startDeafServer();
const gone = await startDeafServer();
await gone.close();
const servers: Servers = { healthy: healthy.address, deaf: deaf.address, away: gone.address };
try {
  print(describeMachine());
  const benches = new Benches(compile(scratch), scratch);
  await compareCost(benches, servers, options);
  const original = await benches.fill(pausedRecords);
  await measureObedience(benches, original, options.pauses, { server: servers.healthy, isUp: true });
  await measureObedience(benches, original, options.pauses, { server: servers.away, isUp: false });
} finally {
  await Promise.all([healthy.stop(), deaf.close()]);
  rmSync(scratch, { recursive: true, force: true });
}
