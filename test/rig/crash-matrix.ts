import { isDeepStrictEqual } from 'node:util';
import type { KeyValue, KeyValueDatabase } from '../../src/kv/kv.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationContext } from '../../src/migration/context.ts';
import type { MigrationMetrics } from '../../src/migration/counters.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { migrationPhases } from '../../src/migration/state.ts';
import { defineModel, float64, int32, string } from '../../src/model/index.ts';
import { sleep } from '../../src/ports/clock.ts';
import type { ProcessPort } from '../../src/ports/process.ts';
import { readDefinition } from '../../src/records/definitions.ts';
import { readFence } from '../../src/records/fence.ts';
import { readGarbage } from '../../src/records/garbage.ts';
import { createStoreKeys, rangeOf } from '../../src/records/keys.ts';
import { loadOpened } from '../../src/store/on-demand.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import type { FaultPlan, FaultyDatabase, OperationKind } from './faulty-database.ts';
import { createFaultyDatabase } from './faulty-database.ts';
import { createInlinePool } from './inline-pool.ts';
import { readRows, recomputeIndexes } from './recompute-index.ts';
import { createSeededRandom } from './seed.ts';
import { createTestDatabase, drawSubspace } from './test-database.ts';
import type { VirtualClock } from './virtual-clock.ts';
import { createVirtualClock } from './virtual-clock.ts';

/**
 * One small migration, run by a process that a fault meets at a numbered database operation, and gone on with by the
 * next one. Time and chance are the run's own: operation n is the same in every run, up to the fault.
 */

export const records = 300;
/** Records that the Expand handler takes over ahead of the backfill, and that the Contract handler counts on. */
const byHand = 4;
/** Every tenth record has an entry in the unique index: each costs a read of its own. */
const codeEvery = 10;

const common = {
  id: string({ number: 1, required: true }),
  mark: string({ number: 2, required: true }),
  code: string({ number: 4 }),
  /** Makes the records large enough for several ranges. */
  padding: string({ number: 5, required: true }),
};

const CityV1 = defineModel({
  name: 'City',
  version: '1.0',
  key: ['id'],
  properties: { ...common, lat: string({ number: 3, required: true }) },
  indexes: [
    { name: 'byMark', on: ['mark'] },
    { name: 'byCode', on: ['code'], unique: true },
  ],
});

/** `byMark` is kept and patched, since the type of `mark` stays; the others are filled under ids of their own. */
const CityV2 = defineModel({
  name: 'City',
  version: '2.0',
  key: ['id'],
  properties: {
    ...common,
    latitude: float64({ number: 3, required: true, min: -90, max: 90, alternativeNames: ['lat'] }),
    expanded: int32({ number: 6 }),
    contracted: int32({ number: 7 }),
  },
  indexes: [
    { name: 'byMark', on: ['mark'] },
    { name: 'byLatitude', on: [{ property: 'latitude', reversed: true }] },
    { name: 'byCode', on: ['code'], unique: true },
  ],
});

const cityId = (n: number) => `c${String(n).padStart(3, '0')}`;

const appendMark = (city: Readonly<Record<string, unknown>>) => ({
  ...city,
  mark: `${String(city['mark'])}+`,
  latitude: Number(city['lat']),
});

const withoutLat = (city: object) =>
  Object.fromEntries(Object.entries(city).filter(([name]) => name !== 'lat'));

const padding = 'x'.repeat(1_800);
/** Of all runs, one after another: what is stored names keys by all of their bytes. */
const subspace = drawSubspace();
const storeKeys = createStoreKeys(subspace);
export const keys = storeKeys.model(1);
const heartbeatMs = 2_500;

/** Takes the first records over, and adds one to each in a transaction of its own that advances: exactly once. */
const expand =
  (clock: VirtualClock) =>
  async (context: Context): Promise<MigrationOutcome> => {
    await letTheHeartBeat(clock, context);
    for await (const { record, version, cursor } of context.records({ after: context.cursor })) {
      if (String(record['id']) >= cityId(byHand)) break;
      const city = version === CityV1.version ? withoutLat(appendMark(record)) : record;
      await context.transact(async (tx) => {
        await tx.write({ ...city, expanded: Number(record['expanded'] ?? 0) + 1 });
        tx.advance(cursor, { records: 1 });
      });
    }
    return MigrationOutcome.Success;
  };

