import { limits } from '../../limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Watch } from '../kv.ts';

/** Without a watch this is how late a change is noticed. Milliseconds. */
const pollMs = 1_000;

/** Counts watches, and stands in for those that are too many. */
export interface WatchBudget {
  take(arm: () => { readonly promise: Promise<boolean>; cancel(): void }): Watch;
  readonly used: number;
  /** Ends all of them: their promises answer false. */
  cancelAll(): void;
}

export function createWatchBudget(clock: Clock): WatchBudget {
  const live = new Set<{ cancel(): void }>();
  /** Beside the client's own promise: a client that is closed need not answer. */
  const withEnd = (watch: Watch): Watch => {
    let end!: (changed: boolean) => void;
    const ended = new Promise<boolean>((resolve) => {
      end = resolve;
    });
    const entry = {
      cancel() {
        watch.cancel();
        end(false);
      },
    };
    live.add(entry);
    const changed = Promise.race([watch.changed, ended]);
    void changed.finally(() => live.delete(entry));
    return { changed, cancel: () => entry.cancel() };
  };
  let used = 0;
  return {
    get used() {
      return used;
    },
    cancelAll() {
      for (const watch of live) watch.cancel();
    },
    take(arm) {
      if (used >= limits.database.driverWatches.value) return withEnd(createPoll(clock));
      const native = arm();
      used += 1;
      const changed = native.promise.then(
        (value) => value,
        // Lost, by a recovery or a client that was cut off: it may have changed.
        () => true,
      );
      void changed.finally(() => {
        used -= 1;
      });
      return withEnd({ changed, cancel: () => native.cancel() });
    },
  };
}

/** Says after a while that the value may have changed. Keeps no process alive. */
function createPoll(clock: Clock): Watch {
  let end!: (changed: boolean) => void;
  const changed = new Promise<boolean>((resolve) => {
    end = resolve;
  });
  const timer = clock.setTimeout(() => end(true), pollMs);
  return {
    changed,
    cancel() {
      clock.clearTimeout(timer);
      end(false);
    },
  };
}
