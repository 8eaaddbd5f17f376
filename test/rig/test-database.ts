import { randomBytes } from 'node:crypto';
import { afterAll } from 'vitest';
import type { KeyValueDatabase, KeyValueTransaction } from '../../src/kv/kv.ts';
import { openMemoryDatabase } from '../../src/kv/memory/open.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Random } from '../../src/ports/random.ts';
import type { StoreKeys, Subspace } from '../../src/records/keys.ts';
import { createStoreKeys, rangeOf } from '../../src/records/keys.ts';
import { encodeTuple } from '../../src/records/tuple.ts';
import { overriding, withTransactions } from './overriding.ts';
import { createTemporaryDirectory } from './temporary-directory.ts';
import type { TestPlace } from './test-place.ts';
import { openTestDatabase, sharedAddress } from './test-place.ts';

/** First part of the subspace of everything that one run of tests writes: `test/rig/shared-database.ts` looks for leftovers. */
const run = process.env['GODWIT_TEST_RUN'] ?? drawName('godwit-test-run');
/** What this test file writes lies under it. */
const file = drawName('file');
let places = 0;

export const shared = sharedAddress === undefined ? undefined : await openTestDatabase(sharedAddress);

// Registered first, so it runs last: whatever became of the tests, their stores are closed by then.
if (shared !== undefined) {
  afterAll(async () => {
    await clearUnder(shared, [run, file]);
    await shared.close();
  });
}

function drawName(what: string): string {
  return `${what}-${randomBytes(6).toString('hex')}`;
}

/** A subspace that nobody else has, and that is cleared when the test file ends. */
export function drawSubspace(): Subspace {
  return [run, file, places++];
}

async function clearUnder(database: KeyValueDatabase, subspace: Subspace): Promise<void> {
  const { begin, end } = rangeOf(encodeTuple(subspace));
  await database.transact((tx) => Promise.resolve(tx.clearRange(begin, end)));
}

/** The database of one test, and what is the test's in it. */
export interface TestDatabase {
  readonly database: KeyValueDatabase;
  readonly subspace: Subspace;
  readonly keys: StoreKeys;
  /**
   * Resolves when no operation is under way, or none that was for long: before that, virtual time must not pass. A
   * database in memory has none once promises have settled.
   */
  quiet(): Promise<void>;
}

/** In memory, with its clock, and the test's alone; or the shared one, which keeps real time. */
export function createTestDatabase(ports: { clock?: Clock; random?: Random } = {}): TestDatabase {
  const subspace = drawSubspace();
  const keys = createStoreKeys(subspace);
  if (shared === undefined) {
    return { database: openMemoryDatabase(ports), subspace, keys, quiet: () => Promise.resolve() };
  }
  const { database, quiet } = countOperations(shared);
  // The test's own object, which it may change; what is underneath ends with the file.
  return { database: { ...database, close: () => Promise.resolve() }, subspace, keys, quiet };
}

/** What a test gives to other processes. Default: a directory of its own. */
export interface RemovablePlace extends TestPlace {
  /** With all that is in it. Twice is fine. */
  remove(): Promise<void>;
}

export function createTestPlace(purpose?: string): RemovablePlace {
  const subspace = drawSubspace();
  if (shared !== undefined && sharedAddress !== undefined) {
    return { address: sharedAddress, subspace, remove: () => clearUnder(shared, subspace) };
  }
  const directory = createTemporaryDirectory(purpose);
  return {
    address: `embedded:${directory.path}`,
    subspace,
    remove: () => Promise.resolve(directory.remove()),
  };
}

/** Whoever has been waited for may go on, and a watch may ring, before the next operation is begun. Milliseconds. */
const quietMs = 2;
/** Somebody who writes without an end must not stop time for everybody: after so many operations of his it passes. */
const maxRounds = 20;

function countOperations(database: KeyValueDatabase): Pick<TestDatabase, 'database' | 'quiet'> {
  const underWay = new Set<Promise<unknown>>();
  let begun = 0;
  const count = <T>(work: Promise<T>): Promise<T> => {
    begun += 1;
    underWay.add(work);
    const end = () => void underWay.delete(work);
    work.then(end, end);
    return work;
  };
  const counted = withTransactions(database, (tx) => {
    const operations: Partial<KeyValueTransaction> = {
      get: (...given) => count(tx.get(...given)),
      getRangeAll: (...given) => count(tx.getRangeAll(...given)),
      async *getRange(...given) {
        const pairs = tx.getRange(...given);
        const iterator = pairs[Symbol.asyncIterator]();
        try {
          for (;;) {
            const next = await count(Promise.resolve(iterator.next()));
            if (next.done === true) return;
            yield next.value;
          }
        } finally {
          await iterator.return?.(undefined);
        }
      },
      getReadVersion: () => count(tx.getReadVersion()),
      getEstimatedRangeSizeBytes: (...given) => count(tx.getEstimatedRangeSizeBytes(...given)),
      getRangeSplitPoints: (...given) => count(tx.getRangeSplitPoints(...given)),
      commit: () => count(tx.commit()),
      onError: (error) => count(tx.onError(error)),
    };
    return overriding(tx, operations);
  });
  const quiet = async () => {
    for (let round = 0; round < maxRounds; round += 1) {
      const seen = begun;
      await Promise.allSettled(underWay);
      await new Promise((resolve) => setTimeout(resolve, quietMs));
      if (underWay.size === 0 && begun === seen) return;
    }
  };
  return { database: counted, quiet };
}
