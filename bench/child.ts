import { createHash } from 'node:crypto';
import { backfill, FoundationDBDataStore, openDatabase } from '../src/index.ts';
import type { KeyValueDatabase } from '../src/index.ts';
import { definitionData } from '../src/model/normalize.ts';
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

async function migrate(directory: string): Promise<Times> {
  const begun = new Map<string, ReturnType<typeof measure>>();
  const took = new Map<string, Measured>();
  const endOpen = measure();
  const store = await FoundationDBDataStore.open({
    database: `embedded:${directory}`,
    subspace: benchSubspace,
    dataModelsById: { [placeModelId]: PlaceV2 },
    migrationHandler: backfill({
      module: new URL(`./transform${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url),
    }),
    migrationAuditEventReporter({ type, phase }) {
      if (phase === null) return;
      if (type === 'PhaseStarted') begun.set(phase, measure());
      const end = type === 'PhaseCompleted' ? begun.get(phase) : undefined;
      if (end !== undefined) took.set(phase, end());
    },
  });
  const { ms: openMs } = endOpen();
  await store.close();
  const [work, verify] = [took.get('Backfill'), took.get('Verify')];
  if (work === undefined || verify === undefined) throw new Error('a phase was not told of');
  return { ...asWork(work), verifyMs: verify.ms, openMs };
}

const asWork = ({ ms, cpuMs, mainCpuMs }: Measured) => ({
  workMs: ms,
  workCpuMs: cpuMs,
  workMainCpuMs: mainCpuMs,
});

async function loop(directory: string): Promise<Times> {
  const database = await openDatabase(`embedded:${directory}`);
  const end = measure();
  await runLoop(database);
  const work = end();
  await database.close();
  return { ...asWork(work), verifyMs: 0, openMs: work.ms };
}

async function lmdbLoop(directory: string): Promise<Times> {
  let took: Measured | undefined;
  await runLmdbLoop(directory, async (work) => {
    const end = measure();
    await work();
    took = end();
  });
  if (took === undefined) throw new Error('nothing was measured');
  return { ...asWork(took), verifyMs: 0, openMs: took.ms };
}

const movers: Readonly<Record<Side, (directory: string) => Promise<Times>>> = {
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
  const codec = createRecordCodec(definitionData(PlaceV2));
  const hash = createHash('sha256');
  let recordBytes = 0;
  let n = 0;
  for await (const { key, value } of rowsOf(database, rangeOf(keys.records(target.keySpace)))) {
    const { record, schemaId } = codec.decode(value);
    if (record['id'] !== BigInt(n) || record['latitude'] !== latitudeOf(n) || schemaId !== target.schemaId) {
      throw new Error(`record ${n} was not migrated`);
    }
    hash.update(key).update(value);
    recordBytes += key.length + value.length;
    n += 1;
  }
  let entries = 0;
  for await (const { key, value } of rowsOf(database, rangeOf(keys.index(target.indexId)))) {
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
  const times = await movers[task.kind](task.directory);
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
