import type { Clock } from '../../ports/clock.ts';

/** How fast this process moves a pass, over all the ranges that it moves side by side. */
export interface RateMeter {
  /** One more range is being moved, until its `end` is called. */
  begin(): RangeClock;
  /** After a commit. */
  moved(records: number): void;
  /** Records per second that one of the ranges may call its own: together they have what is measured. */
  share(): number;
}

/** The time of this process as one of its ranges has it: of those that are moved side by side each has an equal part. */
export interface RangeClock {
  /**
   * Milliseconds since its last commit. Undefined for what was under way when this process committed its first chunk: threads
   * were started then, and modules loaded.
   */
  sharedMs(): number | undefined;
  committed(): void;
  end(): void;
}

/**
 * How fast older commits lose their weight. Milliseconds: a few chunks of each mover, so that the rate is steady, and
 * short enough that a person sees it follow.
 */
const memoryMs = 2_000;

/** Measured from commit to commit, so that waiting for the disk, the pool and the throttle counts: the ETA has to hold. */
export function createRateMeter(clock: Clock): RateMeter {
  const startedAtMs = clock.monotonicMs();
  let lastAtMs = startedAtMs;
  let weighted = 0;
  let ranges = 0;
  /** What each of the ranges has had since the meter began, as far as it was there. */
  let sharedMs = 0;
  let sharedAtMs = startedAtMs;
  let hasCommitted = false;
  const shareOut = () => {
    const nowMs = clock.monotonicMs();
    if (ranges > 0) sharedMs += (nowMs - sharedAtMs) / ranges;
    sharedAtMs = nowMs;
    return sharedMs;
  };
  const fade = () => {
    const nowMs = clock.monotonicMs();
    weighted *= Math.exp((lastAtMs - nowMs) / memoryMs);
    lastAtMs = nowMs;
  };
  return {
    begin() {
      const beganMs = shareOut();
      ranges += 1;
      let sinceMs = hasCommitted ? beganMs : undefined;
      return {
        sharedMs: () => (sinceMs === undefined ? undefined : shareOut() - sinceMs),
        committed() {
          hasCommitted = true;
          sinceMs = shareOut();
        },
        end() {
          shareOut();
          ranges -= 1;
        },
      };
    },
    moved(records) {
      fade();
      weighted += records;
    },
    share() {
      fade();
      // In the beginning there is less to remember than `memoryMs`.
      const rememberedMs = memoryMs * (1 - Math.exp((startedAtMs - lastAtMs) / memoryMs));
      if (rememberedMs === 0) return 0;
      return ((weighted / rememberedMs) * 1_000) / Math.max(1, ranges);
    },
  };
}
