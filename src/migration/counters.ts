import type { Transaction } from '../kv/kv.ts';
import type { ModelKeys } from '../records/keys.ts';
import { rangeOf } from '../records/keys.ts';

/** Of one model, cluster-wide and persisted: each counter is added to in the transaction that does what it counts. */
export interface MigrationMetrics {
  readonly started: number;
  readonly completed: number;
  readonly failed: number;
  readonly retries: number;
  readonly partials: number;
  readonly paused: number;
  readonly resumed: number;
  readonly canceled: number;
  readonly recordsMoved: number;
  readonly bytesMoved: number;
  readonly chunks: number;
  /** Chunks that had to be repeated because something they read had changed. */
  readonly conflicts: number;
  readonly takeovers: number;
  /** Wall clock of the last of these; 0 when there was none. */
  readonly lastEventAtMs: number;
}

export type MigrationCounter = keyof MigrationMetrics;

/** What one transaction adds to the counters. */
export type CountedAdditions = Partial<Record<Exclude<MigrationCounter, 'lastEventAtMs'>, number>>;

const noMetrics: MigrationMetrics = {
  started: 0,
  completed: 0,
  failed: 0,
  retries: 0,
  partials: 0,
  paused: 0,
  resumed: 0,
  canceled: 0,
  recordsMoved: 0,
  bytesMoved: 0,
  chunks: 0,
  conflicts: 0,
  takeovers: 0,
  lastEventAtMs: 0,
};

/** What adds to a counter, or takes from it: 8 bytes, little-endian, as a two's complement. */
export function integer(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(Math.floor(value)));
  return bytes;
}

/** A counter's value; 0 where nothing was added yet. */
export const integerOf = (value: Buffer | undefined): number =>
  value === undefined ? 0 : Number(value.readBigInt64LE());

/** Adds without reading, so that counting makes nobody conflict. */
export function count(tx: Transaction, keys: ModelKeys, atMs: number, additions: CountedAdditions): void {
  for (const [name, value] of Object.entries(additions)) {
    if (value > 0) tx.atomicOp('add', keys.counter(name), integer(value));
  }
  tx.atomicOp('max', keys.counter('lastEventAtMs'), integer(atMs));
}

/** When the model's migration last committed anything, by the wall clock of whoever did; 0 when it never has. */
export async function readLastEventAtMs(tx: Transaction, keys: ModelKeys): Promise<number> {
  return integerOf(await tx.get(keys.counter('lastEventAtMs'), { snapshot: true }));
}

export async function readMetrics(tx: Transaction, keys: ModelKeys): Promise<MigrationMetrics> {
  const { begin, end } = rangeOf(keys.counters);
  const rows = new Map<string, number>();
  for (const { key, value } of await tx.getRangeAll(begin, end, { snapshot: true })) {
    rows.set(key.toString('latin1'), integerOf(value));
  }
  const names = Object.keys(noMetrics) as MigrationCounter[];
  return Object.fromEntries(
    names.map((name) => [name, rows.get(keys.counter(name).toString('latin1')) ?? 0]),
  ) as unknown as MigrationMetrics;
}
