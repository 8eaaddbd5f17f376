/** What the processes of `npm run bench:bus` do: migrate once, own a slow migration, or stand by. */
import type { MigrationAuditEvent, StoreOptions } from '../src/index.ts';
import { backfill, FoundationDBDataStore, openDatabase } from '../src/index.ts';
import type { WholeMessageBus } from '../src/nats.ts';
import { natsBus } from '../src/nats.ts';
import { watchChunkCommits } from './chunk-commits.ts';
import { machineMs } from './machine-clock.ts';
import type { Measured } from './measure.ts';
import { measure, watchAnonymousMemory } from './measure.ts';
import { benchSubspace, placeModelId, PlaceV2 } from './models.ts';

export const benchStore = 'bench';

export type BusTask =
  | {
      readonly kind: 'migrate';
      readonly directory: string;
      /** Where its NATS server is; undefined: it has no bus. */
      readonly server: string | undefined;
      /** Whether it waits until it is connected. */
      readonly isThere: boolean;
      /** What it publishes beside the migration, into the same bus. */
      readonly flood: { readonly bytes: number; readonly perSecond: number } | undefined;
    }
  | {
      readonly kind: 'owner' | 'steward';
      readonly directory: string;
      readonly server: string;
      readonly isThere: boolean;
      readonly recordsPerSecond: number;
    };

export interface BusReport {
  readonly workMs: number;
  readonly workCpuMs: number;
  readonly peakRssBytes: number;
  readonly peakAnonymousBytes: number | null;
  /** By the store, and by whoever floods. */
  readonly published: number;
  readonly flooded: number;
  readonly dropped: number;
}

/** Of owner and steward, on the clock of the machine. */
export type LatencyReport =
  | { readonly type: 'open' | 'moving' }
  | { readonly type: 'paused'; readonly atMs: number }
  /** The steward is about to pause the migration. */
  | { readonly type: 'asking'; readonly atMs: number }
  /** When the last chunk was committed. */
  | { readonly type: 'lastCommit'; readonly atMs: number }
  | { readonly type: 'failed'; readonly message: string };

export type LatencyOrder = 'pause' | 'resume' | 'lastCommit' | 'end';

const handler = backfill({ module: new URL('./transform.js', import.meta.url) });
/** How often a flood is topped up, milliseconds. */
const floodMs = 10;

async function connected(bus: WholeMessageBus): Promise<void> {
  if (bus.state.type === 'connected') return;
  await new Promise<void>((resolve) => {
    bus.onState(({ type }) => {
      if (type === 'connected') resolve();
    });
  });
}

function startFlood(bus: WholeMessageBus, flood: { readonly bytes: number; readonly perSecond: number }) {
  const payload = Buffer.alloc(flood.bytes, 'x');
  const beganMs = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    const due = ((performance.now() - beganMs) / 1_000) * flood.perSecond;
    for (; sent < due; sent += 1) bus.publish('godwit.bench.flood', payload);
  }, floodMs);
  return () => {
    clearInterval(timer);
    return sent;
  };
}

async function migrate(task: Extract<BusTask, { kind: 'migrate' }>): Promise<BusReport> {
  const bus = task.server === undefined ? undefined : natsBus({ servers: task.server });
  if (bus !== undefined && task.isThere) await connected(bus);
  let published = 0;
  // The store asks for no more than this, and does not close what it was given.
  const counting: StoreOptions['bus'] = bus && {
    publish(subject: string, payload: Uint8Array) {
      published += 1;
      bus.publish(subject, payload);
    },
    subscribe: bus.subscribe,
    respond: bus.respond,
    serve: bus.serve,
    onState: bus.onState,
    close: () => Promise.resolve(),
  };
  const stopWatching = watchAnonymousMemory();
  const endFlood = bus && task.flood ? startFlood(bus, task.flood) : () => 0;
  let end: (() => Measured) | undefined;
  let took: Measured | undefined;
  const store = await FoundationDBDataStore.open({
    database: `embedded:${task.directory}`,
    subspace: benchSubspace,
    dataModelsById: { [placeModelId]: PlaceV2 },
    migrationHandler: handler,
    ...(counting === undefined ? {} : { bus: counting }),
    storeName: benchStore,
    migrationAuditEventReporter({ type, phase }) {
      if (phase !== 'Backfill') return;
      if (type === 'PhaseStarted') end = measure();
      if (type === 'PhaseCompleted') took = end?.();
    },
  });
  const flooded = endFlood();
  await store.close();
  const dropped = bus?.counts.dropped ?? 0;
  const peakAnonymousBytes = stopWatching();
  const peakRssBytes = process.resourceUsage().maxRSS * 1_024;
  await bus?.close();
  if (took === undefined) throw new Error('the phase was not told of');
  const { ms: workMs, cpuMs: workCpuMs } = took;
  return { workMs, workCpuMs, peakRssBytes, peakAnonymousBytes, published, flooded, dropped };
}

const report = (message: BusReport | LatencyReport) => process.send?.(message);

async function takePart(task: Extract<BusTask, { kind: 'owner' | 'steward' }>): Promise<void> {
  const { directory, server, recordsPerSecond, kind, isThere } = task;
  const database = await openDatabase(`embedded:${directory}`);
  const bus = natsBus({ servers: server });
  if (isThere) await connected(bus);
  let lastCommitMs = 0;
  let isAwaited = true;
  const watched = watchChunkCommits(database, () => {
    lastCommitMs = machineMs();
    if (isAwaited) report({ type: 'moving' });
    isAwaited = false;
  });
  const store = await FoundationDBDataStore.open({
    database: watched,
    subspace: benchSubspace,
    dataModelsById: { [placeModelId]: PlaceV2 },
    migrationHandler: handler,
    bus,
    storeName: benchStore,
    nodeId: kind,
    migrationRole: kind === 'owner' ? 'migrate' : 'wait',
    migrationMaxRecordsPerSecond: recordsPerSecond,
    migrationStartupBudgetMs: 0,
    continueMigrationsInBackground: true,
    migrationAuditEventReporter({ type }: MigrationAuditEvent) {
      if (type === 'Paused') report({ type: 'paused', atMs: machineMs() });
      if (type === 'LeaseAcquired') isAwaited = true;
    },
  });
  process.on('message', (order: LatencyOrder) => {
    switch (order) {
      case 'pause':
        report({ type: 'asking', atMs: machineMs() });
        void store.pauseMigration(placeModelId);
        return;
      case 'resume':
        void store.resumeMigration(placeModelId);
        return;
      case 'lastCommit':
        report({ type: 'lastCommit', atMs: lastCommitMs });
        return;
      case 'end':
        void store.close().then(async () => {
          await bus.close();
          await database.close();
          process.disconnect();
        });
    }
  });
  report({ type: 'open' });
}

async function run(task: BusTask): Promise<void> {
  if (task.kind !== 'migrate') return takePart(task);
  report(await migrate(task));
  process.disconnect();
}

// Nobody is left to tell.
process.on('disconnect', () => process.exit());
run(JSON.parse(process.argv[2] ?? '') as BusTask).catch((error: unknown) => {
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  report({ type: 'failed', message });
});
