import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { metadataVersionKey } from '../../src/kv/kv.ts';
import { openMemoryDatabase } from '../../src/kv/memory/open.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { closeGate } from '../../src/migration/close-gate.ts';
import { readStoredModel } from '../../src/migration/plan.ts';
import type { MigrationState } from '../../src/migration/state.ts';
import { reopenIfUntouched } from '../../src/migration/transition.ts';
import { defineModel, string } from '../../src/model/index.ts';
import type { AnyModels } from '../../src/model/infer.ts';
import { systemRandom } from '../../src/ports/random.ts';
import type { Fence } from '../../src/records/fence.ts';
import { fenceFormat } from '../../src/records/fence.ts';
import { createStoreKeys, rangeOf } from '../../src/records/keys.ts';
import { schemaIdOf } from '../../src/records/record-codec.ts';
import type { StoreOptions } from '../../src/store/options.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { CityV1, CityV2, cityId, cityOf, createInlinePool, createLatch, toCityV2 } from '../rig/migration.ts';
import { overriding, withTransactions } from '../rig/overriding.ts';
import { createProgram } from '../rig/requests.ts';
import type { SeededRandom } from '../rig/seed.ts';
import { createSeededRandom, drawSeed } from '../rig/seed.ts';
import { outcomeOf } from '../rig/trap-rig.ts';

/** What a store does with its transactions: watched, delayed, and asked what they ought to know. */
interface Observer {
  /** Reads of the fence of model 1. */
  fenceReads: number;
  /** Awaited before each commit that writes a record or a fence. */
  beforeCommit?: ((attempt: number) => Promise<void> | void) | undefined;
  /** Awaited before each read. */
  beforeRead?: (() => Promise<void>) | undefined;
}

/** A commit that wrote records of model 1 or its fence. */
interface Commit {
  readonly stamp: Buffer;
  readonly by: Observer;
  /** As of the read version of its transaction. */
  readonly seen: Fence | undefined;
  readonly wrote: Fence | undefined;
  readonly readsFence: boolean;
}

const keys = createStoreKeys(['test']).model(1);
const Country = defineModel({
  name: 'Country',
  version: '1.0',
  key: ['code'],
  properties: { code: string({ number: 1, required: true }) },
});
const oldModels = { 1: CityV1, 2: Country };
const newModels = { 1: CityV2, 2: Country };

let database: KeyValueDatabase;
let stores: { close(): Promise<void> }[];
let commits: Commit[];
beforeEach(() => {
  // Retries without delay: full jitter draws 0.
  database = openMemoryDatabase({ random: { ...systemRandom, fraction: () => 0 } });
  stores = [];
  commits = [];
});
afterEach(async () => {
  await Promise.all(stores.map((store) => store.close()));
  await database.close();
});

function observe(observer: Observer): KeyValueDatabase {
  return withTransactions(database, (tx) => {
    let wrote: Fence | undefined;
    let writesRecords = false;
    let readsFence = false;
    const forget = () => {
      wrote = undefined;
      writesRecords = readsFence = false;
    };
    return overriding(tx, {
      async get(key, options) {
        await observer.beforeRead?.();
        if (keys.fence.equals(key)) {
          observer.fenceReads += 1;
          readsFence = true;
        }
        return tx.get(key, options);
      },
      set(key, value) {
        if (keys.fence.equals(key)) wrote = fenceFormat.parse(value);
        writesRecords ||= isUnder(keys.records(1), key);
        tx.set(key, value);
      },
      async commit() {
        if (wrote === undefined && !writesRecords) return tx.commit();
        const before = wrote === undefined ? await tx.get(keys.fence, { snapshot: true }) : undefined;
        const seen = fenceFormat.parseOptional(before);
        await observer.beforeCommit?.(tx.attempt);
        const stamp = tx.getVersionstamp();
        await tx.commit();
        commits.push({ stamp: await stamp, by: observer, seen, wrote, readsFence });
        return undefined;
      },
      async onError(error) {
        forget();
        await tx.onError(error);
      },
    });
  });
}

async function open<M extends AnyModels = typeof oldModels>(
  options: Partial<StoreOptions<M>> = {},
  observer: Observer = { fenceReads: 0 },
): Promise<FoundationDBDataStore<M>> {
  const store = await FoundationDBDataStore.open({
    subspace: ['test'],
    dataModelsById: oldModels,
    pool: createInlinePool(),
    fenceCache: 'metadataVersion',
    migrationAuditEventReporter: () => undefined,
    ...options,
    database: observe(observer),
  } as StoreOptions<M>);
  stores.push(store);
  return store;
}

const migrate = (options: Partial<StoreOptions<typeof newModels>> = {}, observer?: Observer) =>
  open(
    { dataModelsById: newModels, migrationHandler: backfill({ transform: toCityV2 }), ...options },
    observer,
  );

const isUnder = (prefix: Uint8Array, key: Uint8Array): boolean =>
  Buffer.compare(key.subarray(0, prefix.length), prefix) === 0;

