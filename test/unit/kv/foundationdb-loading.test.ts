import { join } from 'node:path';
import type * as foundationdb from 'foundationdb';
import { afterAll, describe, expect, expectTypeOf, it } from 'vitest';
import type {
  FoundationDBBinding,
  FoundationDBDatabase,
  FoundationDBTransaction,
  MutationType,
} from '../../../src/kv/foundationdb/binding.ts';
import { StreamingMode } from '../../../src/kv/foundationdb/binding.ts';
import { loadBinding } from '../../../src/kv/foundationdb/load-binding.ts';
import { fromHostDatabase, openFoundationDB } from '../../../src/kv/foundationdb/open.ts';
import { createWatchBudget } from '../../../src/kv/foundationdb/watch-budget.ts';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import { openDatabase } from '../../../src/kv/open.ts';
import { limits } from '../../../src/limits.ts';
import { createFakeFoundationDB, FakeFDBError } from '../../rig/fake-foundationdb.ts';
import { createTemporaryDirectory } from '../../rig/temporary-directory.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

const memory = openMemoryDatabase();
const directory = createTemporaryDirectory('fdb');
afterAll(async () => {
  await memory.close();
  directory.remove();
});

const sourceOf = (loaded: unknown, files: readonly string[] = []) => ({
  load: () => loaded,
  loadedFiles: () => files,
});
const failingSource = (message: string, code: string) => ({
  load: () => {
    throw Object.assign(new Error(message), { code });
  },
  loadedFiles: () => [],
});
const errorOf = async (work: () => unknown): Promise<unknown> => {
  try {
    await work();
    return undefined;
  } catch (error) {
    return error;
  }
};

describe('the shape that the driver expects', () => {
  it("is that of the package's own declarations", () => {
    expectTypeOf<typeof foundationdb>().toExtend<Pick<FoundationDBBinding, 'setAPIVersion'>>();
    expectTypeOf<foundationdb.Database>().toExtend<Pick<FoundationDBDatabase, 'close'>>();
    type Used = Omit<FoundationDBTransaction, 'snapshot'>;
    expectTypeOf<foundationdb.Transaction>().toExtend<Used>();
    expectTypeOf<ReturnType<foundationdb.Transaction['snapshot']>>().toExtend<Used>();
    expectTypeOf<ReturnType<typeof foundationdb.open>>().toExtend<{ close(): void }>();
    const { wantAll } = StreamingMode;
    expectTypeOf<typeof wantAll>().toExtend<foundationdb.StreamingMode>();
    expectTypeOf<(typeof MutationType)['add']>().toExtend<foundationdb.MutationType>();
  });
});

