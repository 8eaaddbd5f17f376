import type { KeyValue, Transaction } from '../../kv/kv.ts';
import { limits } from '../../limits.ts';
import type { KeyRange } from '../../records/keys.ts';
import { behindRecord, getRecords } from '../../records/record-rows.ts';
import type { Reader } from './reader.ts';
import type { SizeEstimate } from './report.ts';

const measuredRecords = limits.plan.measuredRecords.value;
const countedBytes = limits.plan.countedBytes.value;
const measuredBytes = limits.records.pageBytes.value;

/** Records at the ends of a range. */
export interface Ends {
  readonly records: readonly KeyValue[];
  /** There are no others. */
  readonly isAll: boolean;
}

/** Bounded, however large the range is. */
export async function readEnds(tx: Transaction, { begin, end }: KeyRange): Promise<Ends> {
  // One more shows whether there is one.
  const options = { limit: measuredRecords + 1, targetBytes: measuredBytes, snapshot: true };
  const first = await getRecords(tx, begin, end, options);
  if (first.atEnd) return { records: first.rows, isAll: true };
  const last = await getRecords(tx, begin, end, { ...options, reverse: true });
  const some = [first, last].flatMap(({ rows }) => rows.slice(0, measuredRecords));
  return { records: some, isAll: false };
}

/**
 * How much lies in some ranges. What the database takes for little is counted; of more, the bytes are its estimate, and the
 * records as many as that is by the mean size of those at both ends.
 */
export async function estimateSize(reader: Reader, ranges: readonly KeyRange[]): Promise<SizeEstimate> {
  let sum: SizeEstimate = { records: 0, bytes: 0, isEstimate: false };
  for (const range of ranges) {
    const part = await estimateRange(reader, range);
    sum = {
      records: sum.records + part.records,
      bytes: sum.bytes + part.bytes,
      isEstimate: sum.isEstimate || part.isEstimate,
    };
  }
  return sum;
}

async function estimateRange(reader: Reader, range: KeyRange): Promise<SizeEstimate> {
  // By itself: an engine that counts what lies there may take all the time that a transaction has.
  const estimated = await reader.read((tx) => tx.getEstimatedRangeSizeBytes(range.begin, range.end));
  const counted = estimated <= countedBytes ? await count(reader, range) : undefined;
  if (counted !== undefined) return counted;
  const { records } = await reader.read((tx) => readEnds(tx, range));
  const seen = bytesOf(records);
  const mean = seen / Math.max(1, records.length);
  return { records: mean === 0 ? 0 : Math.round(estimated / mean), bytes: estimated, isEstimate: true };
}

/** Undefined where there is far more than was estimated. */
async function count(reader: Reader, { begin, end }: KeyRange): Promise<SizeEstimate | undefined> {
  const options = { limit: limits.records.countedRecords.value, targetBytes: measuredBytes, snapshot: true };
  let records = 0;
  let bytes = 0;
  for (let from = begin; bytes <= 2 * countedBytes;) {
    const { rows, atEnd } = await reader.read((tx) => getRecords(tx, from, end, options));
    records += rows.length;
    bytes += bytesOf(rows);
    const last = rows.at(-1);
    if (last === undefined || atEnd) return { records, bytes, isEstimate: false };
    from = behindRecord(last.key);
  }
  return undefined;
}

const bytesOf = (rows: readonly KeyValue[]): number =>
  rows.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
