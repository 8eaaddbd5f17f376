/** The embedded engine by itself, and one of many processes that commit into its directory. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { open } from 'lmdb';
import type { KeyValueDatabase } from '../src/index.ts';
import { openDatabase } from '../src/index.ts';
import { keyAfter } from '../src/records/keys.ts';
import { openBare } from './bare-lmdb.ts';
import type { Comparison } from './compare.ts';
import { compare } from './compare.ts';
import { machineMs } from './machine-clock.ts';
import { answer, readTask, runChild } from './run-child.ts';

export type EngineTask =
  /** Commits and scans against lmdb, and conflict checks. `directory` is empty. */
  | {
      readonly kind: 'compare';
      readonly directory: string;
      readonly rounds: number;
      readonly commits: number;
      readonly rows: number;
      readonly newer: number;
    }
  /** From a moment on the clock of the machine on, adds one to a counter in each commit, for so long. */
  | {
      readonly kind: 'commit';
      readonly directory: string;
      readonly name: string;
      readonly startAtMs: number;
      readonly ms: number;
      readonly inFlight: number;
    }
  /** Looks at the commit log meanwhile. */
  | { readonly kind: 'look'; readonly directory: string; readonly startAtMs: number; readonly ms: number };

export interface EngineReport {
  readonly commits: readonly Comparison[];
  readonly scans: readonly Comparison[];
  /** By who committed meanwhile: this process, or another one. */
  readonly checks: Readonly<Record<'here' | 'elsewhere', readonly ConflictCheck[]>>;
}

/** What a commit took, milliseconds: with so many newer commits than its read version, and with none. */
export interface ConflictCheck {
  readonly newer: number;
  readonly newerMs: number;
  readonly noneMs: number;
}

export interface CommitReport {
  readonly commits: number;
  /** From the moment that was given to the last commit. */
  readonly ms: number;
  /** Whether it was ready only after that moment. */
  readonly isLate: boolean;
  /** Commits until then, now and again; on the clock of the machine. */
  readonly counts: readonly { readonly atMs: number; readonly commits: number }[];
}

export interface LogLook {
  readonly atMs: number;
  readonly logRows: number;
  readonly fileBytes: number;
}

export interface LookReport {
  readonly looks: readonly LogLook[];
}

const valueBytes = 200;
/** Until a process is there that commits. */
const startUpMs = 700;
const countEveryMs = 50;
const lookEveryMs = 1_000;
const value = Buffer.alloc(valueBytes, 'v');
const keyOf = (n: number) => Buffer.from(`key ${String(n).padStart(9, '0')}`);

/** Runs `work` for 0 to `times`, so many at once. */
async function inTurns(
  times: number,
  inFlight: number,
  work: (n: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < times) await work(next++);
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
}

const set = (database: KeyValueDatabase, key: Buffer) =>
  database.transact((tx) => {
    tx.set(key, value);
    return Promise.resolve();
  });

async function compareAll(task: Extract<EngineTask, { kind: 'compare' }>): Promise<EngineReport> {
  const { directory, rounds, rows, newer } = task;
  const database = await openDatabase(`embedded:${join(directory, 'engine')}`);
  const bare = openBare(join(directory, 'bare'));
  for (let from = 0; from < rows; from += 1_000) {
    await database.transact((tx) => {
      for (let n = from; n < from + 1_000; n += 1) tx.set(keyOf(n), value);
      return Promise.resolve();
    });
    await bare.environment.transaction(() => {
      for (let n = from; n < from + 1_000; n += 1) void bare.data.put(keyOf(n), value);
    });
  }
  const commits: Comparison[] = [];
  for (const inFlight of [1, 64]) {
    const operations = inFlight === 1 ? Math.ceil(task.commits / 10) : task.commits;
    const sides = {
      name: `commits, ${inFlight} in flight`,
      operations,
      ours: () => inTurns(operations, inFlight, (n) => set(database, keyOf(n % rows))),
      bare: () =>
        inTurns(operations, inFlight, (n) =>
          bare.environment.transaction(() => {
            void bare.data.put(keyOf(n % rows), value);
          }),
        ),
    };
    commits.push(await compare(sides, rounds));
  }
  const scans = [await compareScans(database, bare.data, task)];
  const here: ConflictCheck[] = [];
  const elsewhere: ConflictCheck[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const own = async () => {
      await inTurns(newer, 512, (n) => set(database, keyOf(n)));
      return newer;
    };
    here.push(await checkConflicts(database, own));
    const others = async () => {
      const startAtMs = machineMs() + startUpMs;
      const file = fileURLToPath(import.meta.url);
      const path = join(directory, 'engine');
      const order: EngineTask = {
        kind: 'commit',
        directory: path,
        name: `other ${round}`,
        startAtMs,
        ms: 1_500,
        inFlight: 512,
      };
      return (await runChild<CommitReport>(file, order)).commits;
    };
    elsewhere.push(await checkConflicts(database, others));
  }
  await database.close();
  await bare.environment.close();
  return { commits, scans, checks: { here, elsewhere } };
}

