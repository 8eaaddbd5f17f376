/**
 * Time. The only file that touches the runtime's clocks and timers, so that a simulation can own them.
 * (Named after xstate's port of the same shape, which every hosted machine receives.)
 */
export interface Clock {
  /** Milliseconds since an arbitrary start; never goes back. May have a fraction. */
  monotonicMs(): number;
  /** Milliseconds since 1970 by the wall clock. For people and audit events, never for decisions. */
  wallMs(): number;
  /** Calls back after `delayMs`. The timer does not keep the process alive unless `ref` is true. */
  setTimeout(callback: () => void, delayMs: number, options?: { readonly ref?: boolean }): unknown;
  clearTimeout(timer: unknown): void;
}

export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimeout(callback, delayMs, options) {
    const timer = setTimeout(callback, delayMs);
    if (options?.ref !== true) timer.unref();
    return timer;
  },
  clearTimeout(timer) {
    clearTimeout(timer as NodeJS.Timeout);
  },
};

/**
 * Resolves after `delayMs`, or as soon as `signal` aborts: it never rejects, callers look at their signal.
 * Keeps the process alive while somebody waits: a wait is work in progress, not an idle timer.
 */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted === true) return Promise.resolve();
  return new Promise((resolve) => {
    const end = () => {
      clock.clearTimeout(timer);
      signal?.removeEventListener('abort', end);
      resolve();
    };
    const timer = clock.setTimeout(end, delayMs, { ref: true });
    signal?.addEventListener('abort', end, { once: true });
  });
}

/** The same for a wait that is nobody's work in progress: it keeps no process alive. */
export function rest(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = () => {
      clock.clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = clock.setTimeout(end, delayMs);
    signal.addEventListener('abort', end, { once: true });
  });
}
