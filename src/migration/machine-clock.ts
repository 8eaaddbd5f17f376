import type { InspectionEvent } from 'xstate';
import type { Clock } from '../ports/clock.ts';

/** A timer's limit: a longer one would fire at once. Milliseconds. */
export const longestDelayMs = 2 ** 31 - 1;

/** XState's clock has no options: a machine's timers never keep a process alive. One that is not finite never fires. */
export function machineClock(clock: Clock) {
  return {
    setTimeout: (callback: (...args: unknown[]) => void, delayMs: number) =>
      Number.isFinite(delayMs)
        ? clock.setTimeout(() => callback(), Math.min(delayMs, longestDelayMs))
        : undefined,
    clearTimeout: (timer: unknown) => {
      if (timer !== undefined) clock.clearTimeout(timer);
    },
  };
}

/** Is told of every step of a machine: for whoever counts what was reached. */
export type Inspector = (event: InspectionEvent) => void;

/** What every hosted machine gets. */
export function hosting(clock: Clock, inspect: Inspector | undefined) {
  return { clock: machineClock(clock), ...(inspect === undefined ? {} : { inspect }) };
}