/** Rows a transaction, of the engine; lmdb walks all of them at once, which is what its callers would do. */
const pageRows = 5_000;

async function compareScans(
  database: KeyValueDatabase,
  data: ReturnType<typeof openBare>['data'],
  { rows, rounds }: Extract<EngineTask, { kind: 'compare' }>,
): Promise<Comparison> {
  const demand = (n: number, bytes: number) => {
    if (n !== rows || bytes !== rows * (valueBytes + keyOf(0).length))
      throw new Error(`a scan read ${n} rows`);
  };
  const [begin, end] = [keyOf(0), keyOf(rows)];
  return compare(
    {
      name: 'range scan',
      operations: rows,
      async ours() {
        let [n, bytes] = [0, 0];
        for (let from: Buffer = begin; ;) {
          const page = await database.transact((tx) =>
            tx.getRangeAll(from, end, { limit: pageRows, snapshot: true }),
          );
          for (const row of page) bytes += row.key.length + row.value.length;
          n += page.length;
          const last = page.at(-1);
          if (last === undefined || page.length < pageRows) break;
          from = keyAfter(last.key);
        }
        demand(n, bytes);
      },
      bare() {
        let [n, bytes] = [0, 0];
        for (const row of data.getRange({ start: begin, end })) {
          bytes += row.key.length + row.value.length;
          n += 1;
        }
        demand(n, bytes);
      },
    },
    rounds,
  );
}

/** Reads a key that nobody writes, waits until so many others have committed, and commits; then the same alone. */
async function checkConflicts(
  database: KeyValueDatabase,
  commitOthers: () => Promise<number>,
): Promise<ConflictCheck> {
  const begin = async (name: string) => {
    const tx = database.createTransaction();
    await tx.get(Buffer.from(`mine ${name}`));
    tx.set(Buffer.from(`mine ${name} written`), value);
    return tx;
  };
  const commit = async (tx: Awaited<ReturnType<typeof begin>>) => {
    const beganMs = performance.now();
    await tx.commit();
    return performance.now() - beganMs;
  };
  const old = await begin('old');
  const newer = await commitOthers();
  const newerMs = await commit(old);
  const noneMs = await commit(await begin('new'));
  return { newer, newerMs, noneMs };
}
/** @throws Error where the database has not counted as many commits as were acknowledged */
async function commitFor(task: Extract<EngineTask, { kind: 'commit' }>): Promise<CommitReport> {
  const { directory, name, startAtMs, ms, inFlight } = task;
  const database = await openDatabase(`embedded:${directory}`);
  const one = Buffer.alloc(8);
  one.writeBigUInt64LE(1n);
  const counter = Buffer.from(`count ${name}`);
  const counts: { atMs: number; commits: number }[] = [];
  let commits = 0;
  const isLate = machineMs() > startAtMs;
  await setTimeout(Math.max(0, startAtMs - machineMs()));
  const endAtMs = startAtMs + ms;
  const write = async () => {
    while (machineMs() < endAtMs) {
      await database.transact((tx) => {
        tx.set(Buffer.from(`${name} ${commits % 1_000}`), value);
        tx.atomicOp('add', counter, one);
        return Promise.resolve();
      });
      commits += 1;
      const atMs = machineMs();
      if (atMs - (counts.at(-1)?.atMs ?? 0) >= countEveryMs) counts.push({ atMs, commits });
    }
  };
  await Promise.all(Array.from({ length: inFlight }, write));
  const tookMs = machineMs() - startAtMs;
  const counted = await database.transact((tx) => tx.get(counter));
  await database.close();
  if (counted?.readBigUInt64LE() !== BigInt(commits)) throw new Error(`not ${commits} commits were counted`);
  return { commits, ms: tookMs, isLate, counts };
}

/** From outside the engine, which would be one of those that the log is kept for. */
async function lookAtLog({ directory, startAtMs, ms }: Extract<EngineTask, { kind: 'look' }>) {
  await setTimeout(Math.max(0, startAtMs - machineMs()));
  const environment = open({ path: directory, maxDbs: 4, noSubdir: false, readOnly: true });
  const log = environment.openDB({ name: 'log', keyEncoding: 'binary', encoding: 'binary' });
  const looks: LogLook[] = [];
  while (machineMs() < startAtMs + ms) {
    await setTimeout(lookEveryMs);
    environment.resetReadTxn();
    const { entryCount } = log.getStats() as { readonly entryCount: number };
    const fileBytes = statSync(join(directory, 'data.mdb')).size;
    looks.push({ atMs: machineMs(), logRows: entryCount, fileBytes });
  }
  await environment.close();
  return { looks };
}

const task = readTask<EngineTask>();
switch (task.kind) {
  case 'compare':
    answer(await compareAll(task));
    break;
  case 'commit':
    answer(await commitFor(task));
    break;
  case 'look':
    answer(await lookAtLog(task));
}
