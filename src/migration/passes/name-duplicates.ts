import { createHash } from 'node:crypto';
import type { Transaction } from '../../kv/kv.ts';
import { limits } from '../../limits.ts';
import { behindRecord } from '../../records/record-rows.ts';
import type { DuplicatePair } from '../duplicates.ts';
import { duplicatePair, duplicatesOf, notUnique } from '../duplicates.ts';
import { isStopping, readIntent } from '../intent.ts';
import type { HeldMigration, ModelMigration } from '../runtime.ts';
import { chunkLimits } from './controller.ts';
import { readRanges } from './ledger.ts';
import type { Pass } from './mover.ts';

/** A row of a unique index that a record demands. */
export interface DemandedRow {
  readonly index: string;
  /** Key and value of the row. */
  readonly entry: { readonly key: Buffer; readonly value: Buffer };
  /** Of the record, where it lies now. */
  readonly recordKey: Buffer;
}

/** What a slice of records demands of unique indexes, in the order of their keys. Nothing of it is written. */
export interface UniqueDemand {
  readonly rows: readonly DemandedRow[];
  readonly records: number;
  /** Key of the last record in it; undefined when it has none. */
  readonly lastKey: Buffer | undefined;
  readonly atEnd: boolean;
}

const maxPairs = limits.migration.listedDuplicates.value;
const maxRows = limits.migration.comparedRows.value;
const maxMs = limits.migration.comparedMs.value;
const rowsAtOnce = limits.migration.lookedUpRows.value;

/**
 * What a pass failed for: where that is a duplicate, with the first others by key. An error that is no duplicate is
 * answered as it is, and so is one that nothing can be added to: what went wrong must be written in any case.
 */
export async function withDuplicates(
  migration: ModelMigration,
  held: HeldMigration,
  pass: Pass,
  error: unknown,
): Promise<unknown> {
  const met = duplicatesOf(error);
  if (met === undefined || pass.demandUnique === undefined) return error;
  try {
    const { pairs, isComplete } = await nameDuplicates(migration, held, pass);
    const isMet = (pair: DuplicatePair) =>
      pairs.some(({ index, key }) => index === pair.index && key === pair.key);
    // A search that was cut off may not have come to what it was begun for.
    return notUnique(migration.model.name, [...pairs, ...met.filter((pair) => !isMet(pair))], isComplete);
  } catch (cause) {
    held.logger.warn({ err: cause }, 'duplicates of unique values could not be listed');
    return error;
  }
}

/**
 * Looks for records with the same unique values among those that the pass has not written: what it has written is free
 * of them, so each pair has one of these. Only reads, in short transactions. Bounded, and ended early by an operator or
 * when this process is to stop. Where the gate is open, records may have changed since.
 */
export async function nameDuplicates(
  { runtime, model, stop }: ModelMigration,
  held: HeldMigration,
  { name, demandUnique }: Pick<Pass, 'name' | 'demandUnique'>,
): Promise<{ readonly pairs: readonly DuplicatePair[]; readonly isComplete: boolean }> {
  if (demandUnique === undefined) return { pairs: [], isComplete: false };
  const { clock, database } = runtime;
  const signal = AbortSignal.any([stop, held.lease.lost]);
  const startedMs = clock.monotonicMs();
  const pairs: DuplicatePair[] = [];
  /** By a hash of the row's key, which may be long: the key of the first record that demands it. */
  const demanded = new Map<string, Buffer>();
  let rowsLeft = maxRows;

  const mayGoOn = () => rowsLeft > 0 && !signal.aborted && clock.monotonicMs() - startedMs < maxMs;

  /** Answers whether there may be more to find. */
  const compare = (rows: readonly DemandedRow[], owners: readonly (Buffer | undefined)[]): boolean => {
    for (const [at, { index, entry, recordKey }] of rows.entries()) {
      const hash = createHash('sha256').update(entry.key).digest('base64');
      const owner = owners[at];
      // The value of a unique entry is a mark, then the key of its record.
      const written = owner === undefined || owner.equals(entry.value) ? undefined : owner.subarray(1);
      const first = written ?? demanded.get(hash);
      if (first === undefined) demanded.set(hash, recordKey);
      else pairs.push(duplicatePair(index, first, recordKey));
      if (pairs.length >= maxPairs) return false;
    }
    return true;
  };

  /** Answers whether it came to the end. */
  const walk = async (begin: Buffer, end: Buffer): Promise<boolean> => {
    for (let from = begin; ;) {
      if (!mayGoOn()) return false;
      const limit = Math.min(rowsLeft, chunkLimits.startRecords);
      const { rows, records, lastKey, atEnd } = await demandUnique(from, end, limit, signal);
      const owners = await database.transact(
        async (tx) => {
          const isStopped = isStopping(await readIntent(tx, model.keys, held.state.migrationId));
          return isStopped ? undefined : readOwners(tx, rows);
        },
        { signal, priority: 'batch' },
      );
      if (owners === undefined || !compare(rows, owners)) return false;
      rowsLeft -= Math.max(records, rows.length);
      if (atEnd || lastKey === undefined) return true;
      from = behindRecord(lastKey);
    }
  };

  const ranges = await database.transact((tx) => readRanges(tx, model.keys, name, { snapshot: true }));
  for (const { begin, end, cursor, done } of ranges) {
    if (done) continue;
    const from = cursor === null ? bytesOf(begin) : behindRecord(bytesOf(cursor));
    if (!(await walk(from, bytesOf(end)))) return { pairs, isComplete: false };
  }
  return { pairs, isComplete: true };
}

async function readOwners(
  tx: Transaction,
  rows: readonly DemandedRow[],
): Promise<readonly (Buffer | undefined)[]> {
  const owners: (Buffer | undefined)[] = [];
  for (let at = 0; at < rows.length; at += rowsAtOnce) {
    const some = rows.slice(at, at + rowsAtOnce);
    owners.push(...(await Promise.all(some.map(({ entry }) => tx.get(entry.key, { snapshot: true })))));
  }
  return owners;
}

const bytesOf = (base64: string): Buffer => Buffer.from(base64, 'base64');
