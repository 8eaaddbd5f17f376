/** Fills a directory with places, or moves them in one of four ways and checks what came out. */
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { backfill, createWorkerPool, FoundationDBDataStore, openDatabase } from '../src/index.ts';
import type { KeyValueDatabase } from '../src/index.ts';
import { definitionData } from '../src/model/normalize.ts';
import { createIndexEncoder } from '../src/records/index-entries.ts';
import type { KeyRange } from '../src/records/keys.ts';
import { createStoreKeys, keyAfter, rangeOf } from '../src/records/keys.ts';
import { createRecordCodec } from '../src/records/record-codec.ts';
import { createBindingLoop } from './binding-loop.ts';
import { watchChunkCommits } from './chunk-commits.ts';
import { spend } from './costly-transform.ts';
import { runLmdbLoop } from './lmdb-loop.ts';
import type { LoopOptions } from './loop.ts';
import { runLoop, target } from './loop.ts';
import type { Measured } from './measure.ts';
import { measure, watchAnonymousMemory } from './measure.ts';
import type { PlaceSizes } from './models.ts';
import { benchSubspace, createPlace, latitudeOf, placeModelId, PlaceV1, PlaceV2 } from './models.ts';
import { answer, readTask } from './run-child.ts';

/** Who moves the records: by hand on lmdb and on the key-value port, Godwit with one worker thread and with its default. */
export type Side = 'lmdb' | 'loop' | 'binding' | 'godwit-1' | 'godwit';

/** What a child process is to do. */
export interface ChildTask {
  readonly kind: 'fill' | 'clear' | Side;
  /** Of an embedded database. */
  readonly directory: string;
  /** A FoundationDB cluster instead, by its cluster file: all that is in the bench's subspace there is cleared first. */
  readonly cluster?: string;
  readonly records: number;
  readonly sizes: PlaceSizes;
  /** `costly` takes as long as the environment says: bench/costly-transform.ts. Default `cheap`. */
  readonly transform?: 'cheap' | 'costly';
  /** Whether it is told when which records were moved. Default false. */
  readonly isSampled?: boolean;
  /** For a profile of the moving alone: nothing is verified, and nothing checked. Default false. */
  readonly isBare?: boolean;
}

/** After a commit: so many records were moved, so long after the first chunk began. */
export interface Sample {
  readonly ms: number;
  readonly records: number;
}

/** Milliseconds, on the clock of the child. */
export interface ChildReport {
  readonly workMs: number;
  /** Of all threads of the child while it worked. */
  readonly workCpuMs: number;
  /** Of its main thread alone; null where that cannot be told. */
  readonly workMainCpuMs: number | null;
  readonly verifyMs: number;
  /** From the call of `open` to its return; of the loop: the same as the work. */
  readonly openMs: number;
  /** SHA-256 of all records and index entries, in order. */
  readonly digest: string;
  readonly recordBytes: number;
  readonly peakRssBytes: number;
  /** The same without the pages of files that are mapped into memory; null where that cannot be told. */
  readonly peakAnonymousBytes: number | null;
  /** Where it was asked for. */
  readonly samples: readonly Sample[];
}

type Times = Pick<ChildReport, 'workMs' | 'workCpuMs' | 'workMainCpuMs' | 'verifyMs' | 'openMs'>;

/** Rows that are read at once: far below the limits of a transaction. */
const rowsAtATime: Readonly<Record<PlaceSizes, number>> = { small: 5_000, mixed: 500 };
const recordsPerFill: Readonly<Record<PlaceSizes, number>> = { small: 1_000, mixed: 100 };

const addressOf = ({ directory, cluster }: ChildTask): string =>
  cluster === undefined ? `embedded:${directory}` : `fdb:${cluster}`;

async function clear(task: ChildTask): Promise<void> {
  const database = await openDatabase(addressOf(task));
  const { begin, end } = rangeOf(createStoreKeys(benchSubspace).prefix);
  await database.transact(async (tx) => tx.clearRange(begin, end));
  await database.close();
}

