import { defineConfig } from 'vitest/config';

/** `npm run test:soak`: the same promises as `npm test`, over many more draws. */
export default defineConfig({
  test: {
    include: ['test/soak/**/*.test.ts'],
    pool: 'forks',
    // One soak test is one long run: 60 kills take about two minutes on two cores.
    testTimeout: 600_000,
    hookTimeout: 60_000,
  },
});
