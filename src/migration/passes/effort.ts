/** So much of the key space. */
export interface Amount {
  readonly records: number;
  /** Keys and values. */
  readonly bytes: number;
}

/** What was read of a range, and what time that took. */
export interface RangeEffort extends Amount {
  readonly timed: TimedEffort;
  /** Wall clock of the mover at the last commit. */
  readonly atMs: number;
}

/**
 * What was read lately, without the chunks that were under way while a process started its threads and loaded modules.
 * Milliseconds.
 */
export interface TimedEffort extends Amount {
  /**
   * What its chunks took by themselves of what there is least of: of the threads, for computing, or of the ranges that are
   * moved side by side, for reading, computing, writing, and being throttled. The wait for a thread behind the chunks of
   * others is none of it. Of two ranges it tells which one is dearer.
   */
  readonly ownMs: number;
  /** Of the time of a process, which its ranges share side by side. */
  readonly sharedMs: number;
  /** What a limit of the rate demanded of that at least; 0 without one. */
  readonly leastMs: number;
}

/** What one chunk adds to it. */
export interface ChunkEffort extends Amount {
  readonly ownMs: number;
  /** Undefined for a chunk that was under way when its process committed the first one: it is not timed. */
  readonly sharedMs: number | undefined;
  readonly leastMs: number;
  readonly atMs: number;
}

/**
 * How fast older commits lose their weight in the pace, milliseconds: long against a chunk, so that it is steady, and short
 * enough that a person who changes a limit, or starts a node, sees it follow.
 */
export const paceMemoryMs = 60_000;

export function addEffort(before: RangeEffort | undefined, chunk: ChunkEffort): RangeEffort {
  const { records = 0, bytes = 0, timed = nothing } = before ?? {};
  const kept = before === undefined ? 0 : weightAfter(chunk.atMs - before.atMs);
  const added = chunk.sharedMs === undefined ? nothing : { ...chunk, sharedMs: chunk.sharedMs };
  const sum = (of: (effort: TimedEffort) => number) => rounded(of(timed) * kept + of(added));
  return {
    records: records + chunk.records,
    bytes: bytes + chunk.bytes,
    timed: {
      records: sum((effort) => effort.records),
      bytes: sum((effort) => effort.bytes),
      ownMs: sum((effort) => effort.ownMs),
      sharedMs: sum((effort) => effort.sharedMs),
      leastMs: sum((effort) => effort.leastMs),
    },
    atMs: chunk.atMs,
  };
}

const nothing: TimedEffort = { records: 0, bytes: 0, ownMs: 0, sharedMs: 0, leastMs: 0 };

/** What is left of the weight of something so long ago; clocks of several nodes may differ, and then it is none. */
export const weightAfter = (ageMs: number): number => Math.exp(-Math.max(0, ageMs) / paceMemoryMs);

/** Rows are written with each chunk, and their digits with them. */
const rounded = (value: number): number => Math.round(value * 1_000) / 1_000;
