import { limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { MigrationMeters } from '../telemetry/meters.ts';
import { cutMessage } from './state.ts';
import { eitherOf } from './watch.ts';

/** A chunk that has been read and waits to be written. */
export interface ThrottledChunk {
  readonly modelId: number;
  readonly modelName: string;
  /** Moves records, or fills indexes. */
  readonly pass: 'backfill' | 'index';
  readonly records: number;
  /** About what will be written. */
  readonly bytes: number;
}

/** What a host answers that wants a chunk to wait. */
export interface MigrationThrottle {
  /**
   * Milliseconds from 0. The chunk goes on behind them; of more than 60,000, `Infinity` too, 60,000 are waited, and then
   * it is asked again.
   */
  readonly delayMs: number;
  /** For people: it is shown in the status. */
  readonly reason: string;
}

/** Asked before each chunk of this process that moves records or fills indexes. Undefined: it may go on. */
export type MigrationThrottleFunction = (
  chunk: ThrottledChunk,
) => MigrationThrottle | undefined | Promise<MigrationThrottle | undefined>;

/** A host's `migrationThrottle`, which fails nothing, whatever it does. */
export interface HostThrottle {
  /** Waits until the host lets the chunk go on, or the signal aborts. */
  wait(
    chunk: ThrottledChunk,
    signal: AbortSignal,
    onWait: (reason: string, leastMs: number) => void,
  ): Promise<void>;
}

export interface HostThrottleOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly meters: Pick<MigrationMeters, 'swallowed'>;
  readonly ask: MigrationThrottleFunction;
}

/** Waited at most for an answer, and because of one. Milliseconds. */
const longestMs = limits.migration.throttleMs.value;

type Answer =
  | { readonly type: 'answered'; readonly value: unknown }
  | { readonly type: 'threw'; readonly error: unknown }
  | { readonly type: 'none' };

export function createHostThrottle({ clock, logger, meters, ask }: HostThrottleOptions): HostThrottle {
  const warned = new Set<string>();
  /** Each kind of failure is logged once: it may come back with every chunk. */
  const ignore = (what: string, error?: unknown) => {
    meters.swallowed();
    if (warned.has(what)) return;
    warned.add(what);
    logger.warn({ err: error }, `migrationThrottle ${what}: chunks go on without it; this is logged once`);
  };

  const answerOf = async (chunk: ThrottledChunk, signal: AbortSignal): Promise<Answer> => {
    let answer: Answer = { type: 'none' };
    const asking = (async () => {
      try {
        answer = { type: 'answered', value: await ask(chunk) };
      } catch (error) {
        answer = { type: 'threw', error };
      }
    })();
    await eitherOf(clock, [asking], longestMs, signal, { ref: true });
    return answer;
  };

  return {
    async wait(chunk, signal, onWait) {
      while (!signal.aborted) {
        onWait('migrationThrottle is asked', 0);
        const answer = await answerOf(chunk, signal);
        if (signal.aborted) return;
        if (answer.type === 'none') return ignore('did not answer in time');
        if (answer.type === 'threw') return ignore('threw', answer.error);
        if (answer.value === undefined) return;
        const throttle = throttleOf(answer.value);
        if (throttle === undefined) return ignore('answered something else than { delayMs, reason }');
        const { delayMs, reason } = throttle;
        if (delayMs === 0) return;
        const waitMs = Math.min(delayMs, longestMs);
        onWait(`migrationThrottle: ${cutMessage(reason)}`, waitMs);
        await eitherOf(clock, [], waitMs, signal, { ref: true });
        if (delayMs <= longestMs) return;
      }
    },
  };
}

function throttleOf(value: unknown): MigrationThrottle | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { delayMs, reason } = value as Partial<Record<keyof MigrationThrottle, unknown>>;
  // NaN is not from 0.
  if (typeof delayMs !== 'number' || !(delayMs >= 0) || typeof reason !== 'string') return undefined;
  return { delayMs, reason };
}
