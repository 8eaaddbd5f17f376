import type { Clock } from '../ports/clock.ts';
import type { Throttle } from './runtime.ts';
import { eitherOf } from './watch.ts';

/** Nobody waits. */
export const unthrottled: Throttle = { take: () => Promise.resolve() };

/**
 * At most `recordsPerSecond` in this process, over all its models. A chunk is let through whole and paid for afterwards,
 * so the rate holds whatever the size of the chunks; what was not used is not saved up.
 */
export function createThrottle(clock: Clock, recordsPerSecond: number): Throttle {
  let freeAtMs = clock.monotonicMs();
  return {
    async take(records, signal) {
      const nowMs = clock.monotonicMs();
      const startMs = Math.max(nowMs, freeAtMs);
      freeAtMs = startMs + (records / recordsPerSecond) * 1_000;
      if (startMs > nowMs) await eitherOf(clock, [], startMs - nowMs, signal, { ref: true });
    },
  };
}
