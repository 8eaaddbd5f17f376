import type { KeyValueDatabase, Transaction } from '../kv/kv.ts';
import type { Clock } from '../ports/clock.ts';
import { rest } from '../ports/clock.ts';
import type { ProcessIdentity, ProcessPort } from '../ports/process.ts';
import type { StoreKeys } from '../records/keys.ts';
import { rangeOf } from '../records/keys.ts';
import { createRowFormat, isCount, isNumber, isString } from '../records/row.ts';

/** A process that moves ranges, for as long as it does. Its beats say that its claims still count. */
export interface Session extends ProcessIdentity {
  readonly session: string;
  /** One more with each beat. */
  readonly n: number;
  readonly nodeId: string;
  readonly ttlMs: number;
  /** Wall clock of the last beat, for people. */
  readonly atMs: number;
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
});

/** What was watched of a session is forgotten when nobody has asked for it for so long. Milliseconds. */
const forgottenMs = 1_200_000;
/** Rows of sessions that are looked at with one beat. */
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
  /** The nodes behind sessions, for people. */
  nodeIdOf(tx: Transaction, session: string): Promise<string | undefined>;
}

/** The node behind a session, as the database has it. */
export async function readNodeId(
  tx: Transaction,
  keys: StoreKeys,
  session: string,
): Promise<string | undefined> {
  const bytes = await tx.get(keys.session(session), { snapshot: true });
  return sessionFormat.parseOptional(bytes)?.nodeId;
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
  let leaving: Promise<unknown> = Promise.resolve();

  const write = (tx: Transaction, n: number) => {
    beats = Math.max(beats, n);
    const row = { ...process.identity, session: own, n, nodeId, ttlMs, atMs: clock.wallMs() };
    tx.set(key, sessionFormat.encode(row));
  };
  const read = async (tx: Transaction, session: string) =>
    sessionFormat.parseOptional(await tx.get(keys.session(session), { snapshot: true }));

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

  const isOver = async (tx: Transaction, session: string): Promise<boolean> => {
    if (session === own) return false;
    const row = await read(tx, session);
    if (row !== undefined && !process.isCertainlyDead(row, session)) return observe(session, row);
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

  const buryAll = async (tx: Transaction): Promise<void> => {
    const { begin, end } = rangeOf(keys.sessions);
    const rows = await tx.getRangeAll(begin, end, { snapshot: true, limit: buriedAtOnce });
    for (const { session } of rows.map(({ value }) => sessionFormat.parse(value))) {
      if (await isOver(tx, session)) await bury(tx, session);
    }
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
    async announce(tx) {
      // Who lets go and claims again finds the row gone, or the claim conflicts with its clearing.
      await leaving;
      isAnnounced = true;
      if ((await tx.get(key)) === undefined) write(tx, beats + 1);
    },
    isOver,
    bury,
    presumeOver(session) {
      if (session === own) return;
      const unchangedMs = Number.POSITIVE_INFINITY;
      observations.set(session, { n: undefined, unchangedMs, readAtMs: clock.monotonicMs() });
    },
    async nodeIdOf(tx, session) {
      return session === own ? nodeId : readNodeId(tx, keys, session);
    },
  };
}