/** The same, but looks at what it adds to within the body: a body that ran twice would see what it wrote. */
const contract =
  (clock: VirtualClock) =>
  async (context: Context): Promise<MigrationOutcome> => {
    await letTheHeartBeat(clock, context);
    for (let n = Number(context.cursor ?? 0); n < byHand; n += 1) {
      await context.transact(async (tx) => {
        const city = await context.store.model(CityV2).get(cityId(n));
        await tx.write({ ...city, contracted: (city?.contracted ?? 0) + 1 });
        tx.advance(String(n + 1), { records: 1 });
      });
    }
    return MigrationOutcome.Success;
  };

type Context = MigrationContext<FoundationDBDataStore>;

/** So that it takes part: everything else of a run takes no time. */
async function letTheHeartBeat(clock: VirtualClock, { signal }: Context): Promise<void> {
  await sleep(clock, heartbeatMs + 100, signal);
}

/** What stands in the database before the migration: made once, and copied. */
export async function createStoredCities(): Promise<readonly KeyValue[]> {
  const { database } = createTestDatabase();
  const store = await FoundationDBDataStore.open({ database, subspace, dataModelsById: { 1: CityV1 } });
  await store.transact(async (tx) => {
    for (let n = 0; n < records; n += 1) {
      await tx.model(CityV1).add({
        id: cityId(n),
        mark: '',
        lat: String((n % 180) - 90),
        padding,
        ...(n % codeEvery === 0 ? { code: `code ${n}` } : {}),
      });
    }
  });
  await store.close();
  const rows = await readRows(database, rangeOf(storeKeys.prefix));
  await database.close();
  return rows;
}

type Store = FoundationDBDataStore<{ 1: typeof CityV2 }>;

/** What a run left behind: everything that must be the same whatever happened in between. */
export interface RunResult {
  /** What the first process did with its database, up to its death or its end. */
  readonly operations: readonly OperationKind[];
  /** Faults that came about. */
  readonly strikes: number;
  /** Processes that died. */
  readonly deaths: number;
  readonly metrics: MigrationMetrics;
  /** What is not as it should be, in words; empty when all is well. */
  readonly problems: readonly string[];
}

export interface RunOptions {
  /** What happens to each process, one after another; nothing to those that follow. */
  readonly plans?: readonly FaultPlan[];
  /** Aborted: the first process is to close, and the next one goes on. */
  readonly stop?: AbortSignal;
  /** Puts something between the stores and their faulty database: a mistake that the matrix has to find. */
  readonly sabotage?: (database: KeyValueDatabase) => KeyValueDatabase;
}

/**
 * Runs one process after another until one lives to the end.
 *
 * @throws whatever a process ends with, when it did not die and was not told to close
 */
