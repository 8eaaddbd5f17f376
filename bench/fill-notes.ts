import { FoundationDBDataStore } from '../src/index.ts';
import { noteModelId, NoteV1 } from './cluster-models.ts';
import type { createNote } from './cluster-models.ts';
import { benchSubspace } from './models.ts';

const recordsPerFill = 500;

/** Notes of version 1, from 0. */
export async function fillNotes(
  directory: string,
  records: number,
  noteOf: (n: number) => ReturnType<typeof createNote>,
): Promise<void> {
  const store = await FoundationDBDataStore.open({
    database: `embedded:${directory}`,
    subspace: benchSubspace,
    dataModelsById: { [noteModelId]: NoteV1 },
  });
  for (let from = 0; from < records; from += recordsPerFill) {
    await store.transact(async (tx) => {
      for (let n = from; n < Math.min(records, from + recordsPerFill); n += 1) {
        await tx.model(NoteV1).add(noteOf(n));
      }
    });
  }
  await store.close();
}
