import { limits } from '../src/limits.ts';

/** What was measured, of a transaction of each kind. */
export interface Costs {
  /** Of one node alone, with its one thread and the transform that costs. */
  readonly recordsPerSecond: number;
  /** Of all movers together, with a transform that costs nothing: what the database takes. */
  readonly mostRecordsPerSecond: number;
  readonly bytesPerRecord: number;
  readonly recordsPerChunk: number;
  /** Besides the records' own. */
  readonly keysReadPerChunk: number;
  /** Those of the records, and what is counted. */
  readonly keysWrittenPerRecord: number;
  /** From the begin of a claim to its commit: who claims the same meanwhile has to begin again. Seconds. */
  readonly claimSeconds: number;
  readonly splitsPerMover: number;
}

export interface Projection {
  readonly nodes: number;
  readonly records: number;
  readonly seconds: number;
  readonly recordsPerSecond: number;
  readonly keysPerSecond: number;
  readonly claims: number;
  readonly claimsPerSecond: number;
  readonly repeatedClaims: number;
  /** Chunks that meet a split of their range, as a part of all. */
  readonly conflicts: number;
  /** Movers that find no range, however much is cut. */
  readonly withoutRange: number;
}

/** Ranges of one node that are moved side by side: the default. */
const moversPerNode = 4;
/** A range is planned no smaller (src/migration/passes/ledger.ts). */
const bytesPerRange = 256_000;

/** How a backfill would go, by what its transactions cost. See docs/scale.md for what is assumed. */
export function project(nodes: number, records: number, costs: Costs): Projection {
  const movers = nodes * moversPerNode;
  const recordsPerSecond = Math.min(nodes * costs.recordsPerSecond, costs.mostRecordsPerSecond);
  const seconds = records / recordsPerSecond;
  const planned = Math.max(
    1,
    Math.min(limits.migration.ranges.value, Math.floor((records * costs.bytesPerRecord) / bytesPerRange)),
  );
  const most = limits.migration.splitRanges.value;
  // Who finds no range in the beginning cuts one; in the end some cut what is left.
  const splits = Math.min(
    most - planned,
    Math.round(Math.max(0, movers - planned) + movers * costs.splitsPerMover),
  );
  const claims = planned + (nodes === 1 ? 0 : splits);
  const chunks = records / costs.recordsPerChunk + planned;
  // All nodes begin at once, one claim of each after the other; later they meet by chance, the more the fewer are free.
  const inTheBeginning = (moversPerNode * nodes * (nodes - 1)) / 2 / planned;
  const harmonic = Array.from({ length: planned }, (_, n) => 1 / (n + 1)).reduce(
    (sum, part) => sum + part,
    0,
  );
  const byChance = (claims / seconds) * costs.claimSeconds * ((nodes - 1) / nodes) * harmonic;
  return {
    nodes,
    records,
    seconds,
    recordsPerSecond,
    keysPerSecond:
      recordsPerSecond * (1 + costs.keysWrittenPerRecord + costs.keysReadPerChunk / costs.recordsPerChunk),
    claims,
    claimsPerSecond: claims / seconds,
    repeatedClaims: inTheBeginning + byChance,
    conflicts: nodes === 1 ? 0 : splits / chunks,
    withoutRange: Math.max(0, movers - most),
  };
}
