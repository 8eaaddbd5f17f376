import type { KeyValueDatabase, Transaction } from '../../src/kv/kv.ts';
import type { MigrationAuditEvent } from '../../src/migration/audit.ts';
import type { MigrationContext } from '../../src/migration/context.ts';
import type { MigrationHandler } from '../../src/migration/handlers.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import type { MigrationState } from '../../src/migration/state.ts';
import { readState } from '../../src/migration/state.ts';
import type { AnyModel } from '../../src/model/define.ts';
import { defineModel, float64, reference, string } from '../../src/model/index.ts';
import type { AnyModels } from '../../src/model/infer.ts';
import { resolveModels } from '../../src/model/resolve.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { ProcessPort } from '../../src/ports/process.ts';
import type { Random } from '../../src/ports/random.ts';
import { systemRandom } from '../../src/ports/random.ts';
import type { ModelKeys, Subspace } from '../../src/records/keys.ts';
import type { StoreOptions } from '../../src/store/options.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { createInlinePool } from './inline-pool.ts';
import { dump, recomputeIndexes } from './recompute-index.ts';
import { createTestDatabase } from './test-database.ts';
import { createVirtualClock } from './virtual-clock.ts';

const id = string({ number: 1, required: true });

/** Coordinates are strings, as in the data that everybody has. */
export const CityV1 = defineModel({
  name: 'City',
  version: '1.0',
  key: ['id'],
  properties: {
    id,
    name: string({ number: 2, required: true }),
    lat: string({ number: 3, required: true }),
    lng: string({ number: 4, required: true }),
  },
  indexes: [{ name: 'byName', on: ['name'] }],
});

/** Coordinates are numbers under other names, and an index over one of them is new. */
export const CityV2 = defineModel({
  name: 'City',
  version: '2.0',
  key: ['id'],
  properties: {
    id,
    name: string({ number: 2, required: true }),
    latitude: float64({ number: 3, required: true, min: -90, max: 90, alternativeNames: ['lat'] }),
    longitude: float64({ number: 4, required: true, min: -180, max: 180, alternativeNames: ['lng'] }),
  },
  indexes: [
    { name: 'byName', on: ['name'] },
    { name: 'byLatitude', on: [{ property: 'latitude', reversed: true }] },
  ],
});

/** What makes a City 2.0 of a City 1.0. */
export const toCityV2 = (city: Readonly<Record<string, unknown>>) => ({
  ...city,
  latitude: Number(city['lat']),
  longitude: Number(city['lng']),
});

/** A City 1.0, made of its number. */
export const cityOf = (n: number) => ({
  id: cityId(n),
  name: `city ${n % 7}`,
  lat: String((n % 180) - 90),
  lng: String((n % 360) - 180),
});

export const cityId = (n: number) => `c${String(n).padStart(5, '0')}`;

/** A model of which only the version and the references matter: another major version is a migration. */
export function thing(
  name: string,
  version: '1.0' | '2.0',
  refersTo: readonly string[] = [],
  { weak = false }: { readonly weak?: boolean } = {},
): AnyModel {
  const references = refersTo.map((to, at) => [`ref${at}`, reference({ number: at + 2, to, weak })] as const);
  return defineModel({ name, version, key: ['id'], properties: { id, ...Object.fromEntries(references) } });
}

/** A handler that does nothing, successfully. */
export const succeed: MigrationHandler = () => Promise.resolve(MigrationOutcome.Success);

/** A handler that gives these answers one after another, then Success. Functions are called, errors thrown. */
export function answers(
  ...given: readonly (MigrationOutcome | Error | ((context: MigrationContext) => unknown))[]
): MigrationHandler & { readonly calls: MigrationContext[] } {
  const calls: MigrationContext[] = [];
  const handler = async (context: MigrationContext): Promise<MigrationOutcome> => {
    const answer = given[calls.length] ?? MigrationOutcome.Success;
    calls.push(context);
    if (answer instanceof Error) throw answer;
    return (typeof answer === 'function' ? await answer(context) : answer) as MigrationOutcome;
  };
  return Object.assign(handler, { calls });
}

/** An error that says of itself that the same may succeed later. */
export const retryableError = (message: string): Error =>
  Object.assign(new Error(message), { retryable: true });

/** Something that a test waits for and somebody else brings about. */
export interface Latch<T = void> {
  readonly opened: Promise<T>;
  open(value: T): void;
}