export async function runMigration(
  stored: readonly KeyValue[],
  { plans = [], stop, sabotage = (database) => database }: RunOptions = {},
): Promise<RunResult> {
  // Files take real time, in which the virtual one would run on.
  await loadOpened();
  const clock = createVirtualClock();
  const random = createSeededRandom(1);
  const { database, quiet } = createTestDatabase({ clock, random });
  await database.transact((tx) => {
    const { begin, end } = rangeOf(storeKeys.prefix);
    tx.clearRange(begin, end);
    for (const { key, value } of stored) tx.set(key, value);
    return Promise.resolve();
  });
  const living = new Set<ReadonlySet<string>>();

  const start = async (faulty: FaultyDatabase, signal: AbortSignal): Promise<Store> => {
    const sessions = new Set<string>();
    const process: ProcessPort = {
      identity: { host: 'host', pid: 1, bootId: 'boot', pidNamespace: 'pids', startTime: '1' },
      sessions,
      isCertainlyDead: (_, session) => ![...living].some((alive) => alive.has(session)),
    };
    living.add(sessions);
    faulty.death.addEventListener('abort', () => living.delete(sessions));
    return FoundationDBDataStore.openWith(
      {
        database: sabotage(faulty),
        subspace,
        dataModelsById: { 1: CityV2 },
        migrationExpandHandler: expand(clock),
        migrationHandler: { City: backfill({ transform: appendMark }) },
        migrationContractHandler: contract(clock),
        migrationLeaseHeartbeatMs: heartbeatMs,
        persistMigrationAuditEvents: true,
        migrationAuditEventReporter: () => undefined,
        pool: createInlinePool(),
        nodeId: 'node',
        signal,
      },
      { clock, random, process },
    );
  };
  /** From opening to the moment when nothing is left to do; `undefined` when it ended on the way. */
  const live = async (faulty: FaultyDatabase, ending: AbortSignal) => {
    try {
      const store = await start(faulty, ending);
      const isSwept = () => database.transact(async (tx) => (await readGarbage(tx, keys)).length === 0);
      while (!ending.aborted && !(await isSwept())) await sleep(clock, 1_000);
      if (!ending.aborted) return store;
      await store.close();
    } catch (error) {
      if (!ending.aborted) throw error;
    }
    return undefined;
  };

  try {
    const processes: FaultyDatabase[] = [];
    let operations: readonly OperationKind[] = [];
    let store: Store | undefined;
    for (let number = 0; store === undefined; number += 1) {
      const process = createFaultyDatabase(database, plans[number]);
      processes.push(process);
      const ending = number === 0 && stop !== undefined ? [process.death, stop] : [process.death];
      store = await settle({ clock, quiet }, live(process, AbortSignal.any(ending)));
      // What a survivor is asked about below is not part of the run.
      process.spare();
      if (number === 0) operations = [...process.operations];
      if (number > plans.length + 1) throw new Error('processes end of nothing');
    }
    const { metrics, problems } = await settle({ clock, quiet }, inspect(database, store));
    await settle({ clock, quiet }, store.close());
    await database.close();
    const left = clock.pendingTimers === 0 ? [] : [`${clock.pendingTimers} timers are left`];
    return {
      operations,
      strikes: processes.reduce((sum, { strikes }) => sum + strikes, 0),
      deaths: processes.filter(({ death }) => death.aborted).length,
      metrics,
      problems: [...problems, ...left],
    };
  } finally {
    await database.close();
  }
}

/** Virtual time in which everything ends: a run takes seconds. */
const patienceMs = 600_000;

/** Lets time pass, to the next timer whenever nothing else happens, until the promise is settled. */
async function settle<T>(
  { clock, quiet }: { readonly clock: VirtualClock; readonly quiet: () => Promise<void> },
  promise: Promise<T>,
): Promise<T> {
  let isSettled = false;
  const end = () => {
    isSettled = true;
  };
  promise.then(end, end);
  const untilMs = clock.monotonicMs() + patienceMs;
  for (;;) {
    // A macrotask ends every chain of promises that needs no timer.
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.race([quiet(), promise.then(end, end)]);
    if (isSettled) return promise;
    if (!clock.advanceToNextTimer() || clock.monotonicMs() > untilMs) throw new Error('it never ends');
  }
}

async function inspect(
  database: KeyValueDatabase,
  store: Store,
): Promise<Pick<RunResult, 'metrics' | 'problems'>> {
  const problems: string[] = [];
  const expect = (what: string, actual: unknown, expected: unknown) => {
    if (isDeepStrictEqual(actual, expected)) return;
    problems.push(`${what}: ${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`);
  };

  const { state, blocking } = await store.migrationStatus(1);
  expect('status', { state, blocking }, { state: 'Idle', blocking: false });
  expect('pending', (await store.pendingMigrations()).size, 0);
  expect('readiness', store.readiness().ready, true);

  await inspectRecords(store, expect);
  for (const { name, state: indexState, expected, actual } of await recomputeIndexes(database, keys)) {
    expect(`index ${name}`, indexState, 'ready');
    // Too long to be printed.
    expect(`entries of ${name} are right`, isDeepStrictEqual(actual, expected), true);
  }

  const metrics = await store.migrationMetrics(1);
  const { started, completed, failed, retries, partials, paused, resumed, canceled, recordsMoved } = metrics;
  expect(
    'metrics',
    { started, completed, failed, retries, partials, paused, resumed, canceled, recordsMoved },
    {
      started: 1,
      completed: 1,
      failed: 0,
      retries: 0,
      partials: 0,
      paused: 0,
      resumed: 0,
      canceled: 0,
      recordsMoved: records,
    },
  );
  await inspectRows(database, expect);
  await inspectAudit(store, metrics, expect);
  return { metrics, problems };
}

