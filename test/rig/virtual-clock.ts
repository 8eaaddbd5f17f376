import type { Clock } from '../../src/ports/clock.ts';

interface Timer {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
}

/** A clock that stands still until the test moves it. */
export interface VirtualClock extends Clock {
  /** Moves both clocks forward and runs the timers that fall due, in their order. Runs no microtasks in between. */
  advance(milliseconds: number): void;
  /** The same, but lets promises settle after each timer, so that what a timer starts can set further ones. */
  advanceAsync(milliseconds: number): Promise<void>;
  /** Moves to the next timer and runs it. Answers false when there is none. */
  advanceToNextTimer(): boolean;
  /** Moves the wall clock alone, in either direction, as an administrator or NTP would. */
  stepWall(milliseconds: number): void;
  readonly pendingTimers: number;
}

/** Both clocks begin at a fixed time, so that tests come out the same. `startWallMs`: milliseconds since 1970. */
export function createVirtualClock(startWallMs = 1_700_000_000_000): VirtualClock {
  let nowMs = 0;
  let wallOffsetMs = startWallMs;
  let order = 0;
  const timers = new Set<Timer>();

  const nextTimer = (untilMs: number): Timer | undefined => {
    let next: Timer | undefined;
    for (const timer of timers) {
      if (timer.dueMs > untilMs) continue;
      const isEarlier =
        next === undefined ||
        timer.dueMs < next.dueMs ||
        (timer.dueMs === next.dueMs && timer.order < next.order);
      if (isEarlier) next = timer;
    }
    return next;
  };
  const runNext = (untilMs: number): boolean => {
    const timer = nextTimer(untilMs);
    if (timer === undefined) return false;
    timers.delete(timer);
    nowMs = Math.max(nowMs, timer.dueMs);
    timer.callback();
    return true;
  };

  return {
    monotonicMs: () => nowMs,
    // Whole milliseconds, as the system's.
    wallMs: () => Math.floor(nowMs + wallOffsetMs),
    setTimeout(callback, delayMs) {
      const timer: Timer = { dueMs: nowMs + Math.max(0, delayMs), order: order++, callback };
      timers.add(timer);
      return timer;
    },
    clearTimeout(timer) {
      timers.delete(timer as Timer);
    },
    advance(milliseconds) {
      const untilMs = nowMs + milliseconds;
      while (runNext(untilMs));
      nowMs = untilMs;
    },
    async advanceAsync(milliseconds) {
      const untilMs = nowMs + milliseconds;
      // A macrotask ends every chain of promises that needs no I/O.
      const settle = () => new Promise((resolve) => setImmediate(resolve));
      await settle();
      while (runNext(untilMs)) await settle();
      nowMs = untilMs;
      await settle();
    },
    advanceToNextTimer: () => runNext(Number.POSITIVE_INFINITY),
    stepWall(milliseconds) {
      wallOffsetMs += milliseconds;
    },
    get pendingTimers() {
      return timers.size;
    },
  };
}
