import type { KeyValue, KeyValueDatabase, Transaction } from '../../kv/kv.ts';
import { limits } from '../../limits.ts';
import type { KeyRange, ModelKeys, PassName } from '../../records/keys.ts';
import { passNames, rangeOf } from '../../records/keys.ts';
import { getRows, roundDownToRecord } from '../../records/record-rows.ts';
import type { Amount, RangeEffort, TimedEffort } from './effort.ts';
import {
  createRowFormat,
  isBoolean,
  isCount,
  isListOf,
  isNullOr,
  isNumber,
  isOneOf,
  isOptional,
  isShape,
  isString,
} from '../../records/row.ts';

/**
 * The ledger of a pass: the ranges of the key space with their cursors, claims and counts. Each range is one key, written
 * in the transaction that moves its records, so it is always true; no key is shared, so nothing is hot. Progress is the
 * sum over the rows.
 */
export interface RangeRow {
  /** Bytes in base64. Begin inclusive, end exclusive. */
  readonly begin: string;
  readonly end: string;
  /**
   * The first and the last key that were in the slice when it was planned, in base64; of the ranges at its edges alone. The
   * prefix of all keys is much wider than those that there are: progress is reckoned between these.
   */
  readonly firstKey?: string | undefined;
  readonly lastKey?: string | undefined;
  /** The key of the last record read; null before the first. */
  readonly cursor: string | null;
  readonly done: boolean;
  /** Whoever may move records of this range now. */
  readonly claim: RangeClaim | null;
  readonly claimSeq: number;
  /** One more with each commit that advances it: how a repeated transaction knows itself (protocol 4). */
  readonly seq: number;
  readonly recordsRead: number;
  readonly moved: number;
  readonly dropped: number;
  readonly quarantined: number;
  readonly bytes: number;
  /** Its part of the whole, in estimated bytes, at least 1. */
  readonly weight: number;
  /** How much of it is done, by key interpolation: 0 to 1, never falls. */
  readonly share: number;
  /** Of the database at its last split, so that it is not cut up faster than it is moved; absent before the first. */
  readonly splitVersion?: number | undefined;
  /** What was estimated to be in it when it was planned; absent where nobody did. */
  readonly estimate?: Amount | undefined;
  /** Absent before its first chunk. */
  readonly effort?: RangeEffort | undefined;
  /** Its share of what its mover's process moved per second when it was last written; paused time does not count. */
  readonly recordsPerSecond: number;
  /** What Verify adds up: see `IndexSum`. */
  readonly sums: readonly IndexSum[];
  /** Records that are not as they should be. */
  readonly findings: number;
  /** The first of what Verify found, of each kind. */
  readonly samples: readonly FindingSample[];
}

/** A record, or one of its entries, that is not as it should be: by its key, never with values. */
export interface FindingSample {
  readonly kind: 'record' | 'missing' | 'unexpected';
  /** 0 where it is about no index. */
  readonly indexId: number;
  /** Of the record, in hexadecimal digits, cut. */
  readonly key: string;
  readonly problem: string;
}

export interface RangeClaim {
  readonly session: string;
  readonly claimSeq: number;
}

/**
 * How many entries an index has, and the sum of a 64-bit hash of each: entries found by walking the index and entries
 * computed from the records agree both ways exactly when these do, in whatever order they were met.
 */
export interface IndexSum {
  readonly indexId: number;
  readonly side: 'records' | 'entries';
  readonly count: number;
  /** 16 hexadecimal digits; zeros where each entry was looked up instead. */
  readonly sum: string;
  /** Of what was looked up: entries that records lack, or that none of them demands. */
  readonly wrong: number;
}

