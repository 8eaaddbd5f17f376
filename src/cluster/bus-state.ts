import type { Clock } from '../ports/clock.ts';
import type { BusCounts, BusError, BusLogger, BusState } from './bus.ts';

/** What the drivers of the bus keep about themselves. */
export interface BusStateKeeper {
  readonly state: BusState;
  readonly counts: BusCounts;
  onState(listener: (state: BusState) => void): () => void;
  /** Tells the listeners, where that is a change. Nothing follows on `closed`. */
  change(type: BusState['type']): void;
  /** A message was not handed on. */
  dropped(): void;
  /** Counted and kept in `lastError`; logged when it is the first of its code. */
  failed(code: string, message: string): void;
}

export function keepBusState(
  clock: Clock,
  type: BusState['type'],
  logger: BusLogger | undefined,
): BusStateKeeper {
  const listeners = new Set<(state: BusState) => void>();
  const counts = { dropped: 0, failures: 0 };
  const logged = new Set<string>();
  let state: BusState = { type, sinceMs: clock.wallMs() };

  const keeper: BusStateKeeper = {
    get state() {
      return state;
    },
    get counts() {
      return { ...counts };
    },
    onState(listener) {
      // One function may listen twice, and ends once for each time.
      const own = (given: BusState) => listener(given);
      listeners.add(own);
      return () => void listeners.delete(own);
    },
    change(next) {
      if (state.type === next || state.type === 'closed') return;
      state = { ...state, type: next, sinceMs: clock.wallMs() };
      for (const listener of listeners) {
        try {
          listener(state);
        } catch (error) {
          keeper.failed('LISTENER_THREW', messageOf(error));
        }
      }
      if (next === 'closed') listeners.clear();
    },
    dropped: () => void (counts.dropped += 1),
    failed(code, message) {
      counts.failures += 1;
      const lastError: BusError = { code, message, atMs: clock.wallMs() };
      state = { ...state, lastError };
      if (logged.has(code)) return;
      logged.add(code);
      try {
        logger?.warn({ code }, `the message bus: ${message}`);
      } catch {
        // A logger that fails has nobody to be told to.
      }
    },
  };
  return keeper;
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
