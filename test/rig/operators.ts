import { expect, vi } from 'vitest';
import type { KeyValueDatabase, TransactOptions } from '../../src/kv/kv.ts';
import type { MigrationAuditEvent } from '../../src/migration/audit.ts';
import type { MigrationContext } from '../../src/migration/context.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import type { LedgerTotals } from '../../src/migration/passes/ledger.ts';
import { readRanges, totalsOf } from '../../src/migration/passes/ledger.ts';
import type { MigrationStatus } from '../../src/migration/status.ts';
import type { AnyModels } from '../../src/model/infer.ts';
import { systemClock } from '../../src/ports/clock.ts';
import { systemProcess } from '../../src/ports/process.ts';
import { systemRandom } from '../../src/ports/random.ts';
import type { ModelKeys, PassName, StoreKeys, Subspace } from '../../src/records/keys.ts';
import type { Ports } from '../../src/store/core.ts';
import type { StoreOptions } from '../../src/store/options.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { latitudeOf, townId, TownV1 } from './operators-models.ts';
import { recomputeIndexes } from './recompute-index.ts';
import { createTestDatabase } from './test-database.ts';

export * from './operators-models.ts';

/** Holds whoever comes to it while it is shut. */
export interface Barrier {
  shut(): void;
  open(): void;
  pass(): Promise<void>;
  /** How many wait now. */
  readonly waiting: number;
}

export function createBarrier(): Barrier {
  let release: (() => void) | undefined;
  let opened: Promise<void> | undefined;
  let waiting = 0;
  return {
    shut() {
      opened ??= new Promise((resolve) => {
        release = resolve;
      });
    },
    open() {
      release?.();
      opened = undefined;
    },
    async pass() {
      if (opened === undefined) return;
      waiting += 1;
      await opened;
      waiting -= 1;
    },
    get waiting() {
      return waiting;
    },
  };
}

/** A handler that waits at a barrier, in every call. */
export function heldHandler(barrier: Barrier, outcome: MigrationOutcome = MigrationOutcome.Success) {
  return async (_context: MigrationContext) => {
    await barrier.pass();
    return outcome;
  };
}

/** The commit of a chunk is the one transaction that has this much time. */
const isChunkCommit = (options: TransactOptions | undefined) =>
  options?.priority === 'batch' && options.timeoutMs === 4_000;

export interface World {
  /** Under the stores of this world; none of them closes it. */
  readonly database: KeyValueDatabase;
  /** Of all stores. */
  readonly subspace: Subspace;
  readonly storeKeys: StoreKeys;
  /** Of model 1. */
  readonly keys: ModelKeys;
  /** Called before each chunk is committed, with its number from 0, and waited for. */
  beforeChunk: (chunk: number) => Promise<void> | void;
  /** Called before each transaction of a store, a chunk's too, and waited for. */
  beforeTransaction: () => Promise<void> | void;
  /** Transactions that the stores have begun. */
  readonly transactions: number;
  /** Everything that the audit reporters of all stores were given, in order. */
  readonly audit: MigrationAuditEvent[];
  /** A store on this database; closed with the world. Defaults: one subspace, and audit events that are collected. */
  open<const M extends AnyModels>(
    options: Partial<StoreOptions<M>> & { readonly dataModelsById: M },
    ports?: Partial<Ports>,
  ): Promise<FoundationDBDataStore<M>>;
  /** Adds towns of version 1.0, from 0. */
  fill(towns: number): Promise<void>;
  totals(pass?: PassName): Promise<LedgerTotals>;
  close(): Promise<void>;
}

export function createWorld(): World {
  const { database, subspace, keys: storeKeys } = createTestDatabase();
  const keys = storeKeys.model(1);
  const stores: FoundationDBDataStore[] = [];
  const audit: MigrationAuditEvent[] = [];
  let chunks = 0;
  let transactions = 0;
  const watched: KeyValueDatabase = {
    engine: database.engine,
    createTransaction: (options) => database.createTransaction(options),
    async transact(body, options) {
      transactions += 1;
      await world.beforeTransaction();
      if (isChunkCommit(options)) await world.beforeChunk(chunks++);
      return database.transact(body, options);
    },
    close: () => Promise.resolve(),
  };
  const world: World = {
    database,
    subspace,
    storeKeys,
    keys,
    beforeChunk: () => undefined,
    beforeTransaction: () => undefined,
    get transactions() {
      return transactions;
    },
    audit,
    async open(options, ports) {
      const given = {
        database: watched,
        subspace,
        migrationAuditEventReporter: (event: MigrationAuditEvent) => void audit.push(event),
        ...options,
      } as StoreOptions<typeof options.dataModelsById>;
      const store = await FoundationDBDataStore.openWith(given, {
        clock: systemClock,
        random: systemRandom,
        process: systemProcess,
        ...ports,
      });
      stores.push(store);
      return store;
    },
    async fill(towns) {
      const store = await world.open({ dataModelsById: { 1: TownV1 } });
      const batch = 500;
      for (let from = 0; from < towns; from += batch) {
        await store.transact(async (tx) => {
          for (let n = from; n < Math.min(towns, from + batch); n += 1) {
            await tx.model(TownV1).add({ id: townId(n), lat: String(latitudeOf(n)) });
          }
        });
      }
      await store.close();
    },
    totals: (pass = 'backfill') =>
      database.transact(async (tx) => totalsOf(await readRanges(tx, keys, pass, { snapshot: true }))),
    async close() {
      await Promise.all(stores.map((store) => store.close()));
      await database.close();
    },
  };
  return world;
}

/** Where nothing announces what is waited for. The bound is only there so that a failure names itself. */
export function waitUntil(sentence: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  return vi.waitFor(
    async () => {
      if (!(await condition())) throw new Error(`it never came about that ${sentence}`);
    },
    { timeout: 20_000, interval: 5 },
  );
}

const wishedStates: ReadonlySet<MigrationStatus['state']> = new Set(['Paused', 'Canceled']);

/** An operator's wish is acknowledged first, and the lease released in the next transaction: that is waited for too. */
export function waitForStatus(
  store: Pick<FoundationDBDataStore, 'migrationStatus'>,
  state: MigrationStatus['state'],
  modelId = 1,
): Promise<void> {
  return waitUntil(`model ${modelId} is ${state}`, async () => {
    const { state: found, owner } = await store.migrationStatus(modelId);
    return found === state && (!wishedStates.has(state) || owner === null);
  });
}

/** The code of what a promise rejects with. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  return (await errorFrom(promise)).code;
}

export async function errorFrom(
  promise: Promise<unknown>,
): Promise<Error & { readonly code: string; readonly details: Readonly<Record<string, unknown>> }> {
  const outcome = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(outcome instanceof Error)) throw new Error('it was to be refused, and was not');
  return outcome as Error & { code: string; details: Record<string, unknown> };
}

/** Each index entry that the records demand is there, and no other. */
export async function expectIndexesToBeRight({ database, keys }: Pick<World, 'database' | 'keys'>) {
  for (const { name, state, expected, actual } of await recomputeIndexes(database, keys)) {
    expect({ name, state, entries: actual }).toEqual({ name, state: 'ready', entries: expected });
  }
}

/** All towns as records, in key order, through a store that serves them. */
export async function townsOf<M>(scan: AsyncIterable<M>): Promise<M[]> {
  const towns: M[] = [];
  for await (const town of scan) towns.push(town);
  return towns;
}