const rangeFormat = createRowFormat<RangeRow>('range', {
  begin: isString,
  end: isString,
  firstKey: isOptional(isString),
  lastKey: isOptional(isString),
  cursor: isNullOr(isString),
  done: isBoolean,
  claim: isNullOr(isShape<RangeClaim>({ session: isString, claimSeq: isCount })),
  claimSeq: isCount,
  seq: isCount,
  recordsRead: isCount,
  moved: isCount,
  dropped: isCount,
  quarantined: isCount,
  bytes: isCount,
  weight: isNumber,
  share: isNumber,
  recordsPerSecond: isNumber,
  splitVersion: isOptional(isNumber),
  estimate: isOptional(isShape<Amount>({ records: isNumber, bytes: isNumber })),
  effort: isOptional(
    isShape<RangeEffort>({
      records: isNumber,
      bytes: isNumber,
      timed: isShape<TimedEffort>({
        records: isNumber,
        bytes: isNumber,
        ownMs: isNumber,
        sharedMs: isNumber,
        leastMs: isNumber,
      }),
      atMs: isNumber,
    }),
  ),
  sums: isListOf(
    isShape<IndexSum>({
      indexId: isCount,
      side: isOneOf('records', 'entries'),
      count: isCount,
      sum: isString,
      wrong: isCount,
    }),
  ),
  findings: isCount,
  samples: isListOf(
    isShape<FindingSample>({
      kind: isOneOf('record', 'missing', 'unexpected'),
      indexId: isCount,
      key: isString,
      problem: isString,
    }),
  ),
});

export const maxRangesPerPass = limits.migration.ranges.value;
/** Findings that are kept of each kind, and of each index. */
export const maxSamples = limits.migration.findingKeys.value;
/** Hexadecimal digits of such a key. */
export const maxSampleLength = limits.migration.findingKeyDigits.value;
/** Findings that are kept of a range: its row is written with every chunk. */
export const maxSamplesPerRange = 3 * maxSamples;
const maxProblemLength = limits.migration.findingProblemLength.value;
/** Below this, one range is enough: a claim costs about as much as a chunk. */
const minRangeBytes = 256_000;

export function createRange({ begin, end }: KeyRange, weight: number): RangeRow {
  return {
    begin: begin.toString('base64'),
    end: end.toString('base64'),
    cursor: null,
    done: false,
    claim: null,
    claimSeq: 0,
    seq: 0,
    recordsRead: 0,
    moved: 0,
    dropped: 0,
    quarantined: 0,
    bytes: 0,
    weight: Math.max(1, Math.round(weight)),
    share: 0,
    recordsPerSecond: 0,
    sums: [],
    findings: 0,
    samples: [],
  };
}

export async function readRange(
  tx: Transaction,
  keys: ModelKeys,
  pass: PassName,
  number: number,
): Promise<RangeRow | undefined> {
  return rangeFormat.parseOptional(await tx.get(keys.range(pass, number)));
}

export function writeRange(
  tx: Transaction,
  keys: ModelKeys,
  pass: PassName,
  number: number,
  row: RangeRow,
): void {
  tx.set(keys.range(pass, number), rangeFormat.encode(row));
}

/** All ranges of a pass, by number; without one, those of all passes. */
export async function readRanges(
  tx: Transaction,
  keys: ModelKeys,
  pass?: PassName,
  options: { readonly snapshot?: boolean } = {},
): Promise<readonly RangeRow[]> {
  const { begin, end } = rangeOf(keys.ranges(pass));
  const rows = await tx.getRangeAll(begin, end, options);
  return rows.map(({ value }) => rangeFormat.parse(value));
}

/**
 * Takes every claim of a migration away. Whoever moved under one meets that when its chunk commits, whichever of the two
 * is first.
 */
export async function freeClaims(tx: Transaction, keys: ModelKeys): Promise<void> {
  for (const pass of passNames) {
    // As of this transaction nobody may claim any more: the few that are claimed are read again, normally.
    const seen = await readRanges(tx, keys, pass, { snapshot: true });
    for (const [number, { claim }] of seen.entries()) {
      if (claim === null) continue;
      const row = await readRange(tx, keys, pass, number);
      if (row !== undefined) writeRange(tx, keys, pass, number, freed(row));
    }
  }
}