async function fill(task: ChildTask): Promise<void> {
  const { cluster, records, sizes } = task;
  if (cluster !== undefined) await clear(task);
  const store = await FoundationDBDataStore.open({
    database: addressOf(task),
    subspace: benchSubspace,
    dataModelsById: { [placeModelId]: PlaceV1 },
  });
  const step = recordsPerFill[sizes];
  for (let from = 0; from < records; from += step) {
    await store.transact(async (tx) => {
      for (let n = from; n < Math.min(records, from + step); n += 1) {
        await tx.model(PlaceV1).add(createPlace(n, sizes));
      }
    });
  }
  await store.close();
}

class Sampler {
  readonly samples: Sample[] = [];
  readonly #total: number;
  #beganMs = 0;

  constructor(total: number) {
    this.#total = total;
  }

  begin(): void {
    this.#beganMs = performance.now();
  }

  /** What verify reads after it is none of it. */
  moved(records: number): void {
    if ((this.samples.at(-1)?.records ?? 0) >= this.#total) return;
    this.samples.push({ ms: performance.now() - this.#beganMs, records });
  }
}

async function migrate(task: ChildTask, sampler: Sampler | undefined): Promise<Times> {
  const { kind, transform = 'cheap', isBare = false } = task;
  const begun = new Map<string, ReturnType<typeof measure>>();
  const took = new Map<string, Measured>();
  const own = await openDatabase(addressOf(task));
  const pool = kind === 'godwit-1' ? createWorkerPool({ maxThreads: 1 }) : undefined;
  const file = transform === 'costly' ? 'costly-place-transform' : 'transform';
  const endOpen = measure();
  const store = await FoundationDBDataStore.open({
    database: sampler === undefined ? own : watchChunkCommits(own, (records) => sampler.moved(records)),
    subspace: benchSubspace,
    dataModelsById: { [placeModelId]: PlaceV2 },
    migrationHandler: backfill({ module: new URL(`./${file}.js`, import.meta.url) }),
    ...(pool === undefined ? {} : { pool }),
    ...(isBare ? { migrationVerification: 'off' as const } : {}),
    migrationAuditEventReporter({ type, phase }) {
      if (phase === null) return;
      if (type === 'PhaseStarted') begun.set(phase, measure());
      if (type === 'PhaseStarted' && phase === 'Backfill') sampler?.begin();
      const end = type === 'PhaseCompleted' ? begun.get(phase) : undefined;
      if (end !== undefined) took.set(phase, end());
    },
  });
  const { ms: openMs } = endOpen();
  await store.close();
  await pool?.close();
  await own.close();
  const [work, verify] = [took.get('Backfill'), took.get('Verify')];
  if (work === undefined || (verify === undefined && !isBare)) throw new Error('a phase was not told of');
  return { ...asWork(work), verifyMs: verify?.ms ?? 0, openMs };
}

const asWork = ({ ms, cpuMs, mainCpuMs }: Measured) => ({
  workMs: ms,
  workCpuMs: cpuMs,
  workMainCpuMs: mainCpuMs,
});

function loopOptions({ transform }: ChildTask, sampler: Sampler | undefined): LoopOptions {
  let records = 0;
  return {
    spend: transform === 'costly' ? spend : () => undefined,
    moved(more) {
      records += more;
      sampler?.moved(records);
    },
  };
}

async function loop(task: ChildTask, sampler: Sampler | undefined): Promise<Times> {
  const database = await openDatabase(addressOf(task));
  sampler?.begin();
  const end = measure();
  await runLoop(database, loopOptions(task, sampler));
  const work = end();
  await database.close();
  return { ...asWork(work), verifyMs: 0, openMs: work.ms };
}

async function lmdbLoop(task: ChildTask, sampler: Sampler | undefined): Promise<Times> {
  let took: Measured | undefined;
  await runLmdbLoop(task.directory, loopOptions(task, sampler), async (work) => {
    sampler?.begin();
    const end = measure();
    await work();
    took = end();
  });
  if (took === undefined) throw new Error('nothing was measured');
  return { ...asWork(took), verifyMs: 0, openMs: took.ms };
}

/** With the package alone: bench/binding-loop.ts. */
async function bindingLoop(task: ChildTask, sampler: Sampler | undefined): Promise<Times> {
  const { default: fdb } = await import('foundationdb');
  fdb.setAPIVersion(720);
  const database = fdb.open(task.cluster);
  sampler?.begin();
  const end = measure();
  await runLoop(createBindingLoop(database), loopOptions(task, sampler));
  const work = end();
  database.close();
  return { ...asWork(work), verifyMs: 0, openMs: work.ms };
}

const movers: Readonly<Record<Side, typeof migrate>> = {
  godwit: migrate,
  'godwit-1': migrate,
  loop,
  binding: bindingLoop,
  lmdb: lmdbLoop,
};

/** @throws Error where a record or an entry is missing, too many, or not what it should be */
async function check(task: ChildTask): Promise<Pick<ChildReport, 'digest' | 'recordBytes'>> {
  const { records, sizes } = task;
  const database = await openDatabase(addressOf(task));
  const keys = createStoreKeys(benchSubspace).model(placeModelId);
  const wanted = definitionData(PlaceV2);
  const [index] = wanted.indexes;
  if (index === undefined) throw new Error('the model has no index');
  const codec = createRecordCodec(wanted);
  const encoder = createIndexEncoder(wanted, index);
  const recordsPrefix = keys.records(target.keySpace);
  const expectedEntries: Buffer[] = [];
  const hash = createHash('sha256');
  let recordBytes = 0;
  let n = 0;
  const limit = rowsAtATime[sizes];
  for await (const { key, value } of rowsOf(database, rangeOf(recordsPrefix), limit)) {
    const { record, schemaId } = codec.decode(value);
    const expected = { ...createPlace(n, sizes), latitude: latitudeOf(n) };
    if (!isDeepStrictEqual({ ...record }, expected) || schemaId !== target.schemaId) {
      throw new Error(`record ${n} was not migrated`);
    }
    for (const entry of encoder.entries(record, key.subarray(recordsPrefix.length))) {
      expectedEntries.push(entry.key);
    }
    hash.update(key).update(value);
    recordBytes += key.length + value.length;
    n += 1;
  }
  expectedEntries.sort((left, right) => Buffer.compare(left, right));
  const indexPrefix = keys.index(target.indexId);
  let entries = 0;
  for await (const { key, value } of rowsOf(database, rangeOf(indexPrefix), limit)) {
    if (expectedEntries[entries]?.equals(key.subarray(indexPrefix.length)) !== true) {
      throw new Error(`entry ${entries} is none that the records demand`);
    }
    hash.update(key).update(value);
    entries += 1;
  }
  await database.close();
  if (n !== records || entries !== records) {
    throw new Error(`there are ${n} records and ${entries} entries instead of ${records}`);
  }
  return { digest: hash.digest('hex'), recordBytes: recordBytes / Math.max(1, n) };
}

async function* rowsOf(database: KeyValueDatabase, { begin, end }: KeyRange, limit: number) {
  for (let from = begin; ;) {
    const rows = await database.transact((tx) => tx.getRangeAll(from, end, { snapshot: true, limit }));
    const last = rows.at(-1);
    if (last === undefined) return;
    yield* rows;
    from = keyAfter(last.key);
  }
}

async function run(task: ChildTask): Promise<ChildReport | null> {
  if (task.kind === 'fill' || task.kind === 'clear') {
    await (task.kind === 'fill' ? fill : clear)(task);
    return null;
  }
  const sampler = task.isSampled === true ? new Sampler(task.records) : undefined;
  const stopWatching = watchAnonymousMemory();
  const times = await movers[task.kind](task, sampler);
  const peakAnonymousBytes = stopWatching();
  // Before the result is checked: that is not what is measured.
  const peakRssBytes = process.resourceUsage().maxRSS * 1_024;
  const samples = sampler?.samples ?? [];
  const checked = task.isBare === true ? { digest: '', recordBytes: 0 } : await check(task);
  return { ...times, ...checked, peakRssBytes, peakAnonymousBytes, samples };
}

answer(await run(readTask<ChildTask>()));
