import { isStopping, readIntent } from '../intent.ts';
import type { IntentWatch } from '../intent-watch.ts';
import { watchForStop } from '../intent-watch.ts';
import type { HeldMigration, ModelMigration } from '../runtime.ts';
import { eitherOf } from '../watch.ts';
import type { BackPressure } from './back-pressure.ts';
import { backPressureMs, backPressureReason } from './back-pressure.ts';
import type { PreparedChunk } from './chunk.ts';
import type { Pass } from './mover.ts';

/** Why a chunk waits: the limit in records per second, the host's own function, or the database. */
export type ThrottleCause = 'limit' | 'host' | 'pressure';

/** What holds the chunks of one pass in this process back, and says so. */
export interface Pacing {
  /**
   * Waits until a chunk may be written. An operator's intent, a stop, or a lost lease ends it at once: the commit finds out
   * which. Answers the milliseconds that were waited for each cause.
   */
  wait(chunk: PreparedChunk, pressure: BackPressure): Promise<WaitedMs>;
  /** After each chunk: how long it took, in milliseconds, without what it waited. */
  worked(workedMs: number, waitedMs: WaitedMs): void;
  /** How long a limit lets this process take for so many records at least. Milliseconds, 0 without one. */
  leastMs(records: number): number;
  /** Nothing is moved any more. */
  end(): Promise<void>;
}

type Waiting = (
  ending: AbortSignal,
  /** Told why it waits, and for how many milliseconds at least. */
  onWait: (reason: string, leastMs: number) => void,
) => Promise<void>;

export type WaitedMs = Readonly<Record<ThrottleCause, number>>;

const nothingWaited: WaitedMs = { limit: 0, host: 0, pressure: 0 };

/** A chunk that waits for so long is throttled, whatever went before. Milliseconds. */
const longMs = 500;
/** Parts of the time of the movers: above the first a migration is throttled, below the second it is not any more. */
const throttledFrom = 1 / 3;
const throttledTo = 1 / 6;
/** How fast older chunks lose their weight in that. Milliseconds: status does not change with each chunk. */
const memoryMs = 5_000;

