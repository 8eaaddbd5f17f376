import type { Transaction } from '../../kv/kv.ts';
import { KeyValueError, KeyValueErrorCode } from '../../kv/kv.ts';
import type { PassName } from '../../records/keys.ts';
import { behindRecord } from '../../records/record-rows.ts';
import type { CountedAdditions } from '../counters.ts';
import { count } from '../counters.ts';
import type { BackPressure } from './back-pressure.ts';
import { nextBackPressure, noBackPressure } from './back-pressure.ts';
import type { ChunkPace, PreparedChunk } from './chunk.ts';
import { advanced, cursorBehind } from './chunk.ts';
import type { ChunkControl } from './controller.ts';
import { chunkLimits, nextChunkControl } from './controller.ts';
import type { Intent } from '../intent.ts';
import { isStopping, readIntent } from '../intent.ts';
import type { ClaimedRange, Claims } from './claims.ts';
import { claimLost, createClaims } from './claims.ts';
import type { RangeRow } from './ledger.ts';
import { readRange, writeRange } from './ledger.ts';
import { othersStand } from './others.ts';
import type { UniqueDemand } from './name-duplicates.ts';
import type { Pacing, WaitedMs } from './pacing.ts';
import { createPacing } from './pacing.ts';
import type { RangeClock, RateMeter } from './rate-meter.ts';
import { createRateMeter } from './rate-meter.ts';
import type { HeldMigration, ModelMigration } from '../runtime.ts';

/** What a pass does with a slice of its ranges. */
export interface Pass {
  readonly name: PassName;
  /** Whether its commits change records or entries, so that the model cannot simply be opened again. */
  readonly touches: boolean;
  /** Whether the next chunk may be read before this one is written: the gate is closed, nothing changes in between. */
  readonly readsAhead: boolean;
  /** Reads and computes the next chunk, outside any writing transaction. */
  prepare(begin: Buffer, end: Buffer, limit: number, signal: AbortSignal): Promise<PreparedChunk>;
  /** After a chunk that set records aside, and at the end. @throws MigrationException QUARANTINE_FULL */
  checkQuarantine?(): Promise<void>;
  /** What the next records demand of unique indexes, to name those of a pass that met two alike. Absent: nothing. */
  readonly demandUnique?:
    ((begin: Buffer, end: Buffer, limit: number, signal: AbortSignal) => Promise<UniqueDemand>) | undefined;
}

export type MoveEnd =
  | { readonly type: 'done' }
  | { readonly type: 'intent'; readonly intent: Intent }
  | { readonly type: 'stopped' };

export interface MoveOptions {
  /** The leader stays until all ranges are at their end, whoever moves them, and none is claimed when it stops. */
  readonly role: 'leader' | 'helper';
}

/**
 * Moves the ranges of a pass that nobody else moves, several at a time, until there are none, an operator intervenes, or
 * this process is to stop. Whatever ends it, no chunk of this process is under way any more when it returns, and none of
 * its claims is left.
 *
 * @throws MigrationException LEASE_LOST, and whatever `prepare` throws
 */
export async function movePass(
  migration: ModelMigration,
  held: HeldMigration,
  pass: Pass,
  { role }: MoveOptions,
): Promise<MoveEnd> {
  const { runtime, stop } = migration;
  const beating = runtime.sessions.hold(role);
  const rate = createRateMeter(runtime.clock);
  const claims = createClaims(migration, held, pass.name);
  try {
    for (;;) {
      const intent = await moveClaimed(migration, held, pass, claims, rate);
      if (held.lease.lost.aborted) throw held.lease.lost.reason;
      if (intent !== undefined) {
        const isToldAll =
          role === 'helper' || (await othersStand(migration, held, pass.name, 'whenTold')) !== undefined;
        if (held.lease.lost.aborted) throw held.lease.lost.reason;
        // Whoever comes next tells that it stands still.
        return isToldAll ? { type: 'intent', intent } : { type: 'stopped' };
      }
      if (stop.aborted) return { type: 'stopped' };
      if (role === 'helper' || (await othersStand(migration, held, pass.name, 'whenDone')) === 'done') break;
    }
    // Whoever set aside one too many may have died before it looked.
    await pass.checkQuarantine?.();
    return { type: 'done' };
  } finally {
    // A session that lives on, for another model, would be waited for.
    await claims.giveBackAll().catch(() => undefined);
    await beating.letGo();
  }
}

