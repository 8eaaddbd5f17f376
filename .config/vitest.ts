import { defineConfig } from 'vitest/config';

/** `npm test`: everything but the long runs in test/soak. */
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/soak/**', 'node_modules/**'],
    // LMDB and FoundationDB's client live on the main thread of a process: a test file is a process.
    pool: 'forks',
    maxWorkers: '100%',
    testTimeout: 30_000,
  },
});