const changeMetadataVersion = () =>
  database.transact(async (tx) => tx.setVersionstampedValue(metadataVersionKey, Buffer.alloc(10), 0));

/** What a migration does that is canceled before it has moved anything. */
const state = { migrationId: 'City:1.0->2.0#abc', expandRan: false, targetSchemaId: 2 } as MigrationState;
const target = createProgram(
  { transact: () => Promise.reject(new Error()) },
  createStoreKeys(['test']),
  newModels,
).configured(CityV2);

async function close(on: KeyValueDatabase = database): Promise<void> {
  await on.transact(async (tx) => {
    const stored = await readStoredModel(tx, keys);
    if (stored === undefined) throw new Error('nothing was published');
    await closeGate(tx, target, stored, state.migrationId, []);
  });
}

async function reopen(on: KeyValueDatabase = database): Promise<void> {
  await on.transact((tx) => reopenIfUntouched(tx, { model: target }, state));
}

describe('a fence in memory', () => {
  it('is read again only when the metadata version has changed, by whomever', async () => {
    const observer = { fenceReads: 0 };
    const store = await open({}, observer);
    await store.model(CityV1).add(cityOf(0));
    observer.fenceReads = 0;
    for (let n = 1; n < 10; n += 1) await store.model(CityV1).add(cityOf(n));
    expect(await store.model(CityV1).get(cityId(3))).toBeDefined();
    expect(observer.fenceReads).toBe(0);
    await changeMetadataVersion();
    for (let n = 10; n < 20; n += 1) await store.model(CityV1).add(cityOf(n));
    expect(observer.fenceReads).toBe(1);
  });

  it('does not make a write conflict with those who change the metadata version for reasons of their own', async () => {
    const attempts: number[] = [];
    const store = await open(
      {},
      {
        fenceReads: 0,
        async beforeCommit(attempt) {
          attempts.push(attempt);
          await changeMetadataVersion();
        },
      },
    );
    await store.model(CityV1).add(cityOf(0));
    await store.model(CityV1).add(cityOf(1));
    // The first one is the publication.
    expect(attempts).toEqual([0, 0, 0]);
  });

  it('lets no write through that is in flight when the gate closes: it conflicts, and is refused', async () => {
    const [inFlight, goOn] = [createLatch(), createLatch()];
    const observer: Observer = { fenceReads: 0 };
    const store = await open({}, observer);
    await store.model(CityV1).add(cityOf(0));
    const attempts: number[] = [];
    observer.beforeCommit = async (attempt) => {
      attempts.push(attempt);
      inFlight.open();
      await goOn.opened;
    };
    observer.fenceReads = 0;
    const writing = outcomeOf(store.model(CityV1).put({ ...cityOf(0), name: 'too late' }));
    await inFlight.opened;
    expect(observer.fenceReads).toBe(0);
    await close();
    goOn.open();
    expect(await writing).toBe('MODEL_MIGRATING');
    expect(attempts).toEqual([0]);
    await reopen();
    expect(await store.model(CityV1).get(cityId(0))).toMatchObject({ name: 'city 0' });
  });

  it('lets no write through that begins when the gate is closed', async () => {
    const store = await open();
    await store.model(CityV1).add(cityOf(0));
    await close();
    expect(await outcomeOf(store.model(CityV1).add(cityOf(1)))).toBe('MODEL_MIGRATING');
    expect(await outcomeOf(store.model(CityV1).get(cityId(0)))).toBe('MODEL_MIGRATING');
    expect(await outcomeOf(store.model(CityV1).scan().page())).toBe('MODEL_MIGRATING');
    await reopen();
    expect(await outcomeOf(store.model(CityV1).add(cityOf(1)))).toBe('done');
  });

  it('is judged as of the version that a transaction reads: what only reads may be older than the gate', async () => {
    const store = await open();
    await store.model(CityV1).add(cityOf(0));
    await store.model(Country).add({ code: 'CH' });
    const answers = await store.transact(async (tx) => {
      await tx.model(Country).get('CH');
      await close();
      // The same process learns of it meanwhile.
      const now = await outcomeOf(store.model(CityV1).get(cityId(0)));
      return { now, asOfThen: await tx.model(CityV1).get(cityId(0)) };
    });
    expect(answers).toMatchObject({ now: 'MODEL_MIGRATING', asOfThen: { name: 'city 0' } });
    // The older one did not put back what it found.
    expect(await outcomeOf(store.model(CityV1).get(cityId(0)))).toBe('MODEL_MIGRATING');
  });

  it('of an older program is given up through a whole migration', async () => {
    const store = await open();
    await store.model(CityV1).add(cityOf(0));
    const newer = await migrate();
    expect(await newer.model(CityV2).get(cityId(0))).toMatchObject({ name: 'city 0' });
    expect(await outcomeOf(store.model(CityV1).put(cityOf(0)))).toBe('MODEL_SCHEMA_CHANGED');
    expect(await outcomeOf(store.model(CityV1).get(cityId(0)))).toBe('MODEL_SCHEMA_CHANGED');
  });
});

