import type { KeyValue, Transaction } from '../../kv/kv.ts';
import { limits } from '../../limits.ts';
import { chunkLimits } from '../../migration/passes/controller.ts';
import type { Random } from '../../ports/random.ts';
import type { KeyRange } from '../../records/keys.ts';
import { behindRecord, getRecord, getRecords, roundDownToRecord } from '../../records/record-rows.ts';
import { readEnds } from './estimate.ts';
import { alphabetOf, keyBetween } from './key-interpolation.ts';
import type { Reader } from './reader.ts';
import type { SizeEstimate } from './report.ts';

export interface Draw {
  readonly range: KeyRange;
  /** Of the range. */
  readonly size: SizeEstimate;
  readonly count: number;
  readonly random: Pick<Random, 'fraction'>;
}

/** Records handed on together, and read in one transaction. */
const batchRecords = limits.migration.lookedUpRows.value;
const batchBytes = chunkLimits.maxBytes / 2;
const maxSlices = limits.plan.sampledSlices.value;
/** How often chance is asked for a record that it has not drawn yet, on the average, before the sample ends early. */
const drawsPerRecord = 5;
/** Keys are listed, and drawn from the list, where that costs no more than the sample itself. Bytes, records per record. */
const listedBytes = 50_000_000;
const listedPerDrawn = 2;

/**
 * Records of a range by chance, none twice, a few at a time. Where a sample is most of them, all are listed and each is as
 * likely as another. Else slices of about equal bytes are drawn, in a slice a place between its first and last key, and the
 * record at that place or behind it: large records, and those behind a gap in the keys, are drawn more often.
 */
export async function* drawRecords(
  reader: Reader,
  draw: Draw,
): AsyncGenerator<readonly KeyValue[], void, undefined> {
  const { size, count } = draw;
  if (count === 0 || size.records === 0) return;
  const isFew = size.records <= listedPerDrawn * count && size.bytes <= listedBytes;
  const keys = isFew ? await listKeys(reader, draw) : undefined;
  if (keys === undefined) yield* drawPlaces(reader, draw);
  else yield* drawFromList(reader, draw, keys);
}

async function* drawFromList(
  reader: Reader,
  { count, random }: Draw,
  keys: Buffer[],
): AsyncGenerator<readonly KeyValue[], void, undefined> {
  // Each of the first places gets one of those that are left.
  const drawn = Math.min(count, keys.length);
  for (let at = 0; at < drawn; at += 1) {
    const other = at + Math.floor(random.fraction() * (keys.length - at));
    [keys[at], keys[other]] = [keys[other] as Buffer, keys[at] as Buffer];
  }
  for (let at = 0; at < drawn;) {
    const from = at;
    const { records, next } = await reader.read(async (tx) => {
      const found: KeyValue[] = [];
      let until = from;
      for (let bytes = 0; until < drawn && until - from < batchRecords && bytes < batchBytes; until += 1) {
        const key = keys[until] as Buffer;
        const value = await getRecord(tx, key, { snapshot: true });
        // Deleted since the list was made.
        if (value === undefined) continue;
        found.push({ key, value });
        bytes += key.length + value.length;
      }
      return { records: found, next: until };
    });
    at = next;
    if (records.length > 0) yield records;
  }
}

/** Undefined where they are far more than was estimated. */
async function listKeys(reader: Reader, { range, count }: Draw): Promise<Buffer[] | undefined> {
  const { begin, end } = range;
  const keys: Buffer[] = [];
  const options = { limit: chunkLimits.maxRecords, targetBytes: chunkLimits.maxBytes, snapshot: true };
  for (let from = begin; ;) {
    const { rows, atEnd } = await reader.read((tx) => getRecords(tx, from, end, options));
    for (const { key } of rows) keys.push(key);
    const last = rows.at(-1);
    if (last === undefined || atEnd) return keys;
    if (keys.length > 2 * listedPerDrawn * count) return undefined;
    from = behindRecord(last.key);
  }
}

/** First and last key of a part of the range. */
interface Slice {
  readonly first: Buffer;
  readonly last: Buffer;
}

async function* drawPlaces(
  reader: Reader,
  { range, size, count, random }: Draw,
): AsyncGenerator<readonly KeyValue[], void, undefined> {
  const { slices, alphabet } = await readSlices(reader, range, size);
  const drawn = new Set<string>();
  let left = count * drawsPerRecord;
  while (drawn.size < count && left > 0) {
    const places: Buffer[] = [];
    for (; places.length < Math.min(batchRecords, count - drawn.size) && left > 0; left -= 1) {
      const slice = slices[Math.floor(random.fraction() * slices.length)];
      if (slice === undefined) return;
      places.push(keyBetween(slice.first, slice.last, alphabet, random.fraction()));
    }
    // A transaction that is repeated must not find its own records drawn.
    for (let at = 0; at < places.length;) {
      const from = at;
      const { records, next } = await reader.read((tx) => readAtPlaces(tx, range, places, from, drawn));
      at = next;
      for (const { key } of records) drawn.add(key.toString('latin1'));
      if (records.length > 0) yield records;
    }
  }
}

/** Parts of a range, of about equal bytes where the database can tell, and the bytes that its keys are made of. */
export async function readSlices(reader: Reader, range: KeyRange, { bytes }: SizeEstimate) {
  const chunkBytes = Math.max(1, Math.ceil(bytes / maxSlices));
  // By itself: an engine that counts its way may take all the time that a transaction has.
  const raw = await reader.read((tx) => tx.getRangeSplitPoints(range.begin, range.end, chunkBytes));
  const points = raw.slice(0, maxSlices).concat([range.end]);
  return reader.read(async (tx) => {
    const { records } = await readEnds(tx, range);
    const slices: Slice[] = [];
    for (let at = 0; at + 1 < points.length; at += 1) {
      const [begin, end] = [points[at] as Buffer, points[at + 1] as Buffer];
      const [first] = await tx.getRangeAll(begin, end, { limit: 1, snapshot: true });
      const [last] = await tx.getRangeAll(begin, end, { limit: 1, snapshot: true, reverse: true });
      if (first !== undefined && last !== undefined) slices.push({ first: first.key, last: last.key });
    }
    const keys = [...records.map(({ key }) => key), ...slices.flatMap(({ first, last }) => [first, last])];
    return { slices, alphabet: alphabetOf(keys) };
  });
}

async function readAtPlaces(
  tx: Transaction,
  { end }: KeyRange,
  places: readonly Buffer[],
  from: number,
  drawn: ReadonlySet<string>,
): Promise<{ readonly records: readonly KeyValue[]; readonly next: number }> {
  const records = new Map<string, KeyValue>();
  let at = from;
  for (let bytes = 0; at < places.length && bytes < batchBytes; at += 1) {
    const [row] = await tx.getRangeAll(places[at] as Buffer, end, { limit: 1, snapshot: true });
    if (row === undefined) continue;
    // It may be a part of a large record.
    const key = await roundDownToRecord(tx, row.key);
    const name = key.toString('latin1');
    if (drawn.has(name) || records.has(name)) continue;
    const value = await getRecord(tx, key, { snapshot: true });
    if (value === undefined) continue;
    records.set(name, { key, value });
    bytes += key.length + value.length;
  }
  return { records: [...records.values()], next: at };
}
