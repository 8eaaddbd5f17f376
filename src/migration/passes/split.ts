import type { Transaction } from '../../kv/kv.ts';
import { limits } from '../../limits.ts';
import type { ModelKeys, PassName } from '../../records/keys.ts';
import { behindRecord, roundDownToRecord } from '../../records/record-rows.ts';
import type { Amount } from './effort.ts';
import type { RangeRow } from './ledger.ts';
import { createRange, readRange, writeRange } from './ledger.ts';

export interface SplitOptions {
  readonly keys: ModelKeys;
  readonly pass: PassName;
  /** As they were seen; the one that is cut is read again. */
  readonly rows: readonly RangeRow[];
  /** Of whoever wants a part. */
  readonly session: string;
  readonly leastRecords: number;
}

const maxRanges = limits.migration.splitRanges.value;
/** Neither part is smaller (protocol 6), unless it takes longer than that is meant to take: records can be dear. */
export const leastSplitRecords = 1_000;
/** By the estimate of the database, which is what there is without reading it all. */
const minBytes = 64_000;
/** What its mover moves in this time is worth a cut, however few records that are. Milliseconds. */
const worthMs = 500;
/**
 * A range is cut no more often: once per second (protocol 6) by the versions of the database, of which there are about a
 * million in one. They are the same for everybody, as no two wall clocks are.
 */
const minIntervalVersions = 1_000_000;
/** What is read at most to see whether a part is large enough: as much as that is, however few its records are. */
const enoughBytes = 1_000_000;
/** The largest may be what nobody can cut: so many are looked at. */
const triedAtMost = 3;

/**
 * Cuts what another process has before it, so that all finish together: behind its cursor and two chunks, at about the
 * middle of the rest. The first part stays with whoever moves it, who sees the new end with its next chunk. Undefined
 * where nothing is worth it.
 */
export async function splitRange(
  tx: Transaction,
  { keys, pass, rows, session, leastRecords }: SplitOptions,
): Promise<{ readonly number: number; readonly row: RangeRow } | undefined> {
  if (rows.length >= maxRanges) return undefined;
  const version = Number(await tx.getReadVersion());
  const candidates = rows
    .map((row, number) => ({ row, number, left: row.weight * (1 - row.share) }))
    .filter(({ row }) => !row.done && row.claim !== null && row.claim.session !== session)
    .filter(({ row }) => row.splitVersion === undefined || version - row.splitVersion >= minIntervalVersions)
    .toSorted((one, other) => other.left - one.left);
  for (const candidate of candidates.slice(0, triedAtMost)) {
    const cut = await cutOf(tx, candidate.row, leastRecords);
    if (cut === undefined) continue;
    // Normally: of two who cut a range, or add one, at once one conflicts, and so does its mover.
    const row = await readRange(tx, keys, pass, candidate.number);
    const number = rows.length;
    const isFree = (await tx.get(keys.range(pass, number))) === undefined;
    if (row === undefined || row.done || row.seq !== candidate.row.seq || !isFree) return undefined;
    return writeParts(tx, { keys, pass, row, number: candidate.number, cut, version, added: number });
  }
  return undefined;
}

interface Parts extends Pick<SplitOptions, 'keys' | 'pass'> {
  readonly row: RangeRow;
  readonly number: number;
  readonly cut: Buffer;
  readonly version: number;
  /** The number of the second part. */
  readonly added: number;
}

/** The first part stays as it was, but for its end. The second is left to whoever claims it. */
function writeParts(tx: Transaction, { keys, pass, row, number, cut, version, added }: Parts) {
  // The cut is in the middle of the bytes, wherever that is among the keys. Weights are whole, so that their sum stays.
  const given = Math.floor((row.weight * (1 - row.share)) / 2);
  const weight = row.weight - given;
  const estimates = halvesOf(row);
  writeRange(tx, keys, pass, number, {
    ...row,
    end: cut.toString('base64'),
    lastKey: undefined,
    weight,
    estimate: estimates?.first,
    share: shareOf(row, weight),
    splitVersion: version,
  });
  const rest = { begin: cut, end: Buffer.from(row.end, 'base64') };
  return {
    number: added,
    row: {
      ...createRange(rest, 0),
      lastKey: row.lastKey,
      weight: given,
      estimate: estimates?.rest,
      splitVersion: version,
    },
  };
}

/** Of what is left, each part has half. */
function halvesOf({ estimate, effort }: RangeRow) {
  if (estimate === undefined) return undefined;
  const half = (of: (amount: Amount) => number) =>
    Math.round(Math.max(0, of(estimate) - (effort === undefined ? 0 : of(effort))) / 2);
  const rest = { records: half(({ records }) => records), bytes: half(({ bytes }) => bytes) };
  return { rest, first: { records: estimate.records - rest.records, bytes: estimate.bytes - rest.bytes } };
}

/** What was done is as much as before: never less, by however little a division rounds. */
const shareOf = (row: RangeRow, weight: number): number =>
  weight === 0 ? 0 : Math.min(0.999_999, ((row.weight * row.share) / weight) * (1 + 1e-12));

async function cutOf(tx: Transaction, row: RangeRow, leastRecords: number): Promise<Buffer | undefined> {
  const begin = beginOf(row);
  const end = Buffer.from(row.end, 'base64');
  const bytes = await tx.getEstimatedRangeSizeBytes(begin, end);
  const part = partOf(row, leastRecords);
  if (bytes < 2 * part * minBytes) return undefined;
  const chunk = row.seq === 0 ? 0 : row.recordsRead / row.seq;
  const points = await tx.getRangeSplitPoints(begin, end, Math.ceil(bytes / 2));
  const least = await behindSome(tx, begin, end, Math.max(part * leastRecords, 2 * chunk));
  if (least === undefined) return undefined;
  for (const point of points.slice(1, -1)) {
    const cut = await roundDownToRecord(tx, point);
    if (cut.compare(least) <= 0 || cut.compare(end) >= 0) continue;
    const sizes = await Promise.all([
      tx.getEstimatedRangeSizeBytes(begin, cut),
      tx.getEstimatedRangeSizeBytes(cut, end),
    ]);
    if (Math.min(...sizes) < part * minBytes) continue;
    if ((await behindSome(tx, cut, end, part * leastRecords)) !== undefined) return cut;
  }
  return undefined;
}

/** Behind the first so many records, or fewer large ones; undefined where there are not enough. */
async function behindSome(
  tx: Transaction,
  begin: Buffer,
  end: Buffer,
  records: number,
): Promise<Buffer | undefined> {
  const limit = Math.max(1, Math.ceil(records));
  const rows = await tx.getRangeAll(begin, end, { limit, snapshot: true, targetBytes: enoughBytes });
  const read = rows.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
  const last = rows.at(-1)?.key;
  return last === undefined || (rows.length < limit && read < enoughBytes) ? undefined : behindRecord(last);
}

/** How much of the least is enough, 0 to 1: all of it where nothing is known of the pace. */
function partOf({ recordsPerSecond }: RangeRow, leastRecords: number): number {
  const worth = (recordsPerSecond * worthMs) / 1_000;
  return worth === 0 ? 1 : Math.min(1, worth / leastRecords);
}

const beginOf = ({ begin, cursor }: RangeRow): Buffer =>
  cursor === null ? Buffer.from(begin, 'base64') : behindRecord(Buffer.from(cursor, 'base64'));
