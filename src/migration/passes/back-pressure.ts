import { KeyValueErrorCode } from '../../kv/kv.ts';
import { limits } from '../../limits.ts';

/**
 * How hard it is for the database to take chunks, by how the last ones went. A pure function of them: the delay before the
 * next chunk doubles while the database asks for less, and is gone a few good commits later.
 */
export interface BackPressure {
  /** 0: none. Each that is more doubles the delay, beginning with the second. */
  readonly strain: number;
  /** What the last strained chunk met. */
  readonly cause: 'database' | 'conflicts' | 'slowness' | undefined;
}

/** What a chunk met on the way to its commit, or until it was given up. */
export interface ChunkStrain {
  /** Codes of the attempts that failed. */
  readonly codes: readonly number[];
  /** Milliseconds from the beginning of the transaction, all attempts together. */
  readonly tookMs: number;
}

export const noBackPressure: BackPressure = { strain: 0, cause: undefined };

/** Bounds of the delay, and when a commit is slow. Milliseconds. */
export const backPressureLimits = {
  firstMs: 50,
  maxMs: limits.migration.pressureMs.value,
  /** Of the 4,000 that a chunk has: what took half of them is near to be given up. */
  slowMs: 2_000,
} as const;

/** Codes by which FoundationDB says that it does not keep up, and the embedded engine that it has no room for readers. */
const tooBusyCodes: ReadonlySet<number> = new Set([
  KeyValueErrorCode.futureVersion,
  KeyValueErrorCode.processBehind,
  KeyValueErrorCode.proxyMemoryExceeded,
  KeyValueErrorCode.batchThrottled,
  KeyValueErrorCode.readProxyMemoryExceeded,
  KeyValueErrorCode.tagThrottled,
]);

const { firstMs, maxMs, slowMs } = backPressureLimits;
/** With this strain the delay is at its bound. */
const maxStrain = 2 + Math.ceil(Math.log2(maxMs / firstMs));

/**
 * One conflict is nothing: the chunk shrinks, and writers go on. Good commits count twice, so that chunks of which every
 * second one conflicts, as beside a busy writer, are not delayed more and more.
 */
export function nextBackPressure({ strain }: BackPressure, { codes, tookMs }: ChunkStrain): BackPressure {
  // The database's own word is reason enough for a delay.
  if (codes.some((code) => tooBusyCodes.has(code))) return strained(Math.max(2, strain + 1), 'database');
  if (codes.includes(KeyValueErrorCode.conflict)) return strained(strain + 1, 'conflicts');
  if (tookMs >= slowMs) return strained(strain + 1, 'slowness');
  const left = Math.max(0, strain - 2);
  return left === 0 ? noBackPressure : { strain: left, cause: undefined };
}

const strained = (strain: number, cause: BackPressure['cause']): BackPressure => ({
  strain: Math.min(strain, maxStrain),
  cause,
});

/** Before the next chunk. Milliseconds; 0: none. */
export function backPressureMs({ strain }: BackPressure): number {
  return strain < 2 ? 0 : Math.min(maxMs, firstMs * 2 ** (strain - 2));
}

export function backPressureReason({ cause }: BackPressure): string {
  switch (cause) {
    case 'database':
      return 'back pressure: the database asks for less';
    case 'conflicts':
      return 'back pressure: chunks conflict with other writers';
    case 'slowness':
      return 'back pressure: commits of chunks are slow';
    case undefined:
      return 'back pressure: the database has to recover';
  }
}
