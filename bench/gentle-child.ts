/** Migrates places while somebody asks for guests, a second model of the same store; or is paused again and again. */
import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { MigrationAuditEvent } from '../src/index.ts';
import { backfill, FoundationDBDataStore, MigrationOutcome, openDatabase } from '../src/index.ts';
import { defineModel, int64, string } from '../src/model/index.ts';
import { watchChunkCommits } from './chunk-commits.ts';
import { benchSubspace, placeModelId, PlaceV1, PlaceV2 } from './models.ts';
import { answer, readTask } from './run-child.ts';

/** Whether requests come, and from where. */
export type Requests = 'none' | 'same process' | 'another process';

export type GentleTask =
  | {
      readonly kind: 'migrate';
      readonly directory: string;
      readonly requests: Requests;
      readonly perSecond: number;
      /** How long they are measured before the migration begins. */
      readonly idleMs: number;
    }
  | { readonly kind: 'guests'; readonly directory: string; readonly perSecond: number }
  | { readonly kind: 'pauses'; readonly directory: string; readonly most: number };

export interface GentleReport {
  /** Of each request, milliseconds. */
  readonly idle: readonly number[];
  readonly busy: readonly number[];
  /** Of the backfill. */
  readonly workMs: number;
}

/** From the call of `pauseMigration` to the last commit of a chunk, milliseconds; 0 where there was none behind it. */
export interface PausesReport {
  readonly commitMs: readonly number[];
}

const Guest = defineModel({
  name: 'Guest',
  version: '1.0',
  key: ['id'],
  properties: { id: int64({ number: 1, required: true }), name: string({ number: 2, required: true }) },
});
const guestModelId = 2;
const guests = 1_000;
/** Of ten requests. */
const gets = 8;
const createGuest = (n: number) => ({ id: BigInt(n), name: `Guest number ${n}` });
const handler = backfill({ module: new URL('./transform.js', import.meta.url) });

interface Requester {
  /** Begins to ask; the answer ends it, and answers how long each request took. */
  start(): () => Promise<readonly number[]>;
}

interface Guests {
  get(id: bigint): Promise<object | undefined>;
  put(guest: { readonly id: bigint; readonly name: string }): Promise<unknown>;
}

/**
 * Requests are due at a fixed rate, whether or not the ones before were answered, and each is measured from the moment it
 * was due: where a thread is blocked, those who wait for it are counted.
 */
function createRequester(store: Guests, perSecond: number): Requester {
  return {
    start() {
      const took: number[] = [];
      const pending = new Set<Promise<void>>();
      const everyMs = 1_000 / perSecond;
      const beganMs = performance.now();
      let next = 0;
      const ask = async (n: number, dueMs: number) => {
        const id = (n * 7_919) % guests;
        if (n % 10 < gets) {
          if ((await store.get(BigInt(id))) === undefined) throw new Error(`guest ${id} is not there`);
        } else await store.put(createGuest(id));
        took.push(performance.now() - dueMs);
      };
      const timer = setInterval(() => {
        for (; beganMs + next * everyMs <= performance.now(); next += 1) {
          const request = ask(next, beganMs + next * everyMs);
          pending.add(request);
          void request.finally(() => pending.delete(request));
        }
      }, 1);
      return async () => {
        clearInterval(timer);
        await Promise.all(pending);
        return took;
      };
    },
  };
}

async function migrate(task: Extract<GentleTask, { kind: 'migrate' }>): Promise<GentleReport> {
  const { directory, requests, perSecond, idleMs } = task;
  const place = { database: `embedded:${directory}`, subspace: benchSubspace };
  let idle: readonly number[] = [];
  const before = await FoundationDBDataStore.open({
    ...place,
    dataModelsById: { [placeModelId]: PlaceV1, [guestModelId]: Guest },
  });
  await before.transact(async (tx) => {
    for (let n = 0; n < guests; n += 1) await tx.model(Guest).add(createGuest(n));
  });
  const other = requests === 'another process' ? await startGuests({ ...task, kind: 'guests' }) : undefined;
  if (requests !== 'none') {
    const requester = other?.requester ?? createRequester(before.model(Guest), perSecond);
    const stop = requester.start();
    await setTimeout(idleMs);
    idle = await stop();
  }
  await before.close();

  let workMs = Number.NaN;
  let beganMs = 0;
  let stop: (() => Promise<readonly number[]>) | undefined;
  let busy: Promise<readonly number[]> | undefined;
  // The backfill waits in front of its own phase until the store is there to be asked.
  let begin: () => void = () => undefined;
  const isOpen = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const store = await FoundationDBDataStore.open({
    ...place,
    dataModelsById: { [placeModelId]: PlaceV2, [guestModelId]: Guest },
    migrationHandler: handler,
    migrationExpandHandler: {
      async Place() {
        await isOpen;
        return MigrationOutcome.Success;
      },
    },
    migrationStartupBudgetMs: 0,
    continueMigrationsInBackground: true,
    migrationAuditEventReporter({ type, phase }) {
      if (phase !== 'Backfill') return;
      if (type === 'PhaseStarted') {
        beganMs = performance.now();
        stop = requester?.start();
      }
      if (type === 'PhaseCompleted') {
        workMs = performance.now() - beganMs;
        busy = stop?.();
      }
    },
  });
  const requester =
    requests === 'none' ? undefined : (other?.requester ?? createRequester(store.model(Guest), perSecond));
  begin();
  await store.awaitMigration(placeModelId);
  const report = { idle, busy: (await busy) ?? [], workMs };
  await other?.end();
  await store.close();
  return report;
}

