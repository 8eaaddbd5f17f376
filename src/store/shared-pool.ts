import type { TransformAnswer, TransformTask } from '../../workers/transform.ts';
import type { WorkerPool } from '../ports/pool.ts';
import { createWorkerPool } from '../ports/pool.ts';

export type TransformPool = WorkerPool<TransformTask, TransformAnswer>;

let shared: { readonly pool: TransformPool; users: number } | undefined;

/** The one pool of the process, for as long as any store uses it. The answer's `release` may be called twice. */
export function useSharedPool(): { readonly pool: TransformPool; release(): Promise<void> } {
  shared ??= { pool: createWorkerPool<TransformTask, TransformAnswer>(), users: 0 };
  const used = shared;
  used.users += 1;
  let isReleased = false;
  return {
    pool: used.pool,
    async release() {
      if (isReleased) return;
      isReleased = true;
      used.users -= 1;
      if (used.users > 0) return;
      if (shared === used) shared = undefined;
      await used.pool.close();
    },
  };
}