type Expect = (what: string, actual: unknown, expected: unknown) => void;

async function inspectRecords(store: Store, expect: Expect): Promise<void> {
  let n = 0;
  for await (const city of store.model(CityV2).scan()) {
    const isPadded = city.padding === padding;
    expect(
      `record ${n}`,
      { ...city, padding: isPadded },
      {
        id: cityId(n),
        mark: '+',
        latitude: (n % 180) - 90,
        padding: true,
        ...(n % codeEvery === 0 ? { code: `code ${n}` } : {}),
        ...(n < byHand ? { expanded: 1, contracted: 1 } : {}),
      },
    );
    n += 1;
  }
  expect('records', n, records);
}

async function inspectRows(database: KeyValueDatabase, expect: Expect): Promise<void> {
  await database.transact(async (tx) => {
    const fence = await readFence(tx, keys);
    const definition = await readDefinition(tx, keys, fence?.schemaId ?? 0);
    expect(
      'publication',
      [fence?.state, fence?.target, fence?.lineage, definition?.version, definition?.published],
      ['ready', null, 2, CityV2.version, true],
    );
    const { begin, end } = rangeOf(keys.ranges());
    expect('ranges left', (await tx.getRangeAll(begin, end)).length, 0);
    for (const name of ['state', 'intent', 'touched', 'garbage'] as const) {
      expect(`${name} left`, (await tx.get(keys[name])) === undefined, true);
    }
    // What was dropped is swept: entries lie under the ids of the published definition alone.
    const ids = new Set(definition?.indexes.map(({ indexId }) => indexId));
    for (let indexId = 1; indexId < (fence?.nextIndexId ?? 0); indexId += 1) {
      if (ids.has(indexId)) continue;
      const entries = rangeOf(keys.index(indexId));
      expect(
        `entries of dropped index ${indexId}`,
        (await tx.getRangeAll(entries.begin, entries.end)).length,
        0,
      );
    }
  });
}

/** One story: leases, the phases in their order, each started and then completed once, and the end once. */
async function inspectAudit(store: Store, { takeovers }: MigrationMetrics, expect: Expect): Promise<void> {
  const events = await store.migrationAuditEvents(1, 1_000);
  const story = events.map(({ type, phase }) => (phase === null ? type : `${phase} ${type}`));
  const leases = events.filter(({ type }) => type === 'LeaseAcquired');
  expect(
    'epochs',
    leases.map(({ epoch }) => epoch),
    leases.map((_, at) => at + 1),
  );
  expect('takeovers', leases.filter(({ message }) => message === 'taken over').length, takeovers);
  expect('begins with', story[0], 'LeaseAcquired');
  // A phase that a crash or a takeover met is started again, never completed again.
  const told = story.filter((event, at) => event !== 'LeaseAcquired' && !isRepeatedStart(story, event, at));
  expect('audit', told, [
    ...migrationPhases.flatMap((phase) => [`${phase} PhaseStarted`, `${phase} PhaseCompleted`]),
    'Contract Completed',
  ]);
  const epochs = events.map(({ epoch }) => epoch);
  expect(
    'epochs grow',
    epochs,
    epochs.toSorted((left, right) => left - right),
  );
}

function isRepeatedStart(story: readonly string[], event: string, at: number): boolean {
  if (!event.endsWith('PhaseStarted')) return false;
  const since = story.slice(0, at).filter((earlier) => earlier !== 'LeaseAcquired');
  return since.at(-1) === event;
}
