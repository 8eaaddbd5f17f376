import { defineConfig } from 'vitest/config';
import type { TestSpecification } from 'vitest/node';
import { BaseSequencer } from 'vitest/node';

/** Files that take longer than most: begun last, one of them would keep a single processor busy at the end. */
const long = ['integration/crash-matrix', 'cluster/', 'integration/example-cities', 'simulation/'];

class LongOnesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = long.findIndex((name) => moduleId.includes(`/test/${name}`));
      return at === -1 ? long.length : at;
    };
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
  }
}

/** `npm test`: everything but the long runs in test/soak. */
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/soak/**', 'node_modules/**'],
    // LMDB and FoundationDB's client live on the main thread of a process: tests run in processes, not in threads.
    pool: 'forks',
    maxWorkers: '100%',
    // A process takes one file after another, and loads the library once: that was a fifth of all processor time.
    isolate: false,
    testTimeout: 30_000,
    sequence: { sequencer: LongOnesFirst },
  },
});
