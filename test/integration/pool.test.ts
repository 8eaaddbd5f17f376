import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { defineTransform } from '../../src/model/transform.ts';
import { definitionData, defineModel, float64, string } from '../../src/model/index.ts';
import type { WorkerPool } from '../../src/ports/pool.ts';
import { WorkerCrashed, WorkerPoolClosed, createWorkerPool } from '../../src/ports/pool.ts';
import { packRecords, readMutations } from '../../src/records/chunk-format.ts';
import { compileTransform } from '../../src/records/chunk-transform.ts';
import { createKeyCodec } from '../../src/records/key-codec.ts';
import { createRecordCodec } from '../../src/records/record-codec.ts';
import type { ChunkResult, TransformSetup } from '../../src/records/transform-setup.ts';
import type { TransformAnswer, TransformTask } from '../../workers/transform.ts';
import { createTemporaryDirectory } from '../rig/temporary-directory.ts';

const id = string({ number: 1, required: true });
const CityV1 = defineModel({
  name: 'City',
  version: '1.0',
  key: ['id'],
  properties: { id, lat: string({ number: 2, required: true }) },
});
const CityV2 = defineModel({
  name: 'City',
  version: '2.0',
  key: ['id'],
  properties: { id, latitude: float64({ number: 2, required: true }) },
  indexes: [{ name: 'byLatitude', on: ['latitude'] }],
});

const directory = createTemporaryDirectory('pool');
writeFileSync(join(directory.path, 'package.json'), '{ "type": "module" }');
afterAll(() => {
  directory.remove();
});
const transformUrl = new URL('../../src/model/transform.ts', import.meta.url).href;
const versions = `{ name: 'City', version: '1.0' }, { name: 'City', version: '2.0' }`;

/** A module in the temporary directory. */
const moduleOf = (name: string, source: string): string => {
  const path = join(directory.path, name);
  writeFileSync(path, source);
  return pathToFileURL(path).href;
};
const transformModule = (name: string, body: string, definitions = versions) =>
  moduleOf(
    name,
    `import { defineTransform, drop } from ${JSON.stringify(transformUrl)};
     export default defineTransform(${definitions}, (city) => { ${body} });`,
  );

const target = definitionData(CityV2);
let setups = 0;
const setupOf = (module: string | undefined): TransformSetup => ({
  id: `setup ${setups++}`,
  modelName: 'City',
  module,
  stored: [{ schemaId: 1, version: '1.0', data: definitionData(CityV1) }],
  target: { schemaId: 2, version: '2.0', data: target },
  references: {},
  sourcePrefix: Buffer.from('r'),
  targetPrefix: Buffer.from('r'),
  keyChanged: false,
  indexes: target.indexes.map((index) => ({ index, prefix: Buffer.from('i'), mode: 'fill' })),
  onPoison: 'fail',
  quarantinePrefix: Buffer.from('q'),
});

const chunkOf = (count: number): ArrayBuffer => {
  const keys = createKeyCodec(definitionData(CityV1));
  const codec = createRecordCodec(definitionData(CityV1));
  const records = Array.from({ length: count }, (_, at) => ({ id: `city ${at}`, lat: `${at / 10}` }));
  return packRecords(
    records.map((record) => ({ key: keys.encodeFromRecord(record), value: codec.encode(record, 1) })),
    0,
  );
};

const pools: WorkerPool<TransformTask, TransformAnswer>[] = [];
const openPool = (options: Parameters<typeof createWorkerPool>[0] = {}) => {
  const pool = createWorkerPool<TransformTask, TransformAnswer>({ maxThreads: 2, ...options });
  pools.push(pool);
  return pool;
};
afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()));
});