/** What the process of the guests says and is told. */
type GuestsMessage = 'open' | 'start' | 'stop' | readonly number[];

async function startGuests(task: Extract<GentleTask, { kind: 'guests' }>) {
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), [JSON.stringify(task)], { execArgv: [] });
  const said = async () => (await once(child, 'message'))[0] as GuestsMessage;
  await said();
  const requester: Requester = {
    start() {
      child.send('start');
      return async () => {
        const answered = said();
        child.send('stop');
        return (await answered) as readonly number[];
      };
    },
  };
  const end = async () => {
    const gone = once(child, 'exit');
    child.disconnect();
    await gone;
  };
  return { requester, end };
}

/** A node that knows the guests alone. */
async function serveGuests({ directory, perSecond }: Extract<GentleTask, { kind: 'guests' }>): Promise<void> {
  const store = await FoundationDBDataStore.open({
    database: `embedded:${directory}`,
    subspace: benchSubspace,
    dataModelsById: { [guestModelId]: Guest },
  });
  const requester = createRequester(store.model(Guest), perSecond);
  let stop: ReturnType<Requester['start']> | undefined;
  process.on('message', (message: GuestsMessage) => {
    if (message === 'start') stop = requester.start();
    else void stop?.().then((took) => process.send?.(took));
  });
  process.send?.('open');
  await once(process, 'disconnect');
  await store.close();
}

/** Until it is asked again, at most, milliseconds. */
const runMs = 100;
/** What was committed before a pause may be told behind it. */
const settleMs = 50;

async function pauses({ directory, most }: Extract<GentleTask, { kind: 'pauses' }>): Promise<PausesReport> {
  const commitMs: number[] = [];
  let lastCommitMs = 0;
  let tell: (what: 'moving' | 'paused' | 'over') => void = () => undefined;
  const database = await openDatabase(`embedded:${directory}`);
  const store = await FoundationDBDataStore.open({
    database: watchChunkCommits(database, () => {
      lastCommitMs = performance.now();
      tell('moving');
    }),
    subspace: benchSubspace,
    dataModelsById: { [placeModelId]: PlaceV2 },
    migrationHandler: handler,
    migrationVerification: 'off',
    migrationStartupBudgetMs: 0,
    continueMigrationsInBackground: true,
    migrationAuditEventReporter({ type }: MigrationAuditEvent) {
      if (type === 'Paused') tell('paused');
      if (type === 'Completed') tell('over');
    },
  });
  const until = (wanted: 'moving' | 'paused') =>
    new Promise<boolean>((resolve) => {
      tell = (what) => {
        if (what === wanted || what === 'over') resolve(what === wanted);
      };
    });
  let isMoving = await until('moving');
  while (isMoving && commitMs.length < most) {
    await setTimeout(Math.random() * runMs);
    const paused = until('paused');
    const fromMs = performance.now();
    try {
      await store.pauseMigration(placeModelId);
    } catch (error) {
      // It was over before.
      if (isNotPending(error)) break;
      throw error;
    }
    if (!(await paused)) break;
    await setTimeout(settleMs);
    commitMs.push(Math.max(0, lastCommitMs - fromMs));
    const moving = until('moving');
    await store.resumeMigration(placeModelId);
    isMoving = await moving;
  }
  await store.close();
  await database.close();
  return { commitMs };
}

const isNotPending = (error: unknown) =>
  (error as { readonly code?: string } | null)?.code === 'MIGRATION_NOT_PENDING';

const task = readTask<GentleTask>();
switch (task.kind) {
  case 'migrate':
    answer(await migrate(task));
    break;
  case 'guests':
    await serveGuests(task);
    break;
  case 'pauses':
    answer(await pauses(task));
}