describe('loading the package', () => {
  it('takes the version that its client was made against', () => {
    const fake = createFakeFoundationDB(memory);
    loadBinding(sourceOf(fake));
    expect(fake.calls).toEqual(['setAPIVersion 720']);
  });

  it('takes an older one with the header of its own where the client library is older', () => {
    const fake = createFakeFoundationDB(memory, {
      accepts: (version, header) => version === 710 && header === 710,
    });
    loadBinding(sourceOf(fake));
    expect(fake.calls).toEqual(['setAPIVersion 720', 'setAPIVersion 710 710']);
  });

  it('respects a version that the host has set', () => {
    const fake = createFakeFoundationDB(memory, { accepts: () => true });
    fake.setAPIVersion(630);
    loadBinding(sourceOf(fake));
    expect(fake.calls).toEqual(['setAPIVersion 630', 'setAPIVersion 720']);
  });

  it.each<[string, () => unknown, string, RegExp]>([
    [
      'the package is missing',
      () => loadBinding(failingSource("Cannot find module 'foundationdb'", 'MODULE_NOT_FOUND')),
      'DRIVER_MISSING',
      /npm install foundationdb/,
    ],
    [
      'the client library is missing',
      () => loadBinding(failingSource('libfdb_c.so: cannot open shared object file', 'ERR_DLOPEN_FAILED')),
      'DRIVER_FAILED',
      /libfdb_c/,
    ],
    ['it is another package', () => loadBinding(sourceOf({})), 'DRIVER_FAILED', /not of version 2/],
    [
      'no version is taken',
      () => loadBinding(sourceOf(createFakeFoundationDB(memory, { accepts: () => false }))),
      'DRIVER_FAILED',
      /older than 7\.1/,
    ],
    [
      'a second copy is loaded',
      () =>
        loadBinding(
          sourceOf(createFakeFoundationDB(memory), ['/a/foundationdb/x.node', '/b/foundationdb/x.node']),
        ),
      'DRIVER_DUPLICATE',
      /\/a\/foundationdb\/x\.node and \/b\/foundationdb\/x\.node/,
    ],
    [
      'the cluster file is missing',
      () => openFoundationDB({ clusterFile: join(directory.path, 'absent.cluster') }),
      'CLUSTER_FILE_MISSING',
      /absent\.cluster/,
    ],
    [
      'the database cannot be opened',
      () =>
        openFoundationDB({
          source: sourceOf(
            createFakeFoundationDB(memory, { refusesToOpen: new FakeFDBError('no cluster file', 1515) }),
          ),
        }),
      'CLUSTER_UNREACHABLE',
      /no cluster file/,
    ],
  ])('says so when %s', async (_what, work, code, message) => {
    expect(await errorOf(work)).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it('gives up on a cluster that does not answer, and closes what it opened', async () => {
    const silent = openMemoryDatabase();
    const fake = createFakeFoundationDB(silent);
    await silent.close();
    const error = await errorOf(() => openFoundationDB({ source: sourceOf(fake) }));
    expect(error).toMatchObject({ code: 'CLUSTER_UNREACHABLE', retryable: true });
    expect(fake.calls.at(-1)).toBe('close');
    expect(fake.options).toEqual([{ timeout: 10_000 }]);
  });
});

describe('a transaction', () => {
  it('has a time of its own, or one that is long, and the priority that it asks for', async () => {
    const fake = createFakeFoundationDB(memory);
    const database = await openFoundationDB({ source: sourceOf(fake) });
    fake.options.length = 0;
    await database.transact((tx) => tx.get(Buffer.from('a')));
    await database.transact((tx) => tx.get(Buffer.from('a')), { timeoutMs: 4_000, priority: 'batch' });
    expect(fake.options).toEqual([{ timeout: 60_000 }, { timeout: 4_000, priority_batch: true }]);
    await database.close();
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
    const again = fromHostDatabase(host);
    expect((await again.transact((tx) => tx.get(Buffer.from('host'))))?.toString()).toBe('1');
  });
});

describe('watches', () => {
  it('are as many as the driver may arm, and one more becomes a poll', async () => {
    const clock = createVirtualClock();
    const budget = createWatchBudget(clock);
    const fires: (() => void)[] = [];
    const arm = () => ({
      promise: new Promise<boolean>((resolve) => fires.push(() => resolve(true))),
      cancel: () => undefined,
    });
    const armed = Array.from({ length: limits.database.driverWatches.value }, () => budget.take(arm));
    const oneMore = budget.take(() => {
      throw new Error('there is no room for it');
    });
    expect(budget.used).toBe(limits.database.driverWatches.value);
    await clock.advanceAsync(1_000);
    expect(await oneMore.changed).toBe(true);
    for (const fire of fires) fire();
    expect(new Set(await Promise.all(armed.map(({ changed }) => changed)))).toEqual(new Set([true]));
    await clock.advanceAsync(0);
    expect(budget.used).toBe(0);
  });

  it('that are lost count as changed, and those that are canceled do not', async () => {
    const budget = createWatchBudget(createVirtualClock());
    const lost = budget.take(() => ({ promise: Promise.reject(new Error('1101')), cancel: () => undefined }));
    expect(await lost.changed).toBe(true);
    const canceled = budget.take(() => ({ promise: new Promise(() => undefined), cancel: () => undefined }));
    canceled.cancel();
    expect(await canceled.changed).toBe(false);
  });
});
