import type { KeyRange, PassName } from '../../records/keys.ts';
import type { HeldMigration, ModelMigration } from '../runtime.ts';
import { maxRangesPerPass, planRanges, readRanges, writeRange } from './ledger.ts';
import type { MoveEnd, Pass } from './mover.ts';
import { movePass } from './mover.ts';
import { withDuplicates } from './name-duplicates.ts';

/** Runs a pass over slices of the key space, from where its ranges stand: a restart finds them. */
export async function runPass(
  migration: ModelMigration,
  held: HeldMigration,
  pass: Pass,
  slices: readonly KeyRange[],
): Promise<MoveEnd> {
  await ensureRanges(migration, held, pass.name, slices);
  try {
    return await movePass(migration, held, pass, { role: 'leader' });
  } catch (error) {
    throw await withDuplicates(migration, held, pass, error);
  }
}

/** Plans the ranges of a pass once. */
async function ensureRanges(
  { runtime, model }: ModelMigration,
  held: HeldMigration,
  pass: PassName,
  slices: readonly KeyRange[],
): Promise<void> {
  const { database } = runtime;
  const isPlanned = await database.transact(
    async (tx) => (await readRanges(tx, model.keys, pass, { snapshot: true })).length > 0,
  );
  if (isPlanned) return;
  const most = Math.max(1, Math.floor(maxRangesPerPass / slices.length));
  const planned = (await Promise.all(slices.map((slice) => planRanges(database, slice, most)))).flat();
  const isFirst = await database.transact(async (tx) => {
    const [rows] = await Promise.all([readRanges(tx, model.keys, pass), held.lease.guard(tx)]);
    if (rows.length > 0) return false;
    planned.forEach((row, number) => writeRange(tx, model.keys, pass, number, row));
    return true;
  });
  if (isFirst) runtime.hints.tell(model.id);
}
