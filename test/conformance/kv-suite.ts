import { describe } from 'vitest';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import type { VirtualClock } from '../rig/virtual-clock.ts';
import { describeAtomicOperations } from './kv-atomic.ts';
import { describeConflicts } from './kv-conflicts.ts';
import { describeLimits } from './kv-limits.ts';
import { describeMetadataVersion } from './kv-metadata-version.ts';
import { describeRanges } from './kv-ranges.ts';
import { describeSerializability } from './kv-serializability.ts';
import { describeTransactions } from './kv-transactions.ts';
import { describeVersionstamps } from './kv-versionstamps.ts';
import { describeWatches } from './kv-watches.ts';

/** A driver as the suite sees it. */
export interface DriverUnderTest {
  readonly name: string;
  open(): Promise<OpenedDriver>;
  /** Where the driver takes a clock: the same with one that the test moves. */
  readonly openWithClock?: ((clock: VirtualClock) => Promise<OpenedDriver>) | undefined;
}

export interface OpenedDriver {
  readonly database: KeyValueDatabase;
  /** Closes the database and removes what it lay in. */
  readonly dispose: () => Promise<void>;
}

/** The definition of the key-value port: every driver passes all of it. */
export function describeKeyValueConformance(driver: DriverUnderTest): void {
  describe(`the key-value port on ${driver.name}`, () => {
    describeTransactions(driver);
    describeRanges(driver);
    describeConflicts(driver);
    describeAtomicOperations(driver);
    describeVersionstamps(driver);
    describeMetadataVersion(driver);
    describeWatches(driver);
    describeLimits(driver);
    describeSerializability(driver);
  });
}