/** As a range is that nobody moves. */
export const freed = (row: RangeRow): RangeRow => ({ ...row, claim: null, recordsPerSecond: 0 });

export function clearRanges(tx: Transaction, keys: ModelKeys, pass?: PassName): void {
  const { begin, end } = rangeOf(keys.ranges(pass));
  tx.clearRange(begin, end);
}

/**
 * Cuts a slice of the key space into ranges of about equal size, `maxRanges` at most. The first begins at the prefix
 * and the last ends at its end, whatever is estimated in between.
 */
export async function planRanges(
  database: KeyValueDatabase,
  slice: KeyRange,
  maxRanges: number = maxRangesPerPass,
): Promise<readonly RangeRow[]> {
  const { points, bytes, first, last } = await database.transact(async (tx) => {
    const size = await tx.getEstimatedRangeSizeBytes(slice.begin, slice.end);
    const chunk = Math.max(minRangeBytes, Math.ceil(size / maxRanges));
    const [raw, [first], [last]] = await Promise.all([
      tx.getRangeSplitPoints(slice.begin, slice.end, chunk),
      tx.getRangeAll(slice.begin, slice.end, { limit: 1, snapshot: true }),
      tx.getRangeAll(slice.begin, slice.end, { limit: 1, snapshot: true, reverse: true }),
    ]);
    // The database knows rows, and a record may have several.
    const cuts = await Promise.all(raw.map((point) => roundDownToRecord(tx, point)));
    return { points: distinct(cuts), bytes: size, first: first?.key, last: last?.key };
  });
  const inner = points.filter((point) => point.compare(slice.begin) > 0 && point.compare(slice.end) < 0);
  const edges = [slice.begin, ...inner.slice(0, maxRanges - 1), slice.end];
  const weight = Math.max(1, bytes / (edges.length - 1));
  const ranges = edges.slice(1).map((end, at) => ({ begin: edges[at] ?? slice.begin, end }));
  // The database cuts by bytes.
  const estimates = await Promise.all(
    ranges.map((range) => database.transact((tx) => estimateAmount(tx, range, weight))),
  );
  return ranges.map((range, at) => ({
    ...createRange(range, weight),
    estimate: estimates[at],
    firstKey: at === 0 ? first?.toString('base64') : undefined,
    lastKey: at === ranges.length - 1 ? last?.toString('base64') : undefined,
  }));
}

/** Rows that are looked at, at either end of a range, to learn how large one is. */
const sampledRows = 100;
const sampledBytes = 64_000;

/**
 * How much lies in a range, by the bytes that it was planned with and the mean size of the rows at its ends. A record that
 * lies in several rows counts as so many: what is read of the first ranges corrects that.
 */
async function estimateAmount(tx: Transaction, { begin, end }: KeyRange, planned: number): Promise<Amount> {
  const options = { limit: sampledRows, targetBytes: sampledBytes, snapshot: true };
  const first = await getRows(tx, begin, end, options);
  const records = first.rows.length;
  const bytes = bytesOf(first.rows);
  if (first.atEnd) return { records, bytes };
  const last = await getRows(tx, begin, end, { ...options, reverse: true });
  const estimated = Math.max(bytes, planned);
  // Either end counts as much, however many of its rows were looked at.
  const mean = (bytes / records + bytesOf(last.rows) / Math.max(1, last.rows.length)) / 2;
  return { records: Math.max(records, Math.round(estimated / mean)), bytes: estimated };
}

const bytesOf = (rows: readonly KeyValue[]): number =>
  rows.reduce((sum, { key, value }) => sum + key.length + value.length, 0);

function distinct(points: readonly Buffer[]): readonly Buffer[] {
  return points.filter((point, at) => points[at - 1]?.equals(point) !== true);
}

/** What the rows of a pass add up to. */
export interface LedgerTotals {
  readonly recordsRead: number;
  readonly moved: number;
  readonly dropped: number;
  readonly quarantined: number;
  readonly bytes: number;
  readonly findings: number;
  readonly samples: readonly FindingSample[];
  readonly done: boolean;
  /** 0 to 1; never falls, as no row's share does. */
  readonly fraction: number;
  /** Of the ranges that are being moved now. */
  readonly recordsPerSecond: number;
}