type Pool = ReturnType<typeof openPool>;
const transform = async (pool: Pool, setup: TransformSetup, records: ArrayBuffer): Promise<ChunkResult> => {
  const answer = await pool.run({ kind: 'transform', setup, chunk: { records } }, [records]);
  if (answer.kind !== 'transformed') throw new Error(`the worker answered ${JSON.stringify(answer)}`);
  expect(answer.cpuMs).toBeGreaterThan(0);
  return answer.result;
};
const toNumber = 'return { ...city, latitude: Number(city.lat) };';

it('a pool tells how many tasks wait, and how much of it is busy', async () => {
  const pool = openPool({ maxThreads: 2 });
  expect([pool.queued, pool.utilization]).toEqual([0, 0]);
  const setup = setupOf(transformModule('busy.mjs', toNumber));
  const one = transform(pool, setup, chunkOf(1));
  expect([pool.queued, pool.utilization]).toEqual([0, 0.5]);
  const others = [1, 2, 3].map((count) => transform(pool, setup, chunkOf(count)));
  expect([pool.queued, pool.utilization]).toEqual([2, 1]);
  await Promise.all([one, ...others]);
  expect([pool.queued, pool.utilization]).toEqual([0, 0]);
});

describe('a worker thread', () => {
  it('transforms a chunk by a TypeScript module as the main thread would', async () => {
    const pool = openPool();
    const module = transformModule(
      'city.ts',
      `const latitude: number = Number(city.lat); return { ...city, latitude };`,
    );
    const setup = setupOf(module);
    const records = chunkOf(500);
    const inline = defineTransform(CityV1, CityV2, (city) => ({ ...city, latitude: Number(city.lat) }));
    const expected = compileTransform(setup, inline.transform)({ records: records.slice(0) });

    const result = await transform(pool, setup, records);

    expect(records.byteLength).toBe(0);
    expect([...readMutations(result.mutations)]).toEqual([...readMutations(expected.mutations)]);
    expect(result.counts).toEqual(expected.counts);
    expect(result.counts.moved).toBe(500);
  });

  it('tells which record failed and why', async () => {
    const module = transformModule(
      'fails.mjs',
      `if (city.lat === '0.1') throw new Error('not this'); ${toNumber}`,
    );
    const { failures } = await transform(openPool(), setupOf(module), chunkOf(3));
    expect(failures).toEqual([
      expect.objectContaining({
        ordinal: 1,
        code: 'TRANSFORM_FAILED',
        message: expect.stringContaining('not this'),
      }),
    ]);
  });
});

describe('the check of a module', () => {
  const check = (module: string) => openPool().run({ kind: 'check', setup: setupOf(module) });

  it('accepts a transform between the two versions', async () => {
    await expect(check(transformModule('fits.mjs', toNumber))).resolves.toEqual({ kind: 'checked' });
  });

  it('accepts one without a source, and one that was compiled to CommonJS', async () => {
    const anySource = transformModule('any-source.mjs', toNumber, `{ name: 'City', version: '2.0' }`);
    await expect(check(anySource)).resolves.toEqual({ kind: 'checked' });
    const commonJs = moduleOf(
      'compiled.cjs',
      `Object.defineProperty(exports, '__esModule', { value: true });
       exports.default = Object.freeze({
         kind: 'transform', target: { name: 'City', version: '2.0' }, transform: (city) => city,
         [Symbol.for('godwit.transform')]: true,
       });`,
    );
    await expect(check(commonJs)).resolves.toEqual({ kind: 'checked' });
  });

  it.each([
    ['is not there', () => pathToFileURL(join(directory.path, 'absent.mjs')).href, /cannot be loaded/],
    ['throws', () => moduleOf('throws.mjs', `throw new Error('on load');`), /Error: on load/],
    [
      'exports something else',
      () => moduleOf('other.mjs', 'export default (city) => city;'),
      /no default export/,
    ],
    [
      'makes records of another version',
      () => transformModule('newer.mjs', toNumber, `{ name: 'City', version: '3.0' }`),
      /City 3\.0, not of City 2\.0/,
    ],
    [
      'takes records of another version',
      () =>
        transformModule(
          'older.mjs',
          toNumber,
          `{ name: 'City', version: '0.5' }, { name: 'City', version: '2.0' }`,
        ),
      /City 0\.5, but they are of City 1\.0/,
    ],
  ])('refuses a module that %s', async (_what, module, message) => {
    await expect(check(module())).resolves.toEqual({
      kind: 'invalid',
      message: expect.stringMatching(message),
    });
  });
});

