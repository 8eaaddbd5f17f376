import { thousands } from '../cities/format.ts';
import type { Response } from './client.ts';

/** Counts answers, from one line of the report to the next. */
export interface Tally {
  count(response: Response): void;
  /** Of a request that got no answer. */
  lost(): void;
  /** What was counted since the last time, in words; undefined when that is nothing. */
  take(): string | undefined;
  /** In all. */
  readonly total: { readonly served: number; readonly refused: number; readonly wrong: number };
}

export function createTally(): Tally {
  const total = { served: 0, refused: 0, wrong: 0 };
  let before = { ...total };
  const retryAfter = new Set<number>();
  return {
    count({ status, retryAfter: header }) {
      if (status === 200) total.served += 1;
      else if (status === 503 && header !== undefined) {
        total.refused += 1;
        retryAfter.add(Number(header));
      } else total.wrong += 1;
    },
    lost: () => void (total.wrong += 1),
    take() {
      const served = total.served - before.served;
      const refused = total.refused - before.refused;
      const wrong = total.wrong - before.wrong;
      const waits = [...retryAfter].toSorted((a, b) => a - b);
      before = { ...total };
      retryAfter.clear();
      if (served + refused + wrong === 0) return undefined;
      const counts = `200: ${thousands(served).padStart(6)}   503: ${thousands(refused).padStart(6)}`;
      const wait = waits.length === 0 ? '' : `   Retry-After: ${waits.join(', ')} s`;
      return `${counts}${wait}${wrong === 0 ? '' : `   neither: ${thousands(wrong)}`}`;
    },
    total,
  };
}
