import { limits } from '../../limits.ts';

/**
 * How many records the next chunk takes. A pure function of how the last one went: it grows while chunks are quick and
 * small, shrinks when one was refused for its size or age or met a conflict, and always grows back.
 */
export interface ChunkControl {
  readonly records: number;
  /** Of the last chunk. Absent before the first one. */
  readonly perRecord?: { readonly bytes: number; readonly mutations: number } | undefined;
}

export type ChunkResult =
  | {
      readonly type: 'committed';
      readonly tookMs: number;
      readonly bytes: number;
      readonly records: number;
      readonly mutations: number;
    }
  /** 1020 */
  | { readonly type: 'conflict' }
  /** 1007, 1031, 2101 */
  | { readonly type: 'tooMuch' };

/** Where chunks begin, and their bounds. */
export const chunkLimits = {
  startRecords: 100,
  maxRecords: limits.chunk.records.value,
  maxMutations: limits.chunk.mutations.value,
  /** Keys, values and conflict ranges. */
  maxBytes: limits.chunk.bytes.value,
  /** The same while requests come in. */
  gentleMutations: limits.chunk.gentleMutations.value,
  gentleBytes: limits.chunk.gentleBytes.value,
  /** Above this the next chunk is smaller. */
  targetMs: limits.chunk.targetMs.value,
  /** The writing transaction is given up after it. */
  hardMs: limits.chunk.hardMs.value,
} as const;

export const initialChunkControl: ChunkControl = { records: chunkLimits.startRecords };

export function nextChunkControl(control: ChunkControl, result: ChunkResult): ChunkControl {
  switch (result.type) {
    case 'conflict':
      return { ...control, records: Math.max(1, Math.floor(control.records * 0.75)) };
    case 'tooMuch':
      return { ...control, records: Math.max(1, Math.floor(control.records / 2)) };
    case 'committed': {
      // The tightest of the bounds, at the sizes and costs that this chunk had.
      const perRecord = {
        bytes: result.bytes / Math.max(1, result.records),
        mutations: result.mutations / Math.max(1, result.records),
      };
      const msPerRecord = result.tookMs / Math.max(1, result.records);
      const bound = Math.min(
        chunkLimits.maxRecords,
        chunkLimits.maxBytes / Math.max(1, perRecord.bytes),
        chunkLimits.maxMutations / Math.max(1, perRecord.mutations),
        chunkLimits.targetMs / Math.max(0.000_1, msPerRecord),
      );
      const grown = Math.ceil(control.records * 1.5);
      return { records: Math.max(1, Math.floor(Math.min(grown, bound))), perRecord };
    }
  }
}

/** How many records a chunk takes while requests come in: no more than is written in a few milliseconds. */
export function gentleRecords({ records, perRecord }: ChunkControl): number {
  if (perRecord === undefined) return records;
  const most = Math.min(
    chunkLimits.gentleMutations / Math.max(1, perRecord.mutations),
    chunkLimits.gentleBytes / Math.max(1, perRecord.bytes),
  );
  return Math.max(1, Math.min(records, Math.floor(most)));
}
