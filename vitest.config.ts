import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/soak/**', 'node_modules/**'],
    // LMDB and FoundationDB's client live on the main thread of a process: a test file is a process.
    pool: 'forks',
    testTimeout: 30_000,
  },
});
