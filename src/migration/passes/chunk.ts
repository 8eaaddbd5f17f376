import type { Transaction } from '../../kv/kv.ts';
import { addEntrySums } from '../../records/entry-sum.ts';
import type { ChunkEffort } from './effort.ts';
import { addEffort } from './effort.ts';
import type { FindingSample, IndexSum, RangeRow } from './ledger.ts';
import { addSamples, maxSamplesPerRange, shareBefore } from './ledger.ts';

/** What one chunk adds to its range. */
export interface ChunkAddition {
  readonly recordsRead: number;
  readonly moved: number;
  readonly dropped: number;
  readonly quarantined: number;
  readonly bytes: number;
  readonly findings: number;
  readonly samples: readonly FindingSample[];
  readonly sums: readonly IndexSum[];
}

/** What a chunk adds that found nothing to do. */
export const nothingAdded: ChunkAddition = {
  recordsRead: 0,
  moved: 0,
  dropped: 0,
  quarantined: 0,
  bytes: 0,
  findings: 0,
  samples: [],
  sums: [],
};

/** A chunk that is ready to be written. */
export interface PreparedChunk {
  /** Key of the last record in it; undefined when it has none. */
  readonly lastKey: Buffer | undefined;
  /** Nothing is left behind it. */
  readonly atEnd: boolean;
  readonly records: number;
  /** Keys and values of what was read for it. */
  readonly readBytes: number;
  /** How long reading took, and computing without the wait for a thread. Milliseconds. */
  readonly readMs: number;
  readonly cpuMs: number;
  readonly mutations: number;
  readonly bytes: number;
  /** Writes it, in the transaction that advances the range. Called again when that is repeated. */
  apply(tx: Transaction): Promise<ChunkAddition>;
}

/** What only its mover knows of a chunk. */
export interface ChunkPace {
  /** The part of what the process moves per second that the range may call its own. */
  readonly recordsPerSecond: number;
  readonly effort: ChunkEffort;
}

/** A range as it is when a chunk of it is written. */
export function advanced(
  row: RangeRow,
  chunk: PreparedChunk,
  addition: ChunkAddition,
  { recordsPerSecond, effort }: ChunkPace,
): RangeRow {
  const done = chunk.atEnd;
  const share = chunk.lastKey === undefined ? 1 : shareBefore(row, chunk.lastKey);
  return {
    ...row,
    cursor: cursorBehind(row, chunk),
    done,
    claim: done ? null : row.claim,
    seq: row.seq + 1,
    recordsRead: row.recordsRead + addition.recordsRead,
    moved: row.moved + addition.moved,
    dropped: row.dropped + addition.dropped,
    quarantined: row.quarantined + addition.quarantined,
    bytes: row.bytes + addition.bytes,
    // Below 1 until the range is at its end, and never back.
    share: done ? 1 : Math.max(row.share, Math.min(0.999_999, share)),
    recordsPerSecond: Math.round(recordsPerSecond),
    effort: addEffort(row.effort, effort),
    sums: addSums(row.sums, addition.sums),
    findings: row.findings + addition.findings,
    samples: addSamples(row.samples, addition.samples, maxSamplesPerRange),
  };
}

export const cursorBehind = ({ cursor }: RangeRow, { lastKey }: PreparedChunk): string | null =>
  lastKey?.toString('base64') ?? cursor;

export function addSums(left: readonly IndexSum[], right: readonly IndexSum[]): readonly IndexSum[] {
  const sums = new Map(left.map((entry) => [`${entry.side} ${entry.indexId}`, entry]));
  for (const entry of right) {
    const name = `${entry.side} ${entry.indexId}`;
    const known = sums.get(name);
    sums.set(
      name,
      known === undefined
        ? entry
        : {
            ...entry,
            count: known.count + entry.count,
            sum: addEntrySums(known.sum, entry.sum),
            wrong: known.wrong + entry.wrong,
          },
    );
  }
  return [...sums.values()];
}
