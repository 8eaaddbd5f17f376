/**
 * `npm run bench:takeover [-- --rounds 5]`: how long a migration stands still when its owner is killed, or closes its
 * store, until another process goes on. One owner after the other: who took over is the next to go.
 *
 * Measured from outside, on the monotonic clock that all processes of the machine share. From: just before SIGKILL is
 * sent, or when the owner calls `close()`. To: a third process, which watches the owner's row and the ledger, sees the
 * first commit that moves records under the next epoch. The acquisition before it, which is a commit as well, stands by
 * itself. The transform is a module and runs in worker threads, as usual.
 *
 * - Killed, the timeout decides: the successor is made unable to tell that a process of its own machine is dead, as it is
 *   of a process of another machine. 20 rounds; target: at most the timeout of 5 s and one heartbeat, a quarter of it.
 * - Killed, seen at once: as processes on one embedded directory do. 20 rounds; no target.
 * - Closed: 50 rounds; target: below 250 ms.
 *
 * The moment of a kill is drawn over one heartbeat. `--rounds` cuts all three short, `--only closed`
 * leaves the others out. A missed target is told and fails
 * nothing: milliseconds depend on what else the machine does.
 */
import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { openDatabase } from '../src/index.ts';
import type { KeyValueDatabase } from '../src/index.ts';
import { readOwner } from '../src/migration/owner.ts';
import { readRanges } from '../src/migration/passes/ledger.ts';
import { watchUntil } from '../src/migration/watch.ts';
import { systemClock } from '../src/ports/clock.ts';
import { createStoreKeys } from '../src/records/keys.ts';
import type { ChildTask } from './child.ts';
import { median } from './compare.ts';
import { compile, describeMachine } from './compile.ts';
import { machineMs } from './machine-clock.ts';
import { benchSubspace, placeModelId } from './models.ts';
import type { TakeoverReport, TakeoverTask } from './takeover-child.ts';

const leaseTimeoutMs = 5_000;
const heartbeatMs = leaseTimeoutMs / 4;
/** So slow that the records last for all rounds. */
const recordsPerSecond = 500;
const records = 200_000;

interface Series {
  readonly name: string;
  readonly end: 'kill' | 'close';
  readonly isBlind: boolean;
  readonly rounds: number;
  /** Milliseconds, of the slowest round. */
  readonly target?: { readonly atMost: number; readonly text: string };
}

const series: readonly Series[] = [
  {
    name: 'killed, the timeout decides',
    end: 'kill',
    isBlind: true,
    rounds: 20,
    target: { atMost: leaseTimeoutMs + heartbeatMs, text: 'the timeout and one heartbeat' },
  },
  { name: 'killed, seen at once', end: 'kill', isBlind: false, rounds: 20 },
  { name: 'closed', end: 'close', isBlind: false, rounds: 50, target: { atMost: 250, text: '250 ms' } },
];

const keys = createStoreKeys(benchSubspace).model(placeModelId);
const print = (line = '') => process.stdout.write(`${line}\n`);
const milliseconds = (value: number) => `${value.toFixed(1).padStart(8)} ms`;

/** A node of the migration, told to close or killed in the end. */
class Node {
  readonly child: ChildProcess;
  readonly #reports: TakeoverReport[] = [];
  readonly #listeners = new Set<() => void>();

  constructor(script: string, task: TakeoverTask) {
    // Not with the loader of this process: measured is what users run.
    this.child = fork(script, [JSON.stringify(task)], { execArgv: [] });
    this.child.on('message', (message) => {
      this.#reports.push(message as TakeoverReport);
      for (const look of this.#listeners) look();
    });
  }

  reported<T extends TakeoverReport['type']>(
    type: T,
  ): Promise<Extract<TakeoverReport, { readonly type: T }>> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const failed = this.#reports.find((report) => report.type === 'failed');
        if (failed !== undefined) reject(new Error(failed.message));
        const found = this.#reports.find(
          (report): report is Extract<TakeoverReport, { readonly type: T }> => report.type === type,
        );
        if (found === undefined) return;
        this.#listeners.delete(look);
        resolve(found);
      };
      this.#listeners.add(look);
      look();
    });
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await ended;
  }
}

interface Takeover {
  readonly acquiredAtMs: number;
  readonly movedAtMs: number;
}

