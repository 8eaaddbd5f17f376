import type { KeyValueDatabase, Transaction } from '../kv/kv.ts';
import type { Clock } from '../ports/clock.ts';
import { rest } from '../ports/clock.ts';
import type { ProcessIdentity, ProcessPort } from '../ports/process.ts';
import type { StoreKeys } from '../records/keys.ts';
import { rangeOf } from '../records/keys.ts';
import {
  createRowFormat,
  isCount,
  isListOf,
  isNumber,
  isOptional,
  isShape,
  isString,
} from '../records/row.ts';

/** That a process moves a model slower than it could, and why. */
export interface Throttled {
  readonly modelId: number;
  readonly reason: string;
  /** Wall clock, for people. */
  readonly sinceMs: number;
}

/** A process that moves ranges, for as long as it does. Its beats say that its claims still count. */
export interface Session extends ProcessIdentity {
  readonly session: string;
  /** One more with each beat. */
  readonly n: number;
  readonly nodeId: string;
  readonly ttlMs: number;
  /** Wall clock of the last beat, for people. */
  readonly atMs: number;
  /** The models that it moves slower than it could; left out where there are none. */
  readonly throttled?: readonly Throttled[] | undefined;
}

const sessionFormat = createRowFormat<Session>('session', {
  session: isString,
  n: isCount,
  nodeId: isString,
  ttlMs: isNumber,
  atMs: isNumber,
  host: isString,
  pid: isCount,
  bootId: isString,
  pidNamespace: isString,
  startTime: isString,
  throttled: isOptional(
    isListOf(isShape<Throttled>({ modelId: isCount, reason: isString, sinceMs: isNumber })),
  ),
});

/** What was watched of a session is forgotten when nobody has asked for it for so long. Milliseconds. */
const forgottenMs = 1_200_000;
/** Rows of sessions that are looked at together, to bury or to count them. */
const buriedAtOnce = 1_000;

/** The sessions of a database, as one process keeps its own and judges others. */
export interface Sessions {
  /**
   * Beats until as many times let go as it was held. One that leads also buries, with each beat, who died without claims:
   * nobody else would come across their rows.
   */
  hold(role: 'leader' | 'helper'): { letGo(): Promise<void> };
  /** In each transaction that claims: whoever sees the claim finds the session. */
  announce(tx: Transaction): Promise<void>;
  /**
   * Whether nobody stands behind its claims any more: it has ended, is dead for certain, or was seen silent for its whole
   * TTL, by the rule of the lease (protocol 5). Read without a conflict: claims have numbers.
   */
  isOver(tx: Transaction, session: string): Promise<boolean>;
  /**
   * Clears the row of one of whom `isOver` was answered in this transaction: nobody else would. Whoever is taken for dead
   * and is not finds it missing, and is there again with its next claim.
   */
  bury(tx: Transaction, session: string): Promise<void>;
  /** Whoever lost its lease to a silence that was watched is as silent as a mover. */
  presumeOver(session: string): void;
  /** What a session says of itself, for people. */
  find(tx: Transaction, session: string): Promise<SessionSaying | undefined>;
  /**
   * The sessions that are not over, this one first: it is announced where it is not. Each call looks at the database, in a
   * transaction that begins behind the commit of the announcement. Nobody else can have announced itself before the call
   * and be missing.
   */
  living(signal: AbortSignal): Promise<Living | undefined>;
  /** Another number each time that this process was announced anew: until then nobody had counted it. */
  arrival(): number;
  /**
   * What the row says of a model from now on: at once where the model was not throttled and is, or the other way round,
   * else with the next beat. Never rejects.
   */
  tellThrottled(modelId: number, throttled: Omit<Throttled, 'modelId'> | undefined): Promise<void>;
}

/** What people are told of a session. */
export type SessionSaying = Pick<Session, 'nodeId' | 'ttlMs' | 'atMs' | 'throttled'>;

export interface Living {
  /** As of the row that was read. */
  readonly arrival: number;
  /** TTLs of the others, milliseconds. */
  readonly othersTtlMs: readonly number[];
}

/** A session, as the database has it. */
export async function readSession(
  tx: Transaction,
  keys: StoreKeys,
  session: string,
): Promise<Session | undefined> {
  return sessionFormat.parseOptional(await tx.get(keys.session(session), { snapshot: true }));
}

export interface SessionsOptions {
  readonly database: KeyValueDatabase;
  readonly keys: StoreKeys;
  readonly clock: Clock;
  readonly process: ProcessPort;
  /** Of this process. */
  readonly session: string;
  readonly nodeId: string;
  readonly ttlMs: number;
  readonly heartbeatMs: number;
  readonly onFailure: (error: unknown) => void;
}

/** What this process has itself watched of another: no clock of another machine is ever compared. */
interface Observation {
  /** Undefined: whichever is found first. */
  readonly n: number | undefined;
  readonly unchangedMs: number;
  readonly readAtMs: number;
}

