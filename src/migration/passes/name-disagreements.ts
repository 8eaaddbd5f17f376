import type { KeyValue, Transaction } from '../../kv/kv.ts';
import { limits } from '../../limits.ts';
import type { LookedUp } from '../../records/index-agreement.ts';
import type { KeyRange } from '../../records/keys.ts';
import { keyAfter, rangeOf } from '../../records/keys.ts';
import { behindRecord, getRecords, getRows } from '../../records/record-rows.ts';
import { isStopping, readIntent } from '../intent.ts';
import type { HeldMigration, ModelMigration } from '../runtime.ts';
import type { PlannedIndex } from '../state.ts';
import { chunkLimits } from './controller.ts';
import type { FindingSample } from './ledger.ts';
import { addSamples } from './ledger.ts';
import { sampleOf } from './drawn.ts';
import { createAgreement } from './verify-pass.ts';

/** What a search for the entries behind a disagreement of sums found. */
export interface NamedDisagreements {
  /** By index id. */
  readonly missing: ReadonlyMap<number, number>;
  readonly unexpected: ReadonlyMap<number, number>;
  /** All rows were walked: there is no more. */
  readonly isComplete: boolean;
  readonly samples: readonly FindingSample[];
}

/**
 * Walks records and entries of indexes once more, looking each up, because sums tell how many entries disagree and not
 * which. Behind the gate nothing changes meanwhile. Bounded, and ended early by an operator or when this process is to
 * stop: what it is for is words in a report.
 */
export async function nameDisagreements(
  migration: ModelMigration,
  held: HeldMigration,
  indexes: readonly PlannedIndex[],
): Promise<NamedDisagreements> {
  const { runtime, model, stop } = migration;
  const agreement = createAgreement(migration, { ...held.state, indexes });
  const counts = { missing: new Map<number, number>(), unexpected: new Map<number, number>() };
  let samples: readonly FindingSample[] = [];
  let rowsLeft = limits.migration.namedRows.value;

  const keep = ({ found }: LookedUp) => {
    for (const { kind, indexId } of found) {
      if (kind === 'record') continue;
      counts[kind].set(indexId, (counts[kind].get(indexId) ?? 0) + 1);
    }
    samples = addSamples(samples, found.filter(({ kind }) => kind !== 'record').map(sampleOf));
  };

  /** Answers whether it came to the end. */
  const walk = async ({ begin, end }: KeyRange, isRecords: boolean): Promise<boolean> => {
    for (let from = begin; ;) {
      if (rowsLeft <= 0 || stop.aborted || held.lease.lost.aborted) return false;
      const limit = Math.min(rowsLeft, chunkLimits.maxRecords);
      const some = await runtime.database.transact(
        (tx) => lookUpSome(tx, { begin: from, end }, isRecords, limit),
        { priority: 'batch' },
      );
      if (some === undefined) return false;
      keep(some.looked);
      rowsLeft -= some.looked.rows;
      if (some.atEnd || some.lastKey === undefined) return true;
      from = isRecords ? behindRecord(some.lastKey) : keyAfter(some.lastKey);
    }
  };

  const lookUpSome = async (tx: Transaction, range: KeyRange, isRecords: boolean, limit: number) => {
    if (isStopping(await readIntent(tx, model.keys, held.state.migrationId))) return undefined;
    const options = { snapshot: true, limit, targetBytes: chunkLimits.maxBytes };
    const { rows, atEnd } = await (isRecords ? getRecords : getRows)(tx, range.begin, range.end, options);
    const looked = await (isRecords ? agreement.ofRecords(tx, rows) : agreement.ofEntries(tx, rows));
    const last: KeyValue | undefined = rows[looked.rows - 1];
    return { looked, atEnd: atEnd && looked.rows === rows.length, lastKey: last?.key };
  };

  let isComplete = await walk(rangeOf(model.keys.records(held.state.targetKeySpace)), true);
  for (const { indexId } of indexes) {
    isComplete = (await walk(rangeOf(model.keys.index(indexId)), false)) && isComplete;
  }
  return { ...counts, isComplete, samples };
}