/** Resolves with when an epoch above this one was first seen, and when records were first moved under it. */
async function seeTakeover(database: KeyValueDatabase, epoch: number): Promise<Takeover> {
  let acquiredAtMs: number | undefined;
  /** By range: commits that moved its records, before the successor's first. */
  const before = new Map<number, number>();
  const seen = await watchUntil({
    database,
    clock: systemClock,
    keys: [keys.owner, keys.counter('recordsMoved')],
    signal: AbortSignal.timeout(60_000),
    pollMs: 5,
    isAwaited: true,
    look: async (tx) => {
      const [owner, rows] = await Promise.all([
        readOwner(tx, keys),
        readRanges(tx, keys, 'backfill', { snapshot: true }),
      ]);
      const atMs = machineMs();
      const isTaken = owner !== undefined && owner.epoch > epoch && owner.token !== '';
      if (isTaken) acquiredAtMs ??= atMs;
      const isMoved = rows.some((row, n) => {
        const isTheirs = isTaken && row.claim?.session === owner.session;
        if (isTheirs && before.has(n) && row.seq > (before.get(n) ?? 0)) return true;
        if (!isTheirs || !before.has(n)) before.set(n, row.seq);
        return false;
      });
      return isMoved ? atMs : undefined;
    },
  });
  if (seen === undefined || acquiredAtMs === undefined) throw new Error('nobody took over');
  return { acquiredAtMs, movedAtMs: seen };
}

async function readEpoch(database: KeyValueDatabase): Promise<number> {
  const owner = await database.transact((tx) => readOwner(tx, keys));
  return owner?.epoch ?? 0;
}

/** Resolves when the ledger shows that the owner moves records. */
async function moves(database: KeyValueDatabase): Promise<void> {
  const counter = keys.counter('recordsMoved');
  let first: string | undefined;
  await watchUntil({
    database,
    clock: systemClock,
    keys: [counter],
    signal: AbortSignal.timeout(60_000),
    isAwaited: true,
    look: async (tx) => {
      const count = (await tx.get(counter))?.toString('hex') ?? '';
      first ??= count;
      return count === first ? undefined : true;
    },
  });
}

async function run(bench: string, directory: string, { end, isBlind, rounds, ...one }: Series) {
  await once(fork(join(bench, 'child.js'), [fillTask(directory)], { execArgv: [] }), 'exit');
  const database = await openDatabase(`embedded:${directory}`);
  const started: Node[] = [];
  const start = () => {
    const nodeId = `node-${started.length}`;
    const task: TakeoverTask = { directory, nodeId, recordsPerSecond, leaseTimeoutMs, isBlind };
    const node = new Node(join(bench, 'takeover-child.js'), task);
    started.push(node);
    return node;
  };
  const took: { readonly acquired: number; readonly moved: number }[] = [];
  try {
    let owner = start();
    await owner.reported('owning');
    for (let round = 0; round < rounds; round += 1) {
      const successor = start();
      await Promise.all([successor.reported('waiting'), moves(database)]);
      await setTimeout(Math.random() * heartbeatMs);
      const seeing = seeTakeover(database, await readEpoch(database));
      let fromMs = machineMs();
      if (end === 'kill') await owner.kill();
      else {
        owner.child.send('close');
        fromMs = (await owner.reported('closing')).atMs;
      }
      const { acquiredAtMs, movedAtMs } = await seeing;
      took.push({ acquired: acquiredAtMs - fromMs, moved: movedAtMs - fromMs });
      if (end === 'close') await owner.reported('closed');
      owner = successor;
    }
  } finally {
    await Promise.all(started.map((node) => node.kill()));
    await database.close();
    rmSync(directory, { recursive: true, force: true });
  }
  printSeries(took, one);
}

function fillTask(directory: string): string {
  const task: ChildTask = { kind: 'fill', directory, records, sizes: 'small' };
  return JSON.stringify(task);
}

function printSeries(
  took: readonly { readonly acquired: number; readonly moved: number }[],
  { name, target }: Pick<Series, 'name' | 'target'>,
): void {
  const of = (what: 'acquired' | 'moved') => {
    const all = took.map((round) => round[what]);
    return `median ${milliseconds(median(all))}, maximum ${milliseconds(Math.max(...all))}`;
  };
  print(`\n${name}, ${took.length} rounds`);
  print(`  lease acquired     ${of('acquired')}`);
  print(`  first records      ${of('moved')}`);
  if (target === undefined) return;
  const worst = Math.max(...took.map(({ moved }) => moved));
  const isMet = worst <= target.atMost;
  print(
    `  target             at most ${target.text} (${target.atMost} ms): ${isMet ? 'met' : `missed by ${(worst - target.atMost).toFixed(1)} ms`}`,
  );
}

function readOptions() {
  const { values } = parseArgs({ options: { rounds: { type: 'string' }, only: { type: 'string' } } });
  const rounds = Number(values.rounds ?? Number.MAX_SAFE_INTEGER);
  if (!Number.isSafeInteger(rounds) || rounds < 1) throw new Error('--rounds is an integer from 1');
  return { rounds, chosen: series.filter(({ name }) => name.includes(values.only ?? '')) };
}

const { rounds: most, chosen } = readOptions();
const scratch = mkdtempSync(join(tmpdir(), 'godwit-bench-takeover-'));
try {
  print(describeMachine());
  const bench = compile(scratch);
  for (const [at, one] of chosen.entries()) {
    await run(bench, join(scratch, `series-${at}`), { ...one, rounds: Math.min(most, one.rounds) });
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