export function createLatch<T = void>(): Latch<T> {
  let open!: (value: T) => void;
  const opened = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

type Options<M extends AnyModels> = Partial<Omit<StoreOptions<M>, 'database' | 'dataModelsById'>>;
type Store<M extends AnyModels> = FoundationDBDataStore<M>;

/** Some stores on one database and one virtual clock. Time passes only while `settle` waits. */
export interface MigrationRig {
  readonly database: KeyValueDatabase;
  /** Of all stores. */
  readonly subspace: Subspace;
  readonly clock: ReturnType<typeof createVirtualClock>;
  /** Audit events of all stores, in the order in which they were reported. */
  readonly events: MigrationAuditEvent[];
  open<const M extends AnyModels>(models: M, options?: Options<M>): Promise<Store<M>>;
  /**
   * Opens a store whose process dies the moment `dies` says so, which it is asked after each audit event: what is under
   * way then never goes on. Resolves when it is dead.
   */
  openUntil<const M extends AnyModels>(
    models: M,
    options: Options<M>,
    dies: (event: MigrationAuditEvent) => boolean,
  ): Promise<void>;
  /** Opens a store with the models, adds the records, and closes it. */
  seed(model: AnyModel, records: readonly object[]): Promise<void>;
  /** Lets time pass until the promise is settled: as often as nothing else happens, to the next timer. */
  settle<T>(promise: Promise<T>): Promise<T>;
  keysOf(modelId: number): ModelKeys;
  /** What is persisted of a migration. */
  stateOf(modelId: number): Promise<MigrationState | undefined>;
  /** Everything in the database, as text. */
  dump(): Promise<readonly string[]>;
  /** Entries of each index: those that its records demand, and those that are there. */
  indexes(modelId: number, model: AnyModel): ReturnType<typeof recomputeIndexes>;
  close(): Promise<void>;
}

const never = new Promise<never>(() => undefined);

export function createMigrationRig(): MigrationRig {
  const clock = createVirtualClock();
  const { database, subspace, keys, quiet } = createTestDatabase({ clock });
  const events: MigrationAuditEvent[] = [];
  const processes = createProcesses();
  const stores: { close(): Promise<void> }[] = [];

  const settle = async <T>(promise: Promise<T>): Promise<T> => {
    let isSettled = false;
    const end = () => {
      isSettled = true;
    };
    promise.then(end, end);
    for (let idle = 0; !isSettled;) {
      // A macrotask ends every chain of promises that needs no timer.
      await new Promise((resolve) => setImmediate(resolve));
      await Promise.race([quiet(), promise.then(end, end)]);
      if (isSettled) break;
      idle = clock.advanceToNextTimer() ? 0 : idle + 1;
      // Generous: a module that is loaded takes real time.
      if (idle > 1_000_000) throw new Error('nothing is going to happen any more');
    }
    return promise;
  };

  const openOn = async <const M extends AnyModels>(
    on: KeyValueDatabase,
    process: ProcessPort,
    models: M,
    options: Options<M>,
  ): Promise<Store<M>> => {
    const { migrationAuditEventReporter: report } = options;
    return FoundationDBDataStore.openWith<M>(
      {
        subspace,
        pool: createInlinePool(),
        nodeId: 'node',
        ...options,
        migrationAuditEventReporter(event) {
          events.push(event);
          report?.(event);
        },
        database: on,
        dataModelsById: models,
      },
      { clock: clock satisfies Clock, random: systemRandom satisfies Random, process },
    );
  };

  const rig: MigrationRig = {
    database,
    subspace,
    clock,
    events,
    async open(models, options = {}) {
      const store = await settle(openOn(database, processes.start().port, models, options));
      stores.push(store);
      return store;
    },
    async openUntil(models, options, dies) {
      const died = createLatch();
      const process = processes.start();
      const mortal = createMortalDatabase(database);
      const opening = openOn(mortal, process.port, models, {
        ...options,
        migrationAuditEventReporter(event) {
          if (mortal.isDead || !dies(event)) return;
          mortal.die();
          process.die();
          died.open();
        },
      });
      const wasTooLate = opening.then(() => {
        if (!mortal.isDead) throw new Error('the store was opened before its process could die');
        return never;
      });
      await settle(Promise.race([died.opened, wasTooLate]));
    },
    async seed(model, records) {
      const store = await rig.open({ 1: model });
      for (const record of records) await store.model(model).add(record as never);
      await settle(store.close());
      events.length = 0;
    },
    settle,
    keysOf: (modelId) => keys.model(modelId),
    stateOf: (modelId) => database.transact((tx) => readState(tx, keys.model(modelId))),
    dump: () => dump(database, keys.prefix),
    indexes(modelId, model) {
      const { referenceKeys } = resolveModels({ [modelId]: model });
      return recomputeIndexes(database, keys.model(modelId), referenceKeys);
    },
    async close() {
      await settle(Promise.all(stores.map((store) => store.close())));
      await database.close();
    },
  };
  return rig;
}

/** `<phase> <type>` of each event: what a test compares. */
export function typesOf(events: readonly MigrationAuditEvent[]): string[] {
  return events.map(({ phase, type }) => (phase === null ? type : `${phase} ${type}`));
}

export { createInlinePool };

/** Processes of one machine, each of which sees who of the others is dead. */
function createProcesses() {
  const living = new Set<Set<string>>();
  return {
    start() {
      const sessions = new Set<string>();
      living.add(sessions);
      const port: ProcessPort = {
        identity: {
          host: 'host',
          pid: 1,
          bootId: 'boot',
          pidNamespace: 'namespace',
          startTime: '1',
        },
        sessions,
        isCertainlyDead: (_holder, session) => ![...living].some((alive) => alive.has(session)),
      };
      return { port, die: () => living.delete(sessions) };
    },
  };
}

/** A database as a process sees it that dies: nothing that it waits for ever comes. */
function createMortalDatabase(database: KeyValueDatabase): KeyValueDatabase & {
  readonly isDead: boolean;
  die(): void;
} {
  let isDead = false;
  return {
    get isDead() {
      return isDead;
    },
    die() {
      isDead = true;
    },
    engine: database.engine,
    createTransaction: (options) => database.createTransaction(options),
    async transact<T>(body: (tx: Transaction) => Promise<T>, options?: object): Promise<T> {
      if (isDead) return never;
      const result = await database.transact(async (tx) => {
        const found = await body(tx);
        return isDead ? never : found;
      }, options);
      return isDead ? never : result;
    },
    close: () => Promise.resolve(),
  };
}