/** Until there is nothing to claim any more. Answers the intent that ended it, if one did. */
async function moveClaimed(
  migration: ModelMigration,
  held: HeldMigration,
  pass: Pass,
  claims: Claims,
  rate: RateMeter,
): Promise<Intent | undefined> {
  const ending = new AbortController();
  const signal = AbortSignal.any([ending.signal, migration.stop, held.lease.lost]);
  let intent: Intent | undefined;
  let failure: { readonly error: unknown } | undefined;
  const pacing = createPacing(migration, held, pass, signal);

  const work = async () => {
    // Ranges of a pass are alike: each begins with what the one before it has learned.
    let control = migration.runtime.firstChunk;
    let pressure = noBackPressure;
    for (;;) {
      if (signal.aborted) return;
      try {
        const claimed = await claims.next(() => rate.share());
        if (claimed.type === 'intent') intent = claimed.intent;
        if (claimed.type !== 'claimed') break;
        const time = rate.begin();
        const range = { ...claimed, claims, control, pressure, pacing, rate, time, signal };
        const mover = new RangeMover(migration, held, pass, range);
        try {
          const seen = await mover.run();
          ({ control, pressure } = mover);
          if (seen === undefined) continue;
          intent = seen;
        } finally {
          time.end();
        }
      } catch (error) {
        // An abort reaches the work under way as an error of its own; the first failure is the one that counts.
        if (!signal.aborted) failure ??= { error };
        ending.abort();
        return;
      }
      ending.abort();
      return;
    }
    if (intent !== undefined) ending.abort();
  };
  await Promise.all(Array.from({ length: migration.runtime.maxBackfillConcurrency }, work));
  await pacing.end();
  if (failure !== undefined) throw failure.error;
  return intent;
}

type CommitResult =
  | { readonly type: 'committed'; readonly row: RangeRow; readonly conflicts: number }
  | { readonly type: 'intent'; readonly intent: Intent }
  | { readonly type: 'tooMuch' }
  /** Its end has moved before the end of this chunk: somebody took the rest. */
  | { readonly type: 'cut'; readonly row: RangeRow };

/** Codes that mean: do less per transaction. */
const tooMuchCodes: ReadonlySet<number> = new Set([
  KeyValueErrorCode.transactionTooOld,
  KeyValueErrorCode.timedOut,
  KeyValueErrorCode.transactionTooLarge,
]);

interface RangeOptions extends ClaimedRange {
  readonly claims: Claims;
  readonly control: ChunkControl;
  readonly pressure: BackPressure;
  readonly pacing: Pacing;
  readonly rate: RateMeter;
  readonly time: RangeClock;
  readonly signal: AbortSignal;
}

/** Moves one range to its end, chunk after chunk. */
class RangeMover {
  readonly #migration: ModelMigration;
  readonly #held: HeldMigration;
  readonly #pass: Pass;
  readonly #range: RangeOptions;
  #control: ChunkControl;
  #pressure: BackPressure;
  /** How long the last commit took: the row is written before the next one is over. Milliseconds. */
  #commitMs = 0;

  constructor(migration: ModelMigration, held: HeldMigration, pass: Pass, range: RangeOptions) {
    this.#migration = migration;
    this.#held = held;
    this.#pass = pass;
    this.#range = range;
    this.#control = range.control;
    this.#pressure = range.pressure;
  }

  get control(): ChunkControl {
    return this.#control;
  }

  get pressure(): BackPressure {
    return this.#pressure;
  }

