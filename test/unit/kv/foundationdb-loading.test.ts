import { join } from 'node:path';
import type * as foundationdb from 'foundationdb';
import { afterAll, describe, expect, expectTypeOf, it } from 'vitest';
import type {
  FoundationDBBinding,
  FoundationDBDatabase,
  FoundationDBTransaction,
  MutationType,
} from '../../../src/kv/foundationdb/binding.ts';
import { StreamingMode, TransactionOption } from '../../../src/kv/foundationdb/binding.ts';
import { findClusterFile } from '../../../src/kv/foundationdb/cluster-file.ts';
import { loadBinding } from '../../../src/kv/foundationdb/load-binding.ts';
import { openFoundationDB } from '../../../src/kv/foundationdb/open.ts';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import { openDatabase } from '../../../src/kv/open.ts';
import {
  createFakeFoundationDB,
  FakeFDBError,
  someClusterFile as files,
  sourceOf,
} from '../../rig/fake-foundationdb.ts';
import { createTemporaryDirectory } from '../../rig/temporary-directory.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

const memory = openMemoryDatabase();
const directory = createTemporaryDirectory('fdb');
afterAll(async () => {
  await memory.close();
  directory.remove();
});

const failingSource = (message: string, code: string) =>
  sourceOf(undefined, {
    load: () => {
      throw Object.assign(new Error(message), { code });
    },
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
    type Options = NonNullable<Parameters<FoundationDBDatabase['rawCreateTransaction']>[0]>;
    expectTypeOf<Options>().toExtend<foundationdb.TransactionOptions>();
    const { wantAll, exact } = StreamingMode;
    expectTypeOf<typeof wantAll>().toExtend<foundationdb.StreamingMode.WantAll>();
    expectTypeOf<typeof exact>().toExtend<foundationdb.StreamingMode.Exact>();
    const { priorityBatch } = TransactionOption;
    expectTypeOf<typeof priorityBatch>().toExtend<foundationdb.TransactionOptionCode.PriorityBatch>();
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

  it('tries once in a process', () => {
    const fake = createFakeFoundationDB(memory);
    const source = sourceOf(fake);
    expect(loadBinding(source)).toBe(loadBinding(source));
    expect(fake.calls).toEqual(['setAPIVersion 720']);
  });

  it('respects a version that the host has set', () => {
    const fake = createFakeFoundationDB(memory, { accepts: () => true });
    fake.setAPIVersion(630);
    loadBinding(sourceOf(fake));
    expect(fake.calls).toEqual(['setAPIVersion 630', 'setAPIVersion 720']);
  });

  it('takes the copy that the host has loaded', () => {
    const find = () => '/app/node_modules/foundationdb';
    const loadedFiles = () => ['/app/node_modules/foundationdb/prebuilds/linux-x64/node.napi.node'];
    expect(() => loadBinding(sourceOf(createFakeFoundationDB(memory), { find, loadedFiles }))).not.toThrow();
  });

  it('does not load a second copy beside one that works', () => {
    const calls: string[] = [];
    const source = sourceOf(undefined, {
      load: () => calls.push('load'),
      find: () => '/lib/node_modules/foundationdb',
      loadedFiles: () => ['/app/node_modules/foundationdb/prebuilds/linux-x64/node.napi.node'],
    });
    expect(() => loadBinding(source)).toThrowError(
      expect.objectContaining({
        code: 'DRIVER_DUPLICATE',
        message: expect.stringMatching(
          /\/app\/node_modules\/foundationdb\/.*node\.napi\.node and \/lib\/node_modules\/foundationdb/,
        ),
      }),
    );
    expect(calls).toEqual([]);
  });

  const cannotFind = (name: string) => `Cannot find module '${name}'\nRequire stack:\n- /x/foundationdb/y.js`;
  it.each<[string, () => unknown, string, RegExp]>([
    [
      'the package is missing',
      () => loadBinding(failingSource(cannotFind('foundationdb'), 'MODULE_NOT_FOUND')),
      'DRIVER_MISSING',
      /npm install foundationdb/,
    ],
    [
      'a package that it needs is missing',
      () => loadBinding(failingSource(cannotFind('node-gyp-build'), 'MODULE_NOT_FOUND')),
      'DRIVER_FAILED',
      /node-gyp-build/,
    ],
    [
      'the client library is missing',
      () => loadBinding(failingSource('libfdb_c.so: cannot open shared object file', 'ERR_DLOPEN_FAILED')),
      'DRIVER_LIBRARY_MISSING',
      /libfdb_c is not installed/,
    ],
    [
      'there is no build for the machine',
      () => loadBinding(failingSource('No native build was found for platform=aix', '')),
      'DRIVER_FAILED',
      /platform=aix/,
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
          sourceOf(createFakeFoundationDB(memory), {
            loadedFiles: () => ['/a/foundationdb/x.node', '/b/foundationdb/x.node'],
          }),
        ),
      'DRIVER_DUPLICATE',
      /\/a\/foundationdb\/x\.node and \/b\/foundationdb\/x\.node/,
    ],
    [
      'it is not the main thread',
      () => loadBinding(sourceOf(createFakeFoundationDB(memory), { isMainThread: false })),
      'DRIVER_WRONG_THREAD',
      /main thread/,
    ],
    [
      'the named cluster file is missing',
      () => openFoundationDB({ clusterFile: join(directory.path, 'absent.cluster') }),
      'CLUSTER_FILE_MISSING',
      /absent\.cluster/,
    ],
    [
      'the cluster file of the environment is missing',
      () => openFoundationDB({ files: { ...files, environment: { FDB_CLUSTER_FILE: '/gone.cluster' } } }),
      'CLUSTER_FILE_MISSING',
      /\/gone\.cluster, which FDB_CLUSTER_FILE names/,
    ],
    [
      'there is no cluster file at all',
      () => openFoundationDB({ files: { ...files, exists: () => false } }),
      'CLUSTER_FILE_MISSING',
      /FDB_CLUSTER_FILE is not set.*\/etc\/foundationdb\/fdb\.cluster/,
    ],
    [
      'the client finds none',
      () =>
        openFoundationDB({
          files,
          source: sourceOf(
            createFakeFoundationDB(memory, { refusesToOpen: new FakeFDBError('no cluster file', 1515) }),
          ),
        }),
      'CLUSTER_FILE_MISSING',
      /no cluster file/,
    ],
    [
      'the cluster file holds something else',
      () =>
        openFoundationDB({
          files,
          source: sourceOf(
            createFakeFoundationDB(memory, {
              refusesToOpen: new FakeFDBError('Connection string invalid', 2104),
            }),
          ),
        }),
      'CLUSTER_FILE_INVALID',
      /fdb\.cluster cannot be used: Connection string invalid/,
    ],
    [
      'the database cannot be opened',
      () =>
        openFoundationDB({
          files,
          source: sourceOf(
            createFakeFoundationDB(memory, { refusesToOpen: new FakeFDBError('internal', 4100) }),
          ),
        }),
      'CLUSTER_UNREACHABLE',
      /internal/,
    ],
  ])('says so when %s', async (_what, work, code, message) => {
    expect(await errorOf(work)).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it("looks for the cluster file in the client's own order", () => {
    const here = (...present: readonly string[]) => ({
      environment: {},
      platform: 'linux',
      exists: (path: string) => present.includes(path),
    });
    const system = '/etc/foundationdb/fdb.cluster';
    expect(findClusterFile('/named', here('/named', 'fdb.cluster', system))).toBe('/named');
    const environment = { FDB_CLUSTER_FILE: '/set' };
    expect(findClusterFile(undefined, { ...here('/set', 'fdb.cluster', system), environment })).toBe('/set');
    expect(findClusterFile(undefined, here('fdb.cluster', system))).toBe('fdb.cluster');
    expect(findClusterFile(undefined, here(system))).toBe(system);
    const mac = '/usr/local/etc/foundationdb/fdb.cluster';
    expect(findClusterFile(undefined, { ...here(mac), platform: 'darwin' })).toBe(mac);
  });

  it('gives up on a cluster that does not answer, and closes what it opened', async () => {
    const ended = openMemoryDatabase();
    const fake = createFakeFoundationDB(ended);
    await ended.close();
    const error = await errorOf(() => openFoundationDB({ files, source: sourceOf(fake) }));
    expect(error).toMatchObject({ code: 'CLUSTER_UNREACHABLE', retryable: true });
    expect(fake.calls.at(-1)).toBe('close');
    expect(fake.options).toEqual([{ timeout: 10_000 }]);
  });

  it("gives up by its own clock where the client's does not end it, of a host too", async () => {
    const clock = createVirtualClock();
    const fake = createFakeFoundationDB(memory, { isSilent: true });
    const own = errorOf(() => openFoundationDB({ files, clock, source: sourceOf(fake) }));
    const hosts = errorOf(() => openDatabase(fake.open(), { clock }));
    await clock.advanceAsync(11_000);
    expect(await own).toMatchObject({ code: 'CLUSTER_UNREACHABLE', message: expect.stringMatching(/1031/) });
    expect(await hosts).toMatchObject({ code: 'CLUSTER_UNREACHABLE' });
    expect(fake.calls.filter((call) => call === 'close')).toHaveLength(1);
    expect(clock.pendingTimers).toBe(0);
  });
});
