import type { TransformPool } from '../../src/migration/runtime.ts';
import { transform } from '../../workers/transform.ts';

/** What worker threads do, in place: for tests that are not about threads, which cost more than the work. */
export function createInlinePool(): TransformPool {
  let completed = 0;
  return {
    async run(task, transfer = []) {
      // Crosses as it would to a thread: copied, and what is transferred is gone here.
      const answer = await transform(structuredClone(task, { transfer: [...transfer] }));
      completed += 1;
      return structuredClone(answer);
    },
    threads: 0,
    get completed() {
      return completed;
    },
    close: () => Promise.resolve(),
  };
}