describe('a pool', () => {
  it('starts threads with the first task, at most as many as it may, and answers every task', async () => {
    const pool = openPool();
    expect(pool.threads).toBe(0);
    const setup = setupOf(transformModule('many.mjs', toNumber));
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, at) => transform(pool, setup, chunkOf(at))),
    );
    expect(results.map(({ counts }) => counts.moved)).toEqual(Array.from({ length: 20 }, (_, at) => at));
    expect(pool.threads).toBeGreaterThan(0);
    expect(pool.threads).toBeLessThanOrEqual(2);
    expect(pool.completed).toBe(20);
  });

  it('says so when a thread ends itself, and goes on with another', async () => {
    const pool = openPool();
    const exits = transformModule('exits.mjs', 'process.exit(3);');
    const crash = transform(pool, setupOf(exits), chunkOf(1));
    await expect(crash).rejects.toMatchObject({ name: 'WorkerCrashed', reason: 'exited' });
    const result = await transform(pool, setupOf(transformModule('after-exit.mjs', toNumber)), chunkOf(2));
    expect(result.counts.moved).toBe(2);
  });

  it('ends a thread that hangs, and goes on with another', async () => {
    const pool = openPool({ maxThreads: 1, taskTimeoutMs: 3_000 });
    const hang = transform(pool, setupOf(transformModule('hangs.mjs', 'for (;;);')), chunkOf(1));
    const next = transform(pool, setupOf(transformModule('after-hang.mjs', toNumber)), chunkOf(2));
    await expect(hang).rejects.toThrow(WorkerCrashed);
    await expect(hang).rejects.toMatchObject({ reason: 'timedOut' });
    expect((await next).counts.moved).toBe(2);
  });

  it('refuses tasks once it is closed, also those that waited, and ends its threads', async () => {
    const pool = openPool({ maxThreads: 1 });
    const setup = setupOf(transformModule('closing.mjs', toNumber));
    const running = transform(pool, setup, chunkOf(1));
    const waiting = transform(pool, setup, chunkOf(1));
    await Promise.all([expect(waiting).rejects.toThrow(WorkerPoolClosed), pool.close(), pool.close()]);
    expect((await running).counts.moved).toBe(1);
    await expect(pool.run({ kind: 'check', setup })).rejects.toThrow(WorkerPoolClosed);
    expect(pool.threads).toBe(0);
  });

  it('does not keep a process alive that has nothing else to do', async () => {
    const pool = new URL('../../src/ports/pool.ts', import.meta.url).href;
    const setup = setupOf(transformModule('idle.mjs', toNumber));
    const script = moduleOf(
      'idle-main.ts',
      `import { createWorkerPool } from ${JSON.stringify(pool)};
       const pool = createWorkerPool({ maxThreads: 1 });
       const setup = ${JSON.stringify({ ...setup, sourcePrefix: [], targetPrefix: [], quarantinePrefix: [], indexes: [] })};
       console.log(JSON.stringify(await pool.run({ kind: 'check', setup })), pool.threads);`,
    );
    const child = spawn(process.execPath, ['--import', 'tsx', fileURLToPath(script)], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      stdio: ['ignore', 'pipe', 'inherit'],
      // Idle threads are kept for 10 s: an end before that is not theirs.
      timeout: 9_000,
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    expect({ code, signal, output }).toEqual({ code: 0, signal: null, output: '{"kind":"checked"} 1\n' });
  });
});
