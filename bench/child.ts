import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { backfill, createWorkerPool, FoundationDBDataStore, openDatabase } from '../src/index.ts';
import type { KeyValueDatabase } from '../src/index.ts';
import { definitionData } from '../src/model/normalize.ts';
import { createIndexEncoder } from '../src/records/index-entries.ts';
import type { KeyRange } from '../src/records/keys.ts';
import { createStoreKeys, keyAfter, rangeOf } from '../src/records/keys.ts';
import { createRecordCodec } from '../src/records/record-codec.ts';
import { runLmdbLoop } from './lmdb-loop.ts';
import { runLoop, target } from './loop.ts';
import type { Measured } from './measure.ts';
import { measure, watchAnonymousMemory } from './measure.ts';
import { benchSubspace, createPlace, latitudeOf, placeModelId, PlaceV1, PlaceV2 } from './models.ts';

/** Who moves the records. */
export type Side = 'godwit' | 'loop' | 'lmdb';

/** What a child process is to do, as its one argument. */
export interface ChildTask {
  readonly kind: 'fill' | Side;
  readonly directory: string;
  readonly records: number;
  /** Godwit's alone. Threads at most; default: as many as a store takes by itself. */
  readonly maxThreads?: number;
  /** Godwit's alone. Default: the cheap one. */
  readonly transform?: 'cheap' | 'costly';
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
}

type Times = Pick<ChildReport, 'workMs' | 'workCpuMs' | 'workMainCpuMs' | 'verifyMs' | 'openMs'>;

/** Rows that are read at once: far below the limits of a transaction. */
const rowsAtATime = 5_000;
const recordsPerFill = 1_000;

async function fill({ directory, records }: ChildTask): Promise<void> {
  const store = await FoundationDBDataStore.open({
    database: `embedded:${directory}`,
    subspace: benchSubspace,
    dataModelsById: { [placeModelId]: PlaceV1 },
  });
  for (let from = 0; from < records; from += recordsPerFill) {
    await store.transact(async (tx) => {
      for (let n = from; n < Math.min(records, from + recordsPerFill); n += 1) {
        await tx.model(PlaceV1).add(createPlace(n));
      }
    });
  }
  await store.close();
}

async function migrate({ directory, maxThreads, transform = 'cheap' }: ChildTask): Promise<Times> {
  const begun = new Map<string, ReturnType<typeof measure>>();
  const took = new Map<string, Measured>();
  const module = transform === 'costly' ? './costly-place-transform' : './transform';
  const pool = maxThreads === undefined ? undefined : createWorkerPool({ maxThreads });
  const endOpen = measure();
  const store = await FoundationDBDataStore.open({
    database: `embedded:${directory}`,
    subspace: benchSubspace,
    dataModelsById: { [placeModelId]: PlaceV2 },
    migrationHandler: backfill({
      module: new URL(`${module}${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url),
    }),
    pool,
    migrationAuditEventReporter({ type, phase }) {
      if (phase === null) return;
      if (type === 'PhaseStarted') begun.set(phase, measure());
      const end = type === 'PhaseCompleted' ? begun.get(phase) : undefined;
      if (end !== undefined) took.set(phase, end());
    },
  });
  const { ms: openMs } = endOpen();
  await store.close();
  await pool?.close();
  const [work, verify] = [took.get('Backfill'), took.get('Verify')];
  if (work === undefined || verify === undefined) throw new Error('a phase was not told of');
  return { ...asWork(work), verifyMs: verify.ms, openMs };
}

const asWork = ({ ms, cpuMs, mainCpuMs }: Measured) => ({
  workMs: ms,
  workCpuMs: cpuMs,
  workMainCpuMs: mainCpuMs,
});

async function loop({ directory }: ChildTask): Promise<Times> {
  const database = await openDatabase(`embedded:${directory}`);
  const end = measure();
  await runLoop(database);
  const work = end();
  await database.close();
  return { ...asWork(work), verifyMs: 0, openMs: work.ms };
}

async function lmdbLoop({ directory }: ChildTask): Promise<Times> {
  let took: Measured | undefined;
  await runLmdbLoop(directory, async (work) => {
    const end = measure();
    await work();
    took = end();
  });
  if (took === undefined) throw new Error('nothing was measured');
  return { ...asWork(took), verifyMs: 0, openMs: took.ms };
}

const movers: Readonly<Record<Side, (task: ChildTask) => Promise<Times>>> = {
  godwit: migrate,
  loop,
  lmdb: lmdbLoop,
};

/** @throws Error where a record or an entry is missing, too many, or not what it should be */
async function check({
  directory,
  records,
}: ChildTask): Promise<Pick<ChildReport, 'digest' | 'recordBytes'>> {
  const database = await openDatabase(`embedded:${directory}`);
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
  for await (const { key, value } of rowsOf(database, rangeOf(recordsPrefix))) {
    const { record, schemaId } = codec.decode(value);
    const expected = { ...createPlace(n), latitude: latitudeOf(n) };
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
  for await (const { key, value } of rowsOf(database, rangeOf(indexPrefix))) {
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

async function* rowsOf(database: KeyValueDatabase, { begin, end }: KeyRange) {
  for (let from = begin; ;) {
    const rows = await database.transact((tx) =>
      tx.getRangeAll(from, end, { snapshot: true, limit: rowsAtATime }),
    );
    const last = rows.at(-1);
    if (last === undefined) return;
    yield* rows;
    from = keyAfter(last.key);
  }
}

async function run(task: ChildTask): Promise<ChildReport | undefined> {
  if (task.kind === 'fill') {
    await fill(task);
    return undefined;
  }
  const stopWatching = watchAnonymousMemory();
  const times = await movers[task.kind](task);
  const peakAnonymousBytes = stopWatching();
  // Before the result is checked: that is not what is measured.
  const peakRssBytes = process.resourceUsage().maxRSS * 1_024;
  return { ...times, ...(await check(task)), peakRssBytes, peakAnonymousBytes };
}

const [argument] = process.argv.slice(2);
if (argument === undefined) throw new Error('a child is given its task as JSON');
const report = await run(JSON.parse(argument) as ChildTask);
process.send?.(report ?? null);
process.disconnect?.();
