import { existsSync } from 'node:fs';
import { defineConfig } from 'vitest/config';

const { FDB_CLUSTER_FILE: clusterFile = '', GODWIT_TEST_DATABASE: standIn = '' } = process.env;

/** Before the first test: without a cluster, hundreds of them would say the same. */
if (standIn === '' && !existsSync(clusterFile)) {
  console.error(
    clusterFile === ''
      ? 'npm run test:fdb needs a FoundationDB cluster: set FDB_CLUSTER_FILE to its cluster file. ' +
          '`docker compose up -d --wait` starts one; the README says how to name it.'
      : `npm run test:fdb needs a FoundationDB cluster: there is no cluster file ${clusterFile}, which FDB_CLUSTER_FILE names.`,
  );
  process.exit(1);
}

/**
 * `npm run test:fdb`: every test of what runs on a cluster too, on the one that FDB_CLUSTER_FILE names. Each has a subspace
 * of its own there; `test/rig/shared-database.ts` demands that nothing is left in the end.
 */
export default defineConfig({
  test: {
    include: [
      'test/conformance/foundationdb.test.ts',
      'test/conformance/lease.test.ts',
      'test/integration/**/*.test.ts',
      'test/cluster/**/*.test.ts',
    ],
    exclude: [
      // The embedded engine itself: its files, disk, readers and compaction, its long keys, and the limits that it enforces.
      'test/**/engine-*.test.ts',
      'test/integration/long-keys.test.ts',
      'test/integration/limits-database.test.ts',
      // A transaction's age is told by a clock that the test moves.
      'test/integration/limits-migration.test.ts',
      // One setting of a whole database, held in a key outside of every subspace: others would change it meanwhile.
      'test/integration/fence-cache.test.ts',
      // Programs as their readers run them: they name a directory of their own.
      'test/integration/example-cities.test.ts',
      'test/integration/readme-examples.test.ts',
      // Threads; no database.
      'test/integration/pool.test.ts',
    ],
    globalSetup: 'test/rig/shared-database.ts',
    pool: 'forks',
    maxWorkers: '100%',
    // A commit takes milliseconds there, and some tests make thousands.
    testTimeout: 300_000,
    hookTimeout: 120_000,
  },
});
