import type { TransformPool } from '../migration/runtime.ts';
import { createWorkerPool } from '../ports/pool.ts';

let shared: { readonly pool: TransformPool; users: number } | undefined;

/** The one pool of the process, for as long as any store uses it. The answer's `release` may be called twice. */
export function useSharedPool(): { readonly pool: TransformPool; release(): Promise<void> } {
  shared ??= { pool: createWorkerPool(), users: 0 };
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
