/** Fills a directory with notes, or is one of the nodes that open it in version 2.0 and move them together. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { backfill, createWorkerPool, FoundationDBDataStore, openDatabase } from '../src/index.ts';
import { createStoreKeys } from '../src/records/keys.ts';
import type { Sizes } from './cluster-models.ts';
import { createNote, noteModelId, NoteV2 } from './cluster-models.ts';
import type { LedgerCommit } from './ledger-spy.ts';
import { spyOnLedger } from './ledger-spy.ts';
import { fillNotes } from './fill-notes.ts';
import { benchSubspace } from './models.ts';

/** As the one argument of the process. */
export type ClusterTask =
  | { readonly kind: 'fill'; readonly directory: string; readonly records: number; readonly sizes: Sizes }
  | { readonly kind: 'check'; readonly directory: string; readonly records: number }
  | {
      readonly kind: 'node';
      readonly directory: string;
      readonly nodeId: string;
      readonly transform: 'costly' | 'cheap';
      readonly concurrency: number;
    };

export type ClusterReport =
  /** A node opens the store when it is told to go. */
  | { readonly type: 'ready' }
  | { readonly type: 'moved'; readonly commits: readonly LedgerCommit[]; readonly use: CoreUse }
  | { readonly type: 'checked'; readonly chunks: number; readonly conflicts: number };

/** Of all threads of a node, from its start. Milliseconds; nothing where that cannot be told. */
export interface CoreUse {
  readonly ranMs: number;
  /** Ready to run, while others had the cores. */
  readonly waitedMs: number;
}

/** Linux counts for each thread the nanoseconds that it ran, and that it waited to. */
function readCoreUse(): CoreUse {
  const threads = existsSync('/proc/self/task') ? readdirSync('/proc/self/task') : [];
  const use = { ranMs: 0, waitedMs: 0 };
  for (const thread of threads) {
    const [ran, waited] = readFileSync(`/proc/self/task/${thread}/schedstat`, 'utf8').split(' ');
    use.ranMs += Number(ran) / 1e6;
    use.waitedMs += Number(waited) / 1e6;
  }
  return use;
}

const report = (message: ClusterReport) => process.send?.(message);

async function fill(task: Extract<ClusterTask, { readonly kind: 'fill' }>): Promise<void> {
  const { directory, records, sizes } = task;
  await fillNotes(directory, records, (n) => createNote(n, records, sizes));
}

/** @throws Error where a record is missing, or was not moved once */
async function check({
  directory,
  records,
}: Extract<ClusterTask, { readonly kind: 'check' }>): Promise<void> {
  const store = await FoundationDBDataStore.open({
    database: `embedded:${directory}`,
    subspace: benchSubspace,
    dataModelsById: { [noteModelId]: NoteV2 },
  });
  let n = 0;
  for await (const { id, moves } of store.model(NoteV2).scan()) {
    if (id !== BigInt(n) || moves !== 1)
      throw new Error(`note ${id} was moved ${moves} times, expected ${n}`);
    n += 1;
  }
  const { recordsMoved, chunks, conflicts } = await store.migrationMetrics(noteModelId);
  await store.close();
  if (n !== records || recordsMoved !== records) {
    throw new Error(`there are ${n} notes of ${records}, and ${recordsMoved} were moved`);
  }
  report({ type: 'checked', chunks, conflicts });
}

async function move(task: Extract<ClusterTask, { readonly kind: 'node' }>): Promise<void> {
  const { directory, nodeId, transform, concurrency } = task;
  const commits: LedgerCommit[] = [];
  const database = await openDatabase(`embedded:${directory}`);
  const pool = createWorkerPool({ maxThreads: 1 });
  const told = new Promise((resolve) => process.once('message', resolve));
  report({ type: 'ready' });
  await told;
  const before = readCoreUse();
  const store = await FoundationDBDataStore.open({
    database: spyOnLedger(database, createStoreKeys(benchSubspace).model(noteModelId), (commit) =>
      commits.push(commit),
    ),
    subspace: benchSubspace,
    dataModelsById: { [noteModelId]: NoteV2 },
    migrationHandler: backfill({ module: new URL(`./${transform}-transform.js`, import.meta.url) }),
    migrationVerification: 'off',
    migrationAuditEventReporter: () => undefined,
    maxBackfillConcurrency: concurrency,
    pool,
    nodeId,
  });
  const after = readCoreUse();
  await store.close();
  await pool.close();
  await database.close();
  const use = { ranMs: after.ranMs - before.ranMs, waitedMs: after.waitedMs - before.waitedMs };
  report({ type: 'moved', commits, use });
}

const task = JSON.parse(process.argv[2] ?? '') as ClusterTask;
switch (task.kind) {
  case 'fill':
    await fill(task);
    break;
  case 'check':
    await check(task);
    break;
  case 'node':
    await move(task);
}
process.disconnect?.();