/** The first of each kind and index. @param most of all of them */
export function addSamples(
  left: readonly FindingSample[],
  right: readonly FindingSample[],
  most = Number.POSITIVE_INFINITY,
): readonly FindingSample[] {
  if (right.length === 0) return left;
  const kept = [...left];
  for (const { kind, indexId, key, problem } of right) {
    if (kept.length >= most) break;
    const alike = kept.filter((other) => other.kind === kind && other.indexId === indexId);
    if (alike.length >= maxSamples) continue;
    kept.push({
      kind,
      indexId,
      key: key.slice(0, maxSampleLength),
      problem: problem.slice(0, maxProblemLength),
    });
  }
  return kept;
}

export function totalsOf(rows: readonly RangeRow[]): LedgerTotals {
  const sum = (value: (row: RangeRow) => number) => rows.reduce((total, row) => total + value(row), 0);
  const weight = sum((row) => row.weight);
  const done = rows.every((row) => row.done);
  return {
    recordsRead: sum((row) => row.recordsRead),
    moved: sum((row) => row.moved),
    dropped: sum((row) => row.dropped),
    quarantined: sum((row) => row.quarantined),
    bytes: sum((row) => row.bytes),
    findings: sum((row) => row.findings),
    samples: rows.reduce<RangeRow['samples']>((all, row) => addSamples(all, row.samples), []),
    done,
    fraction: weight === 0 ? 0 : Math.min(1, sum((row) => row.weight * row.share) / weight),
    recordsPerSecond: sum((row) => (row.done || row.claim === null ? 0 : row.recordsPerSecond)),
  };
}

/** How much of a range lies before a key of it, by its place between the first and the last key. */
export function shareBefore({ begin, end, firstKey = begin, lastKey = end }: RangeRow, key: Buffer): number {
  return interpolate(Buffer.from(firstKey, 'base64'), Buffer.from(lastKey, 'base64'), key);
}

/**
 * Where `key` lies between `begin` and `end`, 0 to 1: the first places in which those two differ, taken as a number whose
 * digits are the bytes of their alphabet. Keys of decimal digits would stand still and leap if each had 256.
 */
export function interpolate(begin: Uint8Array, end: Uint8Array, key: Uint8Array): number {
  let common = 0;
  while (common < begin.length && common < end.length && begin[common] === end[common]) common += 1;
  const [low, high] = alphabetOf(begin.subarray(common), end.subarray(common));
  const radix = high - low + 1;
  // As many as are exact in a double.
  const places = Math.floor(52 / Math.log2(radix));
  const at = (bytes: Uint8Array) => {
    let value = 0;
    // Behind a byte that is before or behind the alphabet, what follows changes nothing any more.
    let rest: number | undefined;
    for (let n = 0; n < places; n += 1) {
      const digit = (bytes[common + n] ?? 0) - low;
      if (rest === undefined && digit < 0) rest = 0;
      if (rest === undefined && digit >= radix) rest = radix - 1;
      value = value * radix + (rest ?? digit);
    }
    return value;
  };
  const [from, to] = [at(begin), at(end)];
  return to <= from ? 0 : Math.min(1, Math.max(0, (at(key) - from) / (to - from)));
}

/** Digits, hexadecimal ones in either case, printable text, or anything. The end of a text in a key is a zero. */
const alphabets = [
  [0x30, 0x39],
  [0x30, 0x66],
  [0x20, 0x7e],
] as const;

function alphabetOf(...keys: readonly Uint8Array[]): readonly [number, number] {
  const isOf = ([low, high]: readonly [number, number]) =>
    keys.every((key) => key.every((byte) => byte === 0 || (byte >= low && byte <= high)));
  return alphabets.find(isOf) ?? [0, 255];
}
