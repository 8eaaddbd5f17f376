import type { KeyValue, ReadOptions, Transaction } from '../kv/kv.ts';
import { limits } from '../limits.ts';

/**
 * How a record lies in rows. One value takes 100 kB (FoundationDB's documentation, "Known Limitations"): a larger record
 * is cut, its first part under the record's key and the others under that key and one byte more, their number. As no key
 * of a model begins with another, the rows of a record follow each other, and the next record lies behind them all.
 * What is cut has the number of its parts in its second byte. Records in quarantine lie in rows of the same kind.
 */

export const maxPartBytes = limits.records.partBytes.value;

/** Where the number of parts stands. */
const partCountAt = 1;

/** Of a record that is encoded, or of its first row. */
export function partCountOf(bytes: Uint8Array): number {
  return bytes[partCountAt] ?? 1;
}

/** Writes into an encoded record how many parts it will have. */
export function setPartCount(bytes: Uint8Array): void {
  bytes[partCountAt] = Math.max(1, Math.ceil(bytes.length / maxPartBytes));
}

/** The key of a part: 0 is the record's own. */
export function partKey(key: Uint8Array, part: number): Buffer {
  return part === 0 ? Buffer.from(key) : Buffer.concat([key, Buffer.of(part)]);
}

/** Behind a record with all its parts, before the next one. */
export function behindRecord(key: Uint8Array): Buffer {
  return Buffer.concat([key, Buffer.of(0xff)]);
}

/** @param partsBefore of what lies under the key now; those that are left over are cleared */
export function setRecord(tx: Transaction, key: Buffer, bytes: Buffer, partsBefore = 1): void {
  const parts = partCountOf(bytes);
  for (let part = 0; part < parts; part += 1) {
    tx.set(partKey(key, part), bytes.subarray(part * maxPartBytes, (part + 1) * maxPartBytes));
  }
  for (let part = parts; part < partsBefore; part += 1) tx.clear(partKey(key, part));
}

export function clearRecord(tx: Transaction, key: Buffer, partsBefore: number): void {
  for (let part = 0; part < partsBefore; part += 1) tx.clear(partKey(key, part));
}

/** A record whole, by its key. */
export async function getRecord(
  tx: Transaction,
  key: Buffer,
  options?: ReadOptions,
): Promise<Buffer | undefined> {
  const first = await tx.get(key, options);
  return first === undefined ? undefined : withOtherParts(tx, key, first, options);
}

/** How much a record is at most, of which the first row was read. */
export function sizeUpTo(first: Uint8Array): number {
  const parts = partCountOf(first);
  return parts === 1 ? first.length : parts * maxPartBytes;
}

/** A record whole, of which the first row was read. */
export async function withOtherParts(
  tx: Transaction,
  key: Buffer,
  first: Buffer,
  options?: ReadOptions,
): Promise<Buffer> {
  const parts = partCountOf(first);
  if (parts === 1) return first;
  const rows = await tx.getRangeAll(partKey(key, 1), partKey(key, parts), options);
  return Buffer.concat([first, ...rows.map(({ value }) => value)]);
}

export interface RowsInRange {
  /** Of records: whole ones, under their own keys. */
  readonly rows: readonly KeyValue[];
  /** Nothing lies behind them. */
  readonly atEnd: boolean;
}

export interface RecordRangeOptions {
  readonly limit: number;
  /** Of keys and values; the record that passes it is the last, and whole. */
  readonly targetBytes: number;
  readonly snapshot?: boolean | undefined;
  readonly reverse?: boolean | undefined;
}

/** The same for rows that are whole by themselves: entries of an index. */
export async function getRows(
  tx: Transaction,
  begin: Buffer,
  end: Buffer,
  options: RecordRangeOptions,
): Promise<RowsInRange> {
  const rows = await tx.getRangeAll(begin, end, options);
  const bytes = rows.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
  return { rows, atEnd: rows.length < options.limit && bytes < options.targetBytes };
}

/**
 * Whole records of a range in order, at most `limit`. `begin` is where a record begins, or behind one (`behindRecord`),
 * and so is `end`.
 */
export async function getRecords(
  tx: Transaction,
  begin: Buffer,
  end: Buffer,
  { limit, targetBytes, snapshot = false, reverse = false }: RecordRangeOptions,
): Promise<RowsInRange> {
  const raw = await getRows(tx, begin, end, { limit, targetBytes, snapshot, reverse });
  const join = reverse ? joinBackwards : joinForwards;
  return { rows: await join(tx, raw.rows, { snapshot }), atEnd: raw.atEnd };
}

async function joinForwards(
  tx: Transaction,
  rows: readonly KeyValue[],
  options: ReadOptions,
): Promise<readonly KeyValue[]> {
  if (rows.every(({ value }) => value.length < maxPartBytes)) return rows;
  const records: KeyValue[] = [];
  for (let at = 0; at < rows.length;) {
    const { key, value } = rows[at] as KeyValue;
    const others = rows.slice(at + 1, at + partCountOf(value));
    const isWhole = others.length === partCountOf(value) - 1;
    records.push({
      key,
      value: isWhole
        ? joined(value, others)
        : // The limit cut it.
          await withOtherParts(tx, key, value, options),
    });
    at += 1 + others.length;
  }
  return records;
}

/** The parts of a record come before the row that says that they are parts. */
async function joinBackwards(
  tx: Transaction,
  rows: readonly KeyValue[],
  options: ReadOptions,
): Promise<readonly KeyValue[]> {
  const records: KeyValue[] = [];
  for (let at = 0; at < rows.length; at += 1) {
    const row = rows[at] as KeyValue;
    const owner = await ownerOf(tx, row.key, options);
    if (owner === undefined) records.push(row);
    else {
      // Its other rows come next, as far as the limit did not cut them.
      while (at + 1 < rows.length && owner.key.compare((rows[at + 1] as KeyValue).key) <= 0) at += 1;
      records.push({ key: owner.key, value: await withOtherParts(tx, owner.key, owner.value, options) });
    }
  }
  return records;
}

function joined(first: Buffer, others: readonly KeyValue[]): Buffer {
  return others.length === 0 ? first : Buffer.concat([first, ...others.map(({ value }) => value)]);
}

/** The first row of the record that a row is a part of; undefined for a row that begins a record. */
async function ownerOf(tx: Transaction, key: Buffer, options?: ReadOptions): Promise<KeyValue | undefined> {
  const part = key.at(-1) ?? 0;
  if (part === 0 || part >= maxParts) return undefined;
  const recordKey = key.subarray(0, -1);
  const value = await tx.get(recordKey, options);
  return value !== undefined && partCountOf(value) > part ? { key: recordKey, value } : undefined;
}

/** No record has as many: 1 MB are 12 parts. */
const maxParts = 16;

/** A place between records for a place that may be within one. */
export async function roundDownToRecord(tx: Transaction, key: Buffer): Promise<Buffer> {
  return (await ownerOf(tx, key, { snapshot: true }))?.key ?? key;
}