describe('a store that reads its fences', () => {
  it('tells those who do not, as soon as there is one', async () => {
    const reading = await open({ fenceCache: 'read' });
    await reading.model(CityV1).add(cityOf(0));
    expect(await database.transact((tx) => tx.get(metadataVersionKey, { snapshot: true }))).toBeUndefined();
    const caching = await open();
    await caching.model(CityV1).add(cityOf(1));
    await migrate({ fenceCache: 'read' });
    expect(await outcomeOf(caching.model(CityV1).add(cityOf(2)))).toBe('MODEL_SCHEMA_CHANGED');
  });

  it('tells those who begin while it closes the gate: its transaction conflicts', async () => {
    const observer: Observer = { fenceReads: 0 };
    const reading = await open({ fenceCache: 'read' }, observer);
    await reading.model(CityV1).add(cityOf(0));
    const [inFlight, goOn] = [createLatch(), createLatch()];
    const attempts: number[] = [];
    const migrating = migrate(
      { fenceCache: 'read' },
      {
        fenceReads: 0,
        async beforeCommit(attempt) {
          if (commits.some(({ wrote }) => wrote?.state === 'migrating')) return;
          attempts.push(attempt);
          inFlight.open();
          await goOn.opened;
        },
      },
    );
    await inFlight.opened;
    const caching = await open();
    await caching.model(CityV1).add(cityOf(1));
    goOn.open();
    await migrating;
    expect(attempts).toEqual([0, 1]);
    expect(await outcomeOf(caching.model(CityV1).add(cityOf(2)))).toBe('MODEL_SCHEMA_CHANGED');
  });

  it('needs no leave to read on where others cache', async () => {
    await open();
    const observer = { fenceReads: 0 };
    const reading = await open({ fenceCache: 'read' }, observer);
    await reading.model(CityV1).add(cityOf(0));
    observer.fenceReads = 0;
    await reading.model(CityV1).add(cityOf(1));
    expect(observer.fenceReads).toBe(1);
  });
});

describe('many writers in several stores', () => {
  const cycles = 60;
  const seed = drawSeed('fence cache');

  it('land no write under a fence older than the one that stands', async () => {
    const random = createSeededRandom(seed);
    const wait = async (of: SeededRandom, most: number) => {
      for (let turns = of.below(most); turns > 0; turns -= 1) {
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const outcomes = new Map<unknown, number>();
    let isOver = false;
    const program = async () => {
      const own = random.fork();
      const observer: Observer = {
        fenceReads: 0,
        beforeCommit: () => wait(own, 6),
        beforeRead: () => wait(own, 3),
      };
      const store = await open({}, observer);
      programs.add(observer);
      const write = async () => {
        while (!isOver) {
          const city = cityOf(own.below(200));
          const outcome = await outcomeOf(store.model(CityV1).put(city));
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
          await wait(own, 4);
        }
      };
      return () => Promise.all(Array.from({ length: 4 }, write));
    };
    const programs = new Set<Observer>();
    const runs = [await program(), await program(), await program()];
    const writing = Promise.all(runs.map((run) => run()));
    const gates = observe({ fenceReads: 0 });
    try {
      for (let cycle = 0; cycle < cycles; cycle += 1) {
        await wait(random, 40);
        await close(gates);
        await wait(random, 20);
        await reopen(gates);
      }
      await migrate();
      // Bounded: whoever was told nothing would write on for ever.
      for (let round = 0; round < 1_000 && !outcomes.has('MODEL_SCHEMA_CHANGED'); round += 1) {
        await wait(random, 4);
      }
    } finally {
      isOver = true;
    }
    await writing;

    let standing: Fence | undefined;
    let [writes, fromMemory] = [0, 0];
    commits.sort((left, right) => Buffer.compare(left.stamp, right.stamp));
    for (const { by, seen, wrote, readsFence } of commits) {
      if (wrote !== undefined) standing = wrote;
      if (wrote !== undefined || !programs.has(by)) continue;
      writes += 1;
      if (!readsFence) fromMemory += 1;
      expect({ epoch: seen?.schemaEpoch, state: seen?.state }).toEqual({
        epoch: standing?.schemaEpoch,
        state: 'ready',
      });
    }
    expect(standing).toMatchObject({ state: 'ready', lineage: 2, schemaEpoch: 1 + 2 * cycles + 2 });
    expect(new Set(outcomes.keys())).toEqual(new Set(['done', 'MODEL_MIGRATING', 'MODEL_SCHEMA_CHANGED']));
    expect(writes).toBeGreaterThan(cycles);
    expect(fromMemory).toBeGreaterThan(writes / 10);
    expect(outcomes.get('MODEL_MIGRATING')).toBeGreaterThan(cycles);

    const { begin, end } = rangeOf(keys.records(1));
    const rows = await database.transact((tx) => tx.getRangeAll(begin, end));
    expect(new Set(rows.map(({ value }) => schemaIdOf(value)))).toEqual(new Set([2]));
  });
});
