import type { Clock } from '../ports/clock.ts';

/** Whether others want something of the database, besides migrations. */
export interface RequestMeter {
  /** A request of this process was answered. One that a gate refused waits for the migration, and is none. */
  answered(): void;
  /** Whether requests have come in lately: in this process, or in others that it shares a lock with. */
  areComing(): boolean;
}

/** Counted are the window under way and the one before it. Milliseconds. */
const windowMs = 1_000;
/** In a window; fewer are not worth slowing down for. */
const fewHere = 5;
/** The same of those that other processes have committed: they answer more, of which nobody here knows. */
const fewElsewhere = 2;

/** @param requestsOfOthers that they have committed so far; it never falls */
export function createRequestMeter(clock: Clock, requestsOfOthers: () => number): RequestMeter {
  let beganMs = clock.monotonicMs();
  let here = 0;
  let hereBefore = 0;
  let elsewhereAtStart = requestsOfOthers();
  let elsewhereBefore = 0;

  const elsewhere = () => requestsOfOthers() - elsewhereAtStart;
  /** Begins a new window where the last one is over; what lies longer ago than one is forgotten. */
  const goOn = () => {
    const nowMs = clock.monotonicMs();
    if (nowMs - beganMs < windowMs) return;
    const isRecent = nowMs - beganMs < 2 * windowMs;
    hereBefore = isRecent ? here : 0;
    elsewhereBefore = isRecent ? elsewhere() : 0;
    here = 0;
    elsewhereAtStart = requestsOfOthers();
    beganMs = nowMs;
  };

  return {
    answered() {
      goOn();
      here += 1;
    },
    areComing() {
      goOn();
      return Math.max(here, hereBefore) >= fewHere || Math.max(elsewhere(), elsewhereBefore) >= fewElsewhere;
    },
  };
}
