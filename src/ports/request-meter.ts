import type { Clock } from './clock.ts';

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
/** Of commits: processes without a request make some too, about one a second. */
const fewElsewhere = 10;

/** @param commitsOfOthers with priority `default` so far; it never falls */
export function createRequestMeter(clock: Clock, commitsOfOthers: () => number): RequestMeter {
  let beganMs = clock.monotonicMs();
  let here = 0;
  let hereBefore = 0;
  let elsewhereAtStart = commitsOfOthers();
  let elsewhereBefore = 0;

  const elsewhere = () => commitsOfOthers() - elsewhereAtStart;
  /** Begins a new window where the last one is over; what lies longer ago than one is forgotten. */
  const goOn = () => {
    const nowMs = clock.monotonicMs();
    if (nowMs - beganMs < windowMs) return;
    const isRecent = nowMs - beganMs < 2 * windowMs;
    hereBefore = isRecent ? here : 0;
    elsewhereBefore = isRecent ? elsewhere() : 0;
    here = 0;
    elsewhereAtStart = commitsOfOthers();
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
