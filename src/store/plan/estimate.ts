import type { KeyValue, Transaction } from '../../kv/kv.ts';
import { limits } from '../../limits.ts';
import type { KeyRange } from '../../records/keys.ts';
import { getRecords } from '../../records/record-rows.ts';
import type { Reader } from './reader.ts';
import type { SizeEstimate } from './report.ts';

const measuredRecords = limits.plan.measuredRecords.value;
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
  return { records: [...first.rows, ...last.rows], isAll: false };
}

/**
 * How much lies in some ranges: exact for what a few reads show whole; else the bytes by the estimate of the database, and
 * as many records as that is by the mean size of those at both ends.
 */
export async function estimateSize(reader: Reader, ranges: readonly KeyRange[]): Promise<SizeEstimate> {
  let sum: SizeEstimate = { records: 0, bytes: 0, isEstimate: false };
  for (const range of ranges) {
    // Each in a transaction of its own: an engine that counts what lies there may take all the time that one has.
    const part = await reader.read((tx) => estimateRange(tx, range));
    sum = {
      records: sum.records + part.records,
      bytes: sum.bytes + part.bytes,
      isEstimate: sum.isEstimate || part.isEstimate,
    };
  }
  return sum;
}

async function estimateRange(tx: Transaction, range: KeyRange): Promise<SizeEstimate> {
  const { records, isAll } = await readEnds(tx, range);
  const seen = records.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
  if (isAll) return { records: records.length, bytes: seen, isEstimate: false };
  const mean = seen / Math.max(1, records.length);
  // Last, for the same reason. FoundationDB knows little of small ranges: there is at least what was seen at one end.
  const estimated = await tx.getEstimatedRangeSizeBytes(range.begin, range.end);
  const bytes = Math.max(estimated, Math.round(seen / 2));
  return { records: Math.max(1, Math.round(bytes / mean)), bytes, isEstimate: true };
}
