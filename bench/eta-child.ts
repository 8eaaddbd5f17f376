/** Moves notes whose keys, sizes and costs are even or not, and writes down what was said about the time that is left. */
import { backfill, FoundationDBDataStore } from '../src/index.ts';
import { createNote, noteModelId, NoteV2 } from './cluster-models.ts';
import { fillNotes } from './fill-notes.ts';
import { benchSubspace } from './models.ts';
import { answer, readTask } from './run-child.ts';

export type EtaData = 'uniform' | 'skewed sizes' | 'skewed costs' | 'skewed keys';

export interface EtaTask {
  readonly kind: 'fill' | 'migrate';
  readonly directory: string;
  readonly data: EtaData;
  readonly records: number;
  /** Default: none. */
  readonly mostPerSecond?: number;
}

/** What a status said, so long after the backfill began. */
export interface EtaSample {
  readonly ms: number;
  /** Null: unknown. */
  readonly etaMs: number | null;
  readonly fraction: number | null;
}

export interface EtaReport {
  readonly samples: readonly EtaSample[];
  /** Of the backfill. */
  readonly tookMs: number;
}

/** Keys of which nine tenths lie in the first tenth of their interval. */
const skewed = (n: number, records: number) =>
  n < records * 0.9 ? n : Math.round(records * 0.9 + (n - records * 0.9) * 81);

const sizesOf: Readonly<Record<EtaData, 'uniform' | 'skewed' | 'heavy'>> = {
  uniform: 'uniform',
  'skewed sizes': 'skewed',
  'skewed costs': 'heavy',
  'skewed keys': 'uniform',
};

async function fill({ directory, records, data }: EtaTask): Promise<void> {
  await fillNotes(directory, records, (n) => {
    const note = createNote(n, records, sizesOf[data]);
    return data === 'skewed keys' ? { ...note, id: BigInt(skewed(n, records)) } : note;
  });
}

/** @throws Error where a record was not moved once */
async function migrate({ directory, records, mostPerSecond }: EtaTask): Promise<EtaReport> {
  const samples: EtaSample[] = [];
  let beganMs = Number.NaN;
  let endedMs = Number.NaN;
  const store = await FoundationDBDataStore.open({
    database: `embedded:${directory}`,
    subspace: benchSubspace,
    dataModelsById: { [noteModelId]: NoteV2 },
    migrationHandler: backfill({ module: new URL('./costly-transform.js', import.meta.url) }),
    migrationMaxRecordsPerSecond: mostPerSecond,
    migrationStartupBudgetMs: 0,
    continueMigrationsInBackground: true,
    migrationAuditEventReporter({ type, phase }) {
      if (phase !== 'Backfill') return;
      if (type === 'PhaseStarted') beganMs = performance.now();
      if (type === 'PhaseCompleted') endedMs = performance.now();
    },
  });
  const listening = (async () => {
    for await (const event of store.migrationEvents()) {
      const ms = performance.now() - beganMs;
      if (event.type !== 'status' || event.status.phase !== 'Backfill' || !(ms >= 0)) continue;
      if (!Number.isNaN(endedMs)) continue;
      const { etaMs, progress } = event.status;
      samples.push({ ms, etaMs, fraction: progress.fraction });
    }
  })();
  await store.awaitMigration(noteModelId);
  let n = 0;
  for await (const { moves } of store.model(NoteV2).scan({ pageSize: 500 })) {
    if (moves !== 1) throw new Error(`note ${n} was moved ${moves} times`);
    n += 1;
  }
  if (n !== records) throw new Error(`there are ${n} notes instead of ${records}`);
  await store.close();
  await listening;
  return { samples, tookMs: endedMs - beganMs };
}

const task = readTask<EtaTask>();
if (task.kind === 'fill') await fill(task);
answer(task.kind === 'fill' ? null : await migrate(task));
