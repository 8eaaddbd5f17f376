import { defineConfig } from 'vitest/config';

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
      'test/cluster/cli.test.ts',
      'test/cluster/example-cluster.test.ts',
      'test/integration/readme-examples.test.ts',
      // Threads, and servers of NATS; no database.
      'test/integration/pool.test.ts',
      'test/cluster/compose-nats.test.ts',
    ],
    globalSetup: 'test/rig/shared-database.ts',
    pool: 'forks',
    maxWorkers: '100%',
    // A commit takes milliseconds there, and some tests make thousands.
    testTimeout: 300_000,
    hookTimeout: 120_000,
  },
});
