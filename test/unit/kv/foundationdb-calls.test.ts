import { afterAll, describe, expect, it } from 'vitest';
import { backfill } from '../../../src/migration/backfill-spec.ts';
import { StreamingMode, TransactionOption } from '../../../src/kv/foundationdb/binding.ts';
import { openFoundationDB } from '../../../src/kv/foundationdb/open.ts';
import type { KeyValueDatabase } from '../../../src/kv/kv.ts';
import { KeyValueError } from '../../../src/kv/kv.ts';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import { openDatabase } from '../../../src/kv/open.ts';
import { createStoreKeys } from '../../../src/records/keys.ts';
import { FoundationDBDataStore } from '../../../src/store/store.ts';
import { createFakeFoundationDB, someClusterFile as files, sourceOf } from '../../rig/fake-foundationdb.ts';
import { CityV1, CityV2, cityOf, createInlinePool, toCityV2 } from '../../rig/migration.ts';
import { overriding, withTransactions } from '../../rig/overriding.ts';

const memory = openMemoryDatabase();
afterAll(() => memory.close());

const a = Buffer.from('a');
const open = async () => {
  const fake = createFakeFoundationDB(memory);
  const database = await openFoundationDB({ files, source: sourceOf(fake) });
  fake.options.length = 0;
  return { fake, database };
};

describe('a transaction', () => {
  it('has a time of its own, or one that is long, and the limits and the priority that it asks for', async () => {
    const { fake, database } = await open();
    await database.transact((tx) => tx.get(a));
    await database.transact((tx) => tx.get(a), {
      timeoutMs: 4_000,
      retryLimit: 3,
      sizeLimitBytes: 500_000,
      priority: 'batch',
    });
    expect(fake.options).toEqual([
      { timeout: 60_000 },
      { timeout: 4_000, retry_limit: 3, size_limit: 500_000, priority_batch: true },
    ]);
    await database.close();
  });

  it('keeps its priority in a further attempt, which the client begins without it', async () => {
    const { fake, database } = await open();
    const failOnce = async (priority: 'batch' | 'default') => {
      let isFirst = true;
      await database.transact(
        async () => {
          if (!isFirst) return;
          isFirst = false;
          throw new KeyValueError(1020);
        },
        { priority },
      );
    };
    await failOnce('default');
    expect(fake.optionsSet).toEqual([]);
    await failOnce('batch');
    expect(fake.optionsSet).toEqual([TransactionOption.priorityBatch]);
    await database.close();
  });

  it('knows after a change of the cluster version as little as after 1021 whether it was committed', async () => {
    const { database } = await open();
    const seen: boolean[] = [];
    await database.transact(async (tx) => {
      seen.push(tx.afterUnknownResult);
      if (seen.length === 1) throw new KeyValueError(1039);
    });
    expect(seen).toEqual([false, true]);
    await database.close();
  });

  it('reads what has a limit of bytes in one answer, and everything else in large ones', async () => {
    const { fake, database } = await open();
    await database.transact(async (tx) => {
      await tx.getRangeAll(a, Buffer.from('b'), { limit: 5, targetBytes: 900_000 });
      await tx.getRangeAll(a, Buffer.from('b'));
    });
    expect(fake.ranges).toEqual([
      { limit: 5, targetBytes: 900_000, mode: StreamingMode.exact },
      { limit: 0, targetBytes: 0, mode: StreamingMode.wantAll },
    ]);
    await database.close();
  });
});

describe('a migration', () => {
  it('moves its chunks at batch priority, and serves requests before them', async () => {
    const own = openMemoryDatabase();
    const keys = createStoreKeys(['test']).model(1);
    const writes = { byChunks: new Set<unknown>(), byRequests: new Set<unknown>() };
    const observed = withTransactions(own, (tx) => {
      const options = fake.options.at(-1);
      let isChunk = false;
      let isRecord = false;
      return overriding(tx, {
        set(key, value) {
          isChunk ||= isUnder(keys.range('backfill', 0).subarray(0, -1), key);
          isRecord ||= isUnder(keys.records(1), key);
          tx.set(key, value);
        },
        async commit() {
          await tx.commit();
          const of = isChunk ? writes.byChunks : writes.byRequests;
          if (isRecord) of.add(options?.priority_batch);
        },
      });
    });
    const fake = createFakeFoundationDB(observed);
    const database = fake.open();
    const common = { database, subspace: ['test'], pool: createInlinePool() };
    const before = await FoundationDBDataStore.open({ ...common, dataModelsById: { 1: CityV1 } });
    await before.model(CityV1).add(cityOf(0));
    await before.close();
    const after = await FoundationDBDataStore.open({
      ...common,
      dataModelsById: { 1: CityV2 },
      migrationHandler: backfill({ transform: toCityV2 }),
      migrationAuditEventReporter: () => undefined,
    });
    await after.close();
    expect(writes).toEqual({ byChunks: new Set([true]), byRequests: new Set([undefined]) });
    await own.close();
  });
});

describe('a database that was closed', () => {
  it('reaches the client no more', async () => {
    const { fake, database } = await open();
    const early = database.createTransaction();
    await database.close();
    expect(fake.options).toHaveLength(1);
    const canceled = { code: 1025 };
    await expect(database.transact((tx) => tx.get(a))).rejects.toMatchObject(canceled);
    await expect(early.get(a)).rejects.toMatchObject(canceled);
    expect(fake.options).toHaveLength(1);
  });
});

describe("a host's database", () => {
  it('is used as bytes from its root, and left open', async () => {
    const fake = createFakeFoundationDB(memory);
    const host = fake.open();
    const database = await openDatabase(host);
    await database.transact(async (tx) => tx.set(Buffer.from('host'), Buffer.from('1')));
    await database.close();
    await database.close();
    expect(fake.calls).not.toContain('close');
    const again = await openDatabase(host);
    expect((await again.transact((tx) => tx.get(Buffer.from('host'))))?.toString()).toBe('1');
    expect(fake.calls.filter((call) => call.startsWith('setAPIVersion'))).toEqual([]);
  });

  it('has one native watch for all stores that wait for the same', async () => {
    const fake = createFakeFoundationDB(memory);
    const host = fake.open();
    const [one, other] = [await openDatabase(host), await openDatabase(host)];
    const watch = (database: KeyValueDatabase) => database.transact(async (tx) => tx.watch(a));
    const [first, second, third] = [await watch(one), await watch(other), await watch(other)];
    expect(fake.watches).toEqual({ armed: 1, out: 1 });
    await one.close();
    expect(await first.changed).toBe(false);
    expect(fake.watches.out).toBe(1);
    await memory.transact(async (tx) => tx.set(a, Buffer.from('changed')));
    expect(await Promise.all([second.changed, third.changed])).toEqual([true, true]);
    expect(fake.watches).toEqual({ armed: 1, out: 0 });
    await other.close();
  });
});

function isUnder(prefix: Uint8Array, key: Uint8Array): boolean {
  return Buffer.compare(key.subarray(0, prefix.length), prefix) === 0;
}