export function createSessions(options: SessionsOptions): Sessions {
  const { database, keys, clock, process, session: own, nodeId, ttlMs, heartbeatMs, onFailure } = options;
  const key = keys.session(own);
  const observations = new Map<string, Observation>();
  let holders = 0;
  let leaders = 0;
  let beating: { readonly end: AbortController; readonly over: Promise<void> } | undefined;
  /** Grows also over rows that were cleared: no two of them are alike for whoever watches. */
  let beats = 0;
  let isAnnounced = false;
  let arrivals = 0;
  const throttled = new Map<number, Throttled>();
  let leaving: Promise<unknown> = Promise.resolve();

  const write = (tx: Transaction, n: number) => {
    beats = Math.max(beats, n);
    const said = throttled.size === 0 ? {} : { throttled: [...throttled.values()] };
    const row = { ...process.identity, session: own, n, nodeId, ttlMs, atMs: clock.wallMs(), ...said };
    tx.set(key, sessionFormat.encode(row));
  };
  const read = (tx: Transaction, session: string) => readSession(tx, keys, session);

  const beat = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      await rest(clock, heartbeatMs, signal);
      if (signal.aborted) return;
      try {
        await database.transact(
          async (tx) => {
            const present = sessionFormat.parseOptional(await tx.get(key));
            // Taken for dead: whoever claims again says that it is not.
            if (present !== undefined) write(tx, present.n + 1);
          },
          { signal },
        );
        if (leaders > 0) await database.transact(buryAll, { signal });
      } catch (error) {
        if (!signal.aborted) onFailure(error);
      }
    }
  };

  const leave = async (): Promise<void> => {
    if (!isAnnounced) return;
    isAnnounced = false;
    await database.transact((tx) => Promise.resolve(tx.clear(key))).catch(onFailure);
  };

  const observe = (session: string, { n, ttlMs: itsTtlMs }: Session): boolean => {
    const nowMs = clock.monotonicMs();
    // Nobody has asked for so long that nothing of it counts any more.
    for (const [other, { readAtMs }] of observations) {
      if (nowMs - readAtMs > forgottenMs) observations.delete(other);
    }
    const seen = observations.get(session);
    const isSame = seen !== undefined && (seen.n === undefined || seen.n === n);
    // Whoever was frozen, or could not read, has not watched meanwhile: at most two beats count.
    const unchangedMs = isSame ? seen.unchangedMs + Math.min(nowMs - seen.readAtMs, 2 * heartbeatMs) : 0;
    observations.set(session, { n, unchangedMs, readAtMs: nowMs });
    return unchangedMs >= Math.max(itsTtlMs, ttlMs);
  };

  const isSilent = (row: Session): boolean => {
    if (!process.isCertainlyDead(row, row.session)) return observe(row.session, row);
    observations.delete(row.session);
    return true;
  };

  const isOver = async (tx: Transaction, session: string): Promise<boolean> => {
    if (session === own) return false;
    const row = await read(tx, session);
    if (row !== undefined) return isSilent(row);
    observations.delete(session);
    return true;
  };

  const bury = async (tx: Transaction, session: string): Promise<void> => {
    if (session === own) return;
    const row = sessionFormat.parseOptional(await tx.get(keys.session(session)));
    if (row === undefined) return;
    // One that has beaten since it was judged conflicts, or is seen alive here.
    const isDead = process.isCertainlyDead(row, session) || observations.get(session)?.n === row.n;
    if (isDead) tx.clear(keys.session(session));
  };

  const readAll = async (tx: Transaction): Promise<readonly Session[]> => {
    const { begin, end } = rangeOf(keys.sessions);
    const rows = await tx.getRangeAll(begin, end, { snapshot: true, limit: buriedAtOnce });
    return rows.map(({ value }) => sessionFormat.parse(value));
  };

  const buryAll = async (tx: Transaction): Promise<void> => {
    for (const { session } of await readAll(tx)) {
      if (await isOver(tx, session)) await bury(tx, session);
    }
  };

  const announce = async (tx: Transaction): Promise<void> => {
    // Who lets go and claims again finds the row gone, or the claim conflicts with its clearing.
    await leaving;
    isAnnounced = true;
    if ((await tx.get(key)) !== undefined) return;
    arrivals += 1;
    write(tx, beats + 1);
  };

  return {
    hold(role) {
      const leads = role === 'leader' ? 1 : 0;
      holders += 1;
      leaders += leads;
      if (beating === undefined) {
        const end = new AbortController();
        beating = { end, over: beat(end.signal) };
      }
      let isHeld = true;
      return {
        async letGo() {
          if (!isHeld) return;
          isHeld = false;
          holders -= 1;
          leaders -= leads;
          if (holders > 0 || beating === undefined) return;
          const { end, over } = beating;
          beating = undefined;
          end.abort();
          await over;
          if (holders > 0) return;
          leaving = leave();
          await leaving;
        },
      };
    },
    announce,
    isOver,
    bury,
    presumeOver(session) {
      if (session === own) return;
      const unchangedMs = Number.POSITIVE_INFINITY;
      observations.set(session, { n: undefined, unchangedMs, readAtMs: clock.monotonicMs() });
    },
    async find(tx, session) {
      if (session !== own) return read(tx, session);
      return { nodeId, ttlMs, atMs: clock.wallMs(), throttled: [...throttled.values()] };
    },
    async living(signal) {
      // Taken for dead, or between two claims: what nobody counts must not move.
      for (let attempt = 0; attempt < 3; attempt += 1) {
        const arrival = arrivals;
        const rows = await database.transact(readAll, { signal });
        // Announced anew meanwhile: nobody knows which of the two rows was read.
        if (arrival !== arrivals) continue;
        if (rows.some(({ session }) => session === own)) {
          const others = rows.filter((row) => row.session !== own && !isSilent(row));
          return { arrival, othersTtlMs: others.map((other) => other.ttlMs) };
        }
        await database.transact(announce, { signal });
      }
      return undefined;
    },
    arrival: () => arrivals,
    async tellThrottled(modelId, said) {
      const isNews = throttled.has(modelId) !== (said !== undefined);
      if (said === undefined) throttled.delete(modelId);
      else throttled.set(modelId, { modelId, ...said });
      if (!isNews || !isAnnounced) return;
      const tell = async (tx: Transaction) => {
        const present = sessionFormat.parseOptional(await tx.get(key));
        if (present !== undefined) write(tx, present.n + 1);
      };
      await database.transact(tell).catch(onFailure);
    },
  };
}