export function createPacing(
  migration: ModelMigration,
  held: HeldMigration,
  { name }: Pick<Pass, 'name'>,
  signal: AbortSignal,
): Pacing {
  const { runtime, model } = migration;
  const { clock, sessions, throttle, meters, events } = runtime;
  // Verification only reads: what it costs others is little, and what is blocked waits for it.
  if (name === 'verify') {
    return {
      wait: () => Promise.resolve(nothingWaited),
      worked: () => undefined,
      leastMs: () => 0,
      end: () => Promise.resolve(),
    };
  }

  let waited = 0;
  let worked = 0;
  let lastAtMs = clock.monotonicMs();
  let sinceMs: number | undefined;
  let intentWatch: IntentWatch | undefined;
  let telling: Promise<void> = Promise.resolve();
  const reasons = new Map<ThrottleCause, string>();

  const say = (reason: string | undefined) => {
    const isNews = (reason === undefined) !== (sinceMs === undefined);
    sinceMs = reason === undefined ? undefined : (sinceMs ?? clock.wallMs());
    const said = reason === undefined || sinceMs === undefined ? undefined : { reason, sinceMs };
    const told = sessions.tellThrottled(model.id, said);
    if (!isNews) return;
    telling = Promise.all([telling, told.then(() => events.changed(model))]).then(() => undefined);
  };

  /** Only for long waits: it costs a transaction, and the commit reads the intent in any case. */
  const watchIntent = (): AbortSignal => {
    // One that was told, and taken back.
    if (intentWatch?.signal.aborted === true) intentWatch = undefined;
    intentWatch ??= watchForStop(migration, held);
    return intentWatch.signal;
  };

  const isToStop = () =>
    runtime.database.transact(
      async (tx) => isStopping(await readIntent(tx, model.keys, held.state.migrationId)),
      { signal: held.lease.lost },
    );

  /** Runs what waits. When that has become long it is said, and an intent ends it. */
  const during = async (cause: ThrottleCause, leftMs: number, work: Waiting) => {
    const startedMs = clock.monotonicMs();
    const ending = new AbortController();
    const end = () => ending.abort();
    let told: AbortSignal | undefined;
    let timer: unknown;
    const isLong = () => {
      clock.clearTimeout(timer);
      timer = undefined;
      if (told === undefined) {
        told = watchIntent();
        told.addEventListener('abort', end, { once: true });
        if (told.aborted) end();
      }
      say(reasons.get(cause));
    };
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
    try {
      await work(ending.signal, (reason, leastMs) => {
        reasons.set(cause, reason);
        if (told !== undefined || leastMs >= leftMs) isLong();
        else timer ??= clock.setTimeout(isLong, Math.max(0, leftMs));
      });
    } finally {
      clock.clearTimeout(timer);
      signal.removeEventListener('abort', end);
      told?.removeEventListener('abort', end);
    }
    return { tookMs: clock.monotonicMs() - startedMs, isOver: !ending.signal.aborted };
  };

  const fade = () => {
    const nowMs = clock.monotonicMs();
    const weight = Math.exp((lastAtMs - nowMs) / memoryMs);
    waited *= weight;
    worked *= weight;
    lastAtMs = nowMs;
  };

  return {
    async wait({ records, bytes }, pressure) {
      const waitedMs = { limit: 0, host: 0, pressure: 0 };
      let leftMs = longMs;
      /** Answers whether it was waited to the end. */
      const waitFor = async (cause: ThrottleCause, work: Waiting): Promise<boolean> => {
        const { tookMs, isOver } = await during(cause, leftMs, work);
        leftMs -= tookMs;
        waitedMs[cause] += tookMs;
        if (tookMs > 0) meters.throttled(model.name, cause, tookMs / 1_000);
        return isOver;
      };
      const { host, limit } = throttle;
      const pressedMs = backPressureMs(pressure);
      const all: readonly (() => Promise<boolean>)[] = [
        async () =>
          pressedMs === 0 ||
          waitFor('pressure', (ending, onWait) => {
            onWait(backPressureReason(pressure), pressedMs);
            return eitherOf(clock, [], pressedMs, ending, { ref: true });
          }),
        async () => {
          if (host === undefined) return true;
          const chunk = { modelId: model.id, modelName: model.name, pass: name, records, bytes };
          return waitFor('host', (ending, onWait) => host.wait(chunk, ending, onWait));
        },
        // The last one: what it lets through is counted as moved.
        async () =>
          limit === undefined || waitFor('limit', (ending, onWait) => limit.take(records, ending, onWait)),
      ];
      for (const one of all) {
        // An intent that was withdrawn before anybody obeyed lets nothing through.
        while (!(await one())) if (signal.aborted || (await isToStop())) return waitedMs;
      }
      return waitedMs;
    },
    worked(workedMs, waitedMs) {
      fade();
      const { limit, host, pressure } = waitedMs;
      waited += limit + host + pressure;
      worked += workedMs;
      const share = waited / Math.max(1, waited + worked);
      if (sinceMs !== undefined && share < throttledTo) say(undefined);
      else if (sinceMs === undefined && share > throttledFrom) {
        const causes = (Object.keys(waitedMs) as ThrottleCause[]).filter((cause) => waitedMs[cause] > 0);
        const [longest] = causes.toSorted((a, b) => waitedMs[b] - waitedMs[a]);
        if (longest !== undefined) say(reasons.get(longest));
      }
    },
    leastMs: (records) => throttle.limit?.leastMs(records) ?? 0,
    async end() {
      intentWatch?.end();
      if (sinceMs !== undefined) say(undefined);
      await telling;
    },
  };
}
