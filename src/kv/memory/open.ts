import { systemClock, type Clock } from '../../ports/clock.ts';
import { systemRandom, type Random } from '../../ports/random.ts';
import { createEngineDatabase } from '../engine/database.ts';
import type { KeyValueDatabase } from '../kv.ts';
import { MemoryEngine } from './engine.ts';

export interface MemoryDatabaseOptions {
  /** Default: the system's. */
  readonly clock?: Clock | undefined;
  /** Default: the system's. */
  readonly random?: Random | undefined;
  /** For tests only: commits without looking for conflicts, which breaks every invariant. Default false. */
  readonly unsafeWithoutConflictCheck?: boolean | undefined;
}

/** The embedded engine without a file: same semantics, same limits, gone with the process. */
export function openMemoryDatabase(options: MemoryDatabaseOptions = {}): KeyValueDatabase {
  return createEngineDatabase(
    new MemoryEngine({
      clock: options.clock ?? systemClock,
      random: options.random ?? systemRandom,
      unsafeWithoutConflictCheck: options.unsafeWithoutConflictCheck ?? false,
    }),
  );
}
