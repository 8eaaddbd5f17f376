import type { KeyValueDatabase, KeyValueTransaction } from '../../src/kv/kv.ts';
import type { MigrationAuditEvent } from '../../src/migration/audit.ts';
import type { AnyModels } from '../../src/model/infer.ts';
import { systemClock } from '../../src/ports/clock.ts';
import { systemProcess } from '../../src/ports/process.ts';
import { systemRandom } from '../../src/ports/random.ts';
import type { ModelKeys, StoreKeys, Subspace } from '../../src/records/keys.ts';
import type { Ports } from '../../src/store/core.ts';
import type { StoreOptions } from '../../src/store/options.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { overriding, withTransactions } from './overriding.ts';
import { CityV1, cityOf, createInlinePool, createLatch } from './migration.ts';
import { createTestDatabase } from './test-database.ts';

/** A transaction of a store that is about to commit, or has. */
export interface ObservedCommit {
  /** Of the store, by the order of opening, from 0. */
  readonly store: number;
  readonly attempt: number;
  sets(key: Uint8Array): boolean;
  clears(key: Uint8Array): boolean;
  setsUnder(prefix: Uint8Array): boolean;
}

export type CommitObserver = (commit: ObservedCommit) => Promise<void> | void;

type Options<M extends AnyModels> = Partial<StoreOptions<M>> & { readonly dataModelsById: M };

/** Stores of one process on one database, every commit of which can be looked at, held, and raced. */
export interface TrapRig {
  readonly database: KeyValueDatabase;
  readonly subspace: Subspace;
  readonly storeKeys: StoreKeys;
  /** Of model 1. */
  readonly keys: ModelKeys;
  readonly events: MigrationAuditEvent[];
  /** Awaited before a commit that writes something is sent. What it throws is what the transaction fails with. */
  beforeCommit: CommitObserver | undefined;
  /** Awaited before whoever asked for the commit hears of it: a crash would leave the database as it is then. */
  afterCommit: CommitObserver | undefined;
  open<const M extends AnyModels>(
    options: Options<M>,
    ports?: Partial<Ports>,
  ): Promise<FoundationDBDataStore<M>>;
  /** Cities of version 1.0, from 0. */
  fill(cities: number): Promise<void>;
  /** Opens a store, and closes it when the first chunk of its migration is committed and no other is. */
  stopHalfWay(options: Options<AnyModels>): Promise<void>;
  close(): Promise<void>;
}

/** `open` returns at once, and migrations go on. */
export const inBackground = { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true } as const;

/** Retries without delay: full jitter draws 0. */
const impatient = { ...systemRandom, fraction: () => 0 };

export function createTrapRig(): TrapRig {
  const { database, subspace, keys: storeKeys } = createTestDatabase();
  const stores: { close(): Promise<void> }[] = [];
  const events: MigrationAuditEvent[] = [];
  let opened = 0;
  const rig: TrapRig = {
    database,
    subspace,
    storeKeys,
    keys: storeKeys.model(1),
    events,
    beforeCommit: undefined,
    afterCommit: undefined,
    async open(options, ports) {
      const { migrationAuditEventReporter: report } = options;
      const given = {
        subspace,
        pool: createInlinePool(),
        nodeId: `node-${opened}`,
        ...options,
        database: observe(database, opened++, rig),
        migrationAuditEventReporter(event: MigrationAuditEvent) {
          events.push(event);
          report?.(event);
        },
      } as StoreOptions<typeof options.dataModelsById>;
      const store = await FoundationDBDataStore.openWith(given, {
        clock: systemClock,
        random: impatient,
        process: systemProcess,
        ...ports,
      });
      stores.push(store);
      return store;
    },
    async fill(cities) {
      const store = await rig.open({ dataModelsById: { 1: CityV1 } });
      await store.transact(async (tx) => {
        for (let n = 0; n < cities; n += 1) await tx.model(CityV1).add(cityOf(n));
      });
      await store.close();
    },
    async stopHalfWay(options) {
      const [halfWay, closing] = [createLatch(), createLatch()];
      rig.afterCommit = async (commit) => {
        if (!commit.sets(rig.keys.touched)) return;
        halfWay.open();
        await closing.opened;
      };
      const store = await rig.open({ ...options, ...inBackground });
      await halfWay.opened;
      const closed = store.close();
      closing.open();
      await closed;
      rig.afterCommit = undefined;
    },
    async close() {
      rig.beforeCommit = undefined;
      rig.afterCommit = undefined;
      await Promise.all(stores.map((store) => store.close()));
      await database.close();
    },
  };
  return rig;
}

function observe(
  database: KeyValueDatabase,
  store: number,
  rig: Pick<TrapRig, 'beforeCommit' | 'afterCommit'>,
): KeyValueDatabase {
  return withTransactions(database, (tx) => {
    const set = new Set<string>();
    const cleared = new Set<string>();
    const commit: ObservedCommit = {
      store,
      get attempt() {
        return tx.attempt;
      },
      sets: (key) => set.has(textOf(key)),
      clears: (key) => cleared.has(textOf(key)),
      setsUnder: (prefix) => [...set].some((key) => key.startsWith(textOf(prefix))),
    };
    const observed: Pick<KeyValueTransaction, 'set' | 'clear' | 'commit' | 'onError'> = {
      set(key, value) {
        set.add(textOf(key));
        cleared.delete(textOf(key));
        tx.set(key, value);
      },
      clear(key) {
        cleared.add(textOf(key));
        set.delete(textOf(key));
        tx.clear(key);
      },
      async commit() {
        const isWriting = set.size > 0 || cleared.size > 0;
        if (isWriting) await rig.beforeCommit?.(commit);
        await tx.commit();
        if (isWriting) await rig.afterCommit?.(commit);
      },
      async onError(error) {
        set.clear();
        cleared.clear();
        await tx.onError(error);
      },
    };
    return overriding(tx, observed);
  });
}

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

/** Lets whatever needs no timer and no I/O happen: a hundred ends of chains of promises. */
export async function letThingsHappen(): Promise<void> {
  for (let turn = 0; turn < 100; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** `'done'`, or the code of what a promise rejects with: something to compare, however it ends. */
export function outcomeOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'done',
    (error: unknown) => (error as { readonly code?: unknown }).code ?? error,
  );
}