  /** Answers the intent that ended it, if one did. */
  async run(): Promise<Intent | undefined> {
    const { clock, events, meters } = this.#migration.runtime;
    const { claims, number, pacing } = this.#range;
    let { row } = this.#range;
    let ahead: Promise<PreparedChunk> | undefined;
    const dropAhead = async () => {
      await ahead?.catch(() => undefined);
      ahead = undefined;
    };
    try {
      while (!row.done && !this.#range.signal.aborted) {
        const startedMs = clock.monotonicMs();
        const chunk = await (ahead ?? this.#prepare(row, row.cursor));
        ahead = undefined;
        const waitedMs = await pacing.wait(chunk, this.#pressure);
        if (this.#range.signal.aborted) break;
        if (!chunk.atEnd && chunk.lastKey !== undefined && this.#pass.readsAhead) {
          ahead = this.#prepare(row, chunk.lastKey.toString('base64'));
          ahead.catch(() => undefined);
        }
        const result = await this.#commit(row, chunk, waitedMs);
        if (result.type === 'intent') return result.intent;
        if (result.type === 'tooMuch') {
          this.#control = nextChunkControl(this.#control, { type: 'tooMuch' });
          await dropAhead();
          continue;
        }
        if (result.type === 'cut') {
          row = result.row;
          await dropAhead();
          continue;
        }
        // One that was given up had been applied, and was of other records: what was read ahead begins behind this one.
        if (result.row.cursor !== cursorBehind(row, chunk)) await dropAhead();
        if (result.conflicts > 0) this.#control = nextChunkControl(this.#control, { type: 'conflict' });
        else {
          // A limit makes chunks smaller, so that it is kept evenly; other delays are no matter of their size.
          const tookMs = clock.monotonicMs() - startedMs - waitedMs.host - waitedMs.pressure;
          const { bytes, records, mutations } = chunk;
          this.#control = nextChunkControl(this.#control, {
            type: 'committed',
            tookMs,
            bytes,
            records,
            mutations,
          });
        }
        const workedMs = clock.monotonicMs() - startedMs - waitedMs.host - waitedMs.pressure - waitedMs.limit;
        pacing.worked(workedMs, waitedMs);
        const setAside = result.row.quarantined > row.quarantined;
        const isBackfill = this.#pass.name === 'backfill';
        meters.chunkCommitted(this.#migration.model.name, {
          pass: this.#pass.name,
          records: chunk.records,
          bytes: chunk.bytes,
          recordsMoved: isBackfill ? result.row.moved - row.moved : 0,
          bytesMoved: isBackfill ? result.row.bytes - row.bytes : 0,
          quarantined: result.row.quarantined - row.quarantined,
          conflicts: result.conflicts,
          seconds: workedMs / 1_000,
        });
        this.#range.rate.moved(result.row.recordsRead - row.recordsRead);
        this.#range.time.committed();
        row = result.row;
        events.changed(this.#migration.model);
        if (setAside) await this.#pass.checkQuarantine?.();
      }
      return undefined;
    } finally {
      await dropAhead();
      if (row.done) claims.ended(number);
      else await claims.giveBack({ number, row }).catch(() => undefined);
    }
  }

  #prepare(row: RangeRow, cursor: string | null): Promise<PreparedChunk> {
    const begin = cursor === null ? bytesOf(row.begin) : behindRecord(bytesOf(cursor));
    const records = this.#migration.runtime.giveWay.records(this.#control);
    return this.#pass.prepare(begin, bytesOf(row.end), records, this.#range.signal);
  }

