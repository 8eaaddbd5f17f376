import { limits } from '../../limits.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Watch } from '../kv.ts';

/**
 * Watches of one database of the client. The client grants a number of them to each database object, so they are
 * counted, and one native watch serves all who wait for the same key **and saw the same value**.
 *
 * Why that misses nothing. A native watch that was armed with the value `x` fires when the key's value is not `x`,
 * whenever that is noticed: the server compares values, it does not count changes. Whoever saw `x` too is to be told when
 * the value is not `x` any more, and for that it is all the same at which version it read, or whether it armed first: a
 * change after its read makes the value another one, and the watch fires; a change that was taken back before anybody
 * looked may be missed, as by a watch of its own. Whoever saw `y` must not take part: the watch on `x` may have fired for
 * `y` already, or be about to stay quiet for ever once the value is `x` again. It gets a watch of its own, under its own
 * value. Only armed watches are shared, those of committed transactions: another one compares with nothing yet, and ends
 * without a word when its transaction does not commit.
 *
 * Where there is no room, or the client ends a watch by itself (a limit of its own, a recovery, a lost server), whoever
 * waits is told after a second that the value may have changed. Nobody is told at once: a client that refuses would be
 * asked in a tight loop.
 */
const pollMs = 1_000;

/** As the client gives it. False: its transaction was canceled, or did not commit. */
interface NativeWatch {
  readonly promise: Promise<boolean>;
  cancel(): void;
}

/** What the watched key held when the transaction looked. */
export type Seen = Promise<Buffer | undefined>;

/** A watch whose transaction has not committed. */
export interface PendingWatch {
  readonly watch: Watch;
  /** Before the commit: finds a watch to share, or arms one in the transaction. */
  prepare(): Promise<void>;
  /** Arms one in the transaction now: it is about to write, and the watch is for the value before that. */
  armNow(): void;
  committed(): void;
  /** The transaction ended without a commit. */
  drop(): void;
}

/** The watches of one port. */
export interface DriverWatches {
  /** `arm` is called once at most. */
  create(key: Buffer, seen: Seen, arm: () => NativeWatch): PendingWatch;
  /** Ends those of this port: their promises answer false. */
  cancelAll(): void;
}

export interface WatchHub {
  join(): DriverWatches;
  /** Native watches that are out. */
  readonly used: number;
}

interface Waiter {
  readonly watch: Watch;
  readonly isDone: boolean;
  source: Source | undefined;
  end(changed: boolean): void;
}

/** What wakes some waiters: a native watch, or the clock. */
interface Source {
  readonly waiters: Set<Waiter>;
  readonly isNative: boolean;
  /** Under which it is shared; undefined until it is armed. */
  id: string | undefined;
  isOver: boolean;
  stop(): void;
}

export function createWatchHub(clock: Clock): WatchHub {
  let used = 0;
  const armed = new Map<string, Source>();

  const attach = (waiter: Waiter, source: Source) => {
    waiter.source = source;
    source.waiters.add(waiter);
  };
  const forget = (source: Source) => {
    if (source.id !== undefined && armed.get(source.id) === source) armed.delete(source.id);
  };
  const wake = (source: Source) => {
    forget(source);
    source.isOver = true;
    for (const waiter of source.waiters) waiter.end(true);
  };
  const leave = (waiter: Waiter) => {
    const { source } = waiter;
    waiter.source = undefined;
    if (source === undefined || source.isOver) return;
    source.waiters.delete(waiter);
    if (source.waiters.size > 0) return;
    forget(source);
    source.isOver = true;
    source.stop();
  };

  /** Keeps no process alive. */
  const poll = (waiter: Waiter) => {
    const timer = clock.setTimeout(() => wake(source), pollMs);
    const source = createSource(false, () => clock.clearTimeout(timer));
    attach(waiter, source);
  };
  const pollInstead = (source: Source) => {
    forget(source);
    source.isOver = true;
    for (const waiter of source.waiters) poll(waiter);
  };

  const armFor = (waiter: Waiter, arm: () => NativeWatch) => {
    if (used >= limits.database.driverWatches.value) return poll(waiter);
    let native: NativeWatch;
    try {
      native = arm();
    } catch {
      return poll(waiter);
    }
    used += 1;
    const source = createSource(true, () => native.cancel());
    attach(waiter, source);
    void native.promise
      .then(
        (changed) => (changed ? wake(source) : pollInstead(source)),
        () => pollInstead(source),
      )
      .finally(() => {
        used -= 1;
      });
    return undefined;
  };

  const join = (): DriverWatches => {
    const own = new Set<Waiter>();
    const createWaiter = (): Waiter => {
      let settle!: (changed: boolean) => void;
      const changed = new Promise<boolean>((resolve) => {
        settle = resolve;
      });
      let isDone = false;
      const waiter: Waiter = {
        watch: { changed, cancel: () => waiter.end(false) },
        get isDone() {
          return isDone;
        },
        source: undefined,
        end(value) {
          if (isDone) return;
          isDone = true;
          own.delete(waiter);
          leave(waiter);
          settle(value);
        },
      };
      own.add(waiter);
      return waiter;
    };
    return {
      create(key, seen, arm) {
        const waiter = createWaiter();
        let id: string | undefined;
        let isPlaced = false;
        const armNow = () => {
          if (isPlaced || waiter.isDone) return;
          isPlaced = true;
          armFor(waiter, arm);
        };
        // Nobody may ask.
        seen.catch(() => undefined);
        return {
          watch: waiter.watch,
          armNow,
          async prepare() {
            if (isPlaced) return;
            // What cannot be read, like a value that only the commit makes, is watched and not shared.
            id = await seen.then(
              (value) => idOf(key, value),
              () => undefined,
            );
            if (waiter.isDone || isPlaced) return;
            const shared = id === undefined ? undefined : armed.get(id);
            if (shared === undefined) return armNow();
            isPlaced = true;
            attach(waiter, shared);
          },
          committed() {
            const { source } = waiter;
            if (source?.isNative !== true || id === undefined || source.id !== undefined) return;
            const other = armed.get(id);
            if (other === undefined) {
              source.id = id;
              armed.set(id, source);
              return;
            }
            // Two transactions armed at the same time.
            leave(waiter);
            attach(waiter, other);
          },
          drop: () => waiter.end(false),
        };
      },
      cancelAll() {
        for (const waiter of own) waiter.end(false);
      },
    };
  };
  return {
    join,
    get used() {
      return used;
    },
  };
}

function createSource(isNative: boolean, stop: () => void): Source {
  return { waiters: new Set(), isNative, id: undefined, isOver: false, stop };
}

function idOf(key: Buffer, value: Buffer | undefined): string {
  const text = key.toString('latin1');
  return value === undefined
    ? `${text.length}:${text}`
    : `${text.length}:${text}=${value.toString('latin1')}`;
}
