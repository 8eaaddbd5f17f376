import { limits } from '../limits.ts';
import type { Random } from '../ports/random.ts';

/** How often a phase may be tried before the migration fails and waits for an operator. Both counts are persisted. */
export interface RetryPolicy {
  /** Starts of one phase in a row that made no progress. From 1. Default: no limit. */
  readonly maxAttempts?: number | undefined;
  /** Retries granted to one phase in a row: `Retry` outcomes and retryable errors. From 0. Default: no limit. */
  readonly maxRetryOutcomes?: number | undefined;
}

const backoff = { firstMs: 250, factor: 2, maxMs: limits.migration.backoffMs.value } as const;

const ceilingMs = (retry: number) =>
  Math.min(backoff.maxMs, backoff.firstMs * backoff.factor ** Math.min(20, retry - 1));

/** Milliseconds before retry number `retry` (from 1): exponential, full jitter. */
export function backoffMs(retry: number, random: Random): number {
  return Math.ceil(random.fraction() * ceilingMs(retry));
}

/**
 * Milliseconds before an actor that crashed is started again, after `crashes` in a row (from 1). Never below half of
 * the ceiling: a crash costs nothing that would slow a loop of them down.
 */
export function restartDelayMs(crashes: number, random: Random): number {
  return Math.ceil((ceilingMs(crashes) * (1 + random.fraction())) / 2);
}

/** Whether an error says of itself that the same may succeed later. */
export function isRetryable(error: unknown): boolean {
  return typeof error === 'object' && error !== null && Reflect.get(error, 'retryable') === true;
}
