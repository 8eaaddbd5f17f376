import type { Clock } from '../ports/clock.ts';
import type { Sessions } from './sessions.ts';
import { eitherOf } from './watch.ts';

/** A limit for all processes of a store together, as one of them keeps its share. */
export interface RateLimit {
  /**
   * Waits until `records` more may be moved. Resolves at once when aborted, and nothing was taken then.
   *
   * @param onWait told why it waits, when it begins to, and of how long that takes at least; milliseconds
   */
  take(
    records: number,
    signal: AbortSignal,
    onWait: (reason: string, leastMs: number) => void,
  ): Promise<void>;
  /** How long so many records take at least, at the share of this process as it was counted last. Milliseconds. */
  leastMs(records: number): number;
}

export interface RateLimitOptions {
  readonly clock: Clock;
  readonly recordsPerSecond: number;
  readonly sessions: Pick<Sessions, 'living' | 'arrival'>;
  readonly ttlMs: number;
  readonly heartbeatMs: number;
  readonly onFailure: (error: unknown) => void;
}

/** How many move, as one process has counted them. */
interface Count {
  readonly movers: number;
  /** Monotonic, of the call that counted. */
  readonly beganAtMs: number;
  readonly arrival: number;
  /** Monotonic. From when on others must have counted this process. */
  readonly fromMs: number;
  /** Monotonic. Others may have come since, and begin now. */
  readonly untilMs: number;
}

/**
 * At most `recordsPerSecond` in all processes that move ranges of the store, over all its models, where all have the same
 * limit: each takes its share. A chunk is let through whole and paid for afterwards, so the rate holds whatever the size
 * of the chunks; what was not used is not saved up.
 *
 * That the shares never add up to more needs no common clock and no equal heartbeats. A count is good for half a TTL from
 * before it was read, and nobody moves on an older one. Whoever comes counts when it has announced itself, and then waits
 * for half of the longest TTL that it saw: by then every count without it has run out. Of two that come at once, the one
 * that does not see the other was announced, and read, before that one.
 */
export function createRateLimit(options: RateLimitOptions): RateLimit {
  const { clock, recordsPerSecond, sessions, ttlMs, heartbeatMs, onFailure } = options;
  let count: Count | undefined;
  /** Records that were let through and are not paid for. */
  let debt = 0;
  let paidAtMs = clock.monotonicMs();
  let countedAtMs = Number.NEGATIVE_INFINITY;

  /** Pays for the time since the last call, as far as its count was good. */
  const pay = () => {
    const nowMs = clock.monotonicMs();
    if (count !== undefined) {
      const paidMs = Math.min(nowMs, count.untilMs) - Math.max(paidAtMs, count.fromMs);
      debt = Math.max(0, debt - (Math.max(0, paidMs) / 1_000) * (recordsPerSecond / count.movers));
    }
    paidAtMs = nowMs;
    return nowMs;
  };

  const recount = async (signal: AbortSignal): Promise<void> => {
    const beganAtMs = pay();
    if (count !== undefined && count.arrival !== sessions.arrival()) {
      // It had left, and who counted meanwhile has not counted it.
      count = undefined;
      countedAtMs = Number.NEGATIVE_INFINITY;
    }
    if (beganAtMs - countedAtMs < heartbeatMs) return;
    countedAtMs = beganAtMs;
    try {
      const living = await sessions.living(signal);
      pay();
      if (living === undefined) {
        count = undefined;
        return;
      }
      const { arrival, othersTtlMs } = living;
      // After a silence as long as a TTL others may have left this process out.
      const isCounted = count?.arrival === arrival && beganAtMs - count.beganAtMs < ttlMs;
      const knownFromMs = isCounted ? count?.fromMs : undefined;
      count = {
        movers: othersTtlMs.length + 1,
        beganAtMs,
        arrival,
        fromMs: knownFromMs ?? clock.monotonicMs() + Math.max(0, ...othersTtlMs) / 2,
        untilMs: beganAtMs + ttlMs / 2,
      };
    } catch (error) {
      // The count that there is runs out by itself.
      if (signal.aborted) countedAtMs = Number.NEGATIVE_INFINITY;
      else onFailure(error);
    }
  };

  /** Milliseconds until there may be something to let through; 0: now. */
  const waitMs = (): number => {
    const nowMs = pay();
    if (count === undefined || nowMs >= count.untilMs) return heartbeatMs;
    const owedMs = (debt / (recordsPerSecond / count.movers)) * 1_000;
    return Math.max(0, count.fromMs - nowMs) + owedMs;
  };

  const pass = async (
    records: number,
    signal: AbortSignal,
    onWait: (reason: string, leastMs: number) => void,
  ): Promise<void> => {
    let isTold = false;
    while (!signal.aborted) {
      await recount(signal);
      const leftMs = waitMs();
      if (signal.aborted) return;
      // Less than a rounding error: a timer of no length would never end it.
      if (leftMs < 0.001) {
        debt += records;
        return;
      }
      if (!isTold) onWait(reasonOf(recordsPerSecond, count?.movers ?? 1), leftMs);
      isTold = true;
      await eitherOf(clock, [], Math.min(leftMs, heartbeatMs), signal, { ref: true });
    }
  };

  /** One after the other, in the order in which they came. */
  let last: Promise<void> = Promise.resolve();
  let waiting = 0;
  return {
    leastMs: (records) => (records / (recordsPerSecond / (count?.movers ?? 1))) * 1_000,
    take(records, signal, onWait) {
      if (waiting > 0) onWait(reasonOf(recordsPerSecond, count?.movers ?? 1), 0);
      waiting += 1;
      const passed = last
        .then(() => pass(records, signal, onWait))
        .finally(() => {
          waiting -= 1;
        });
      last = passed;
      // Whoever is before it may wait for long, and for another model.
      return eitherOrAborted(passed, signal);
    },
  };
}

function eitherOrAborted(passed: Promise<void>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const end = () => resolve();
    signal.addEventListener('abort', end, { once: true });
    passed.then(end, reject).finally(() => signal.removeEventListener('abort', end));
  });
}

function reasonOf(recordsPerSecond: number, movers: number): string {
  const limit = `at most ${recordsPerSecond} records per second`;
  return movers === 1 ? limit : `${limit}, shared by ${movers} nodes`;
}