  /**
   * One transaction: ownership, gate, intent and the range as expected; then data, cursor, counts. After an unknown
   * result the sequence number tells whether it was applied.
   */
  async #commit(row: RangeRow, chunk: PreparedChunk, waitedMs: WaitedMs): Promise<CommitResult> {
    const { runtime, model } = this.#migration;
    const { keys } = model;
    const { state, lease } = this.#held;
    const startedMs = runtime.clock.monotonicMs();
    const codes: number[] = [];
    try {
      return await runtime.giveWay.write(() =>
        runtime.database.transact(
          async (tx): Promise<CommitResult> => {
            const [current, intent, fence] = await Promise.all([
              this.#readRow(tx),
              readIntent(tx, keys, state.migrationId),
              tx.get(keys.fence),
              lease.guard(tx),
            ]);
            // Each claim has its number: a range that is done, and has lost its claim, still knows its mover.
            const isMyTurn = current.claimSeq === row.claimSeq;
            if (isMyTurn && current.seq === row.seq + 1) {
              return { type: 'committed', row: current, conflicts: 0 };
            }
            const isMine = isMyTurn && current.claim?.session === runtime.session;
            // A reset, or a newer program that published, ends what was planned under the fence as it was.
            const isSameFence = fence?.equals(this.#held.fence) === true;
            if (!isMine || current.seq !== row.seq || !isSameFence) throw claimLost(state.migrationId);
            if (isStopping(intent)) return { type: 'intent', intent };
            if (isBeyond(chunk, current)) return { type: 'cut', row: current };
            const addition = await chunk.apply(tx);
            const next = advanced(current, chunk, addition, this.#paceOf(chunk, waitedMs));
            writeRange(tx, keys, this.#pass.name, this.#range.number, next);
            if (this.#pass.touches && chunk.records > 0) {
              tx.set(keys.touched, Buffer.from(state.migrationId));
            }
            const conflicts = conflictsOf(tx);
            const counts: CountedAdditions =
              this.#pass.name === 'backfill'
                ? { recordsMoved: addition.moved, bytesMoved: addition.bytes, chunks: 1, conflicts }
                : { conflicts };
            count(tx, keys, runtime.clock.wallMs(), counts);
            return { type: 'committed', row: next, conflicts };
          },
          {
            timeoutMs: chunkLimits.hardMs,
            priority: 'batch',
            signal: lease.lost,
            onRetry: ({ code }) => void codes.push(code),
          },
        ),
      );
    } catch (error) {
      // A single record may pass every limit: then there is no less to do, and the error is the answer.
      if (error instanceof KeyValueError && tooMuchCodes.has(error.code) && chunk.records > 1) {
        return { type: 'tooMuch' };
      }
      throw error;
    } finally {
      const tookMs = runtime.clock.monotonicMs() - startedMs;
      this.#commitMs = tookMs;
      this.#pressure = nextBackPressure(this.#pressure, { codes, tookMs });
    }
  }

  #paceOf(
    { records, readBytes, readMs, cpuMs }: PreparedChunk,
    { limit, host, pressure }: WaitedMs,
  ): ChunkPace {
    const { rate, time, pacing } = this.#range;
    const { pool, maxBackfillConcurrency, clock } = this.#migration.runtime;
    const threads = Math.min(pool.maxThreads ?? pool.threads, maxBackfillConcurrency);
    const tookMs = readMs + cpuMs + limit + host + pressure + this.#commitMs;
    const effort = {
      records,
      bytes: readBytes,
      // Threads are few where computing takes long, and ranges where waiting does.
      ownMs: Math.max(cpuMs / Math.max(1, threads), tookMs / maxBackfillConcurrency),
      sharedMs: time.sharedMs(),
      leastMs: pacing.leastMs(records),
      atMs: clock.wallMs(),
    };
    return { recordsPerSecond: rate.share(), effort };
  }

  async #readRow(tx: Transaction): Promise<RangeRow> {
    const row = await readRange(tx, this.#migration.model.keys, this.#pass.name, this.#range.number);
    if (row === undefined) throw claimLost(this.#held.state.migrationId);
    return row;
  }
}

/** Whether the range ends within the chunk by now. */
const isBeyond = ({ lastKey }: PreparedChunk, { end }: RangeRow): boolean =>
  lastKey !== undefined && lastKey.compare(bytesOf(end)) >= 0;

/** Attempts that met a change of something they had read. One that was lost without an answer (1021) met none. */
function conflictsOf({ attempt, afterUnknownResult }: Transaction): number {
  return attempt - (afterUnknownResult ? 1 : 0);
}

const bytesOf = (base64: string): Buffer => Buffer.from(base64, 'base64');
