import type { BeatResult } from '../../machines/lease.ts';
import type { KeyValueDatabase } from '../kv/kv.ts';
import type { Clock } from '../ports/clock.ts';
import { sleep } from '../ports/clock.ts';
import type { ProcessPort } from '../ports/process.ts';
import type { Random } from '../ports/random.ts';
import type { ModelKeys, StoreKeys } from '../records/keys.ts';
import type {
  ForcedRelease,
  LeaseExplanation,
  LeaseHandle,
  LeaseRefused,
  LeaseRequest,
  MigrationLease,
} from './lease.ts';
import { leaseLost } from './lease.ts';
import type { StartBeats } from './lease-beats.ts';
import type { Inspector } from './machine-clock.ts';
import type { Beat, Owner } from './owner.ts';
import { beatFormat, ownerFormat, readOwner, vacated } from './owner.ts';

export interface FoundationDBMigrationLeaseOptions {
  readonly database: KeyValueDatabase;
  readonly keys: StoreKeys;
  readonly session: string;
  readonly timeoutMs: number;
  readonly heartbeatMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly process: ProcessPort;
  /** `startBeats`. It is brought, so that this class, which the package exports, loads no state machine. */
  readonly startBeats: StartBeats;
  /** Is told of every step of the machine of each ownership. Default: nobody is. */
  readonly inspect?: Inspector | undefined;
}

/** Between two looks at whether the holder's process lives, which cost microseconds. Milliseconds. */
const lookMs = 100;

/** What a contender has itself watched: no clock of another machine is ever compared. */
interface Observation {
  readonly epoch: number;
  readonly token: string;
  readonly beat: number;
  /** Time for which (epoch, beat) did not change while it was being watched. */
  readonly unchangedMs: number;
  readonly readAtMs: number;
}

/**
 * The default lease: an owner row and a beat row per model in the database (protocol 5). The owner row is part of the
 * read set of every transaction that acts for the owner: when it changes, their commits fail. That is what makes a
 * paused or partitioned owner harmless; time only decides when somebody else may try.
 */
export class FoundationDBMigrationLease implements MigrationLease {
  readonly #options: FoundationDBMigrationLeaseOptions;
  readonly #observations = new Map<number, Observation>();

  constructor(options: FoundationDBMigrationLeaseOptions) {
    this.#options = options;
  }

  async acquire(request: LeaseRequest): Promise<LeaseHandle | LeaseRefused> {
    const { database, random, clock } = this.#options;
    const keys = this.#options.keys.model(request.modelId);
    const token = random.id();
    const startedAtMs = clock.monotonicMs();
    let mayBeOurs = false;
    const attempt = database.transact(
      async (tx) => {
        const [ownerBytes, beatBytes] = await Promise.all([tx.get(keys.owner), tx.get(keys.beat)]);
        const owner = ownerFormat.parseOptional(ownerBytes);
        if (owner?.token === token && ownerBytes !== undefined) {
          return { taken: ownerBytes, epoch: owner.epoch, takeover: false };
        }
        const beat = beatFormat.parseOptional(beatBytes);
        const isHeld = owner !== undefined && owner.token !== '';
        if (isHeld && request.displaces !== true && !this.#isOver(request.modelId, owner, beat)) {
          return { owner, holder: explanation(owner, beat) };
        }
        const taken = this.#ownerRow(request, owner, token);
        const takeover = isHeld;
        // One that was told to go may live, and move.
        const isSilent = takeover && request.displaces !== true;
        const displacedSession = isSilent ? owner.session : undefined;
        await request.prepare?.(tx, { epoch: taken.epoch, takeover, displacedSession });
        const bytes = ownerFormat.encode(taken);
        tx.set(keys.owner, bytes);
        tx.set(keys.beat, beatFormat.encode({ epoch: taken.epoch, n: 0, atMs: clock.wallMs() }));
        mayBeOurs = true;
        return { taken: bytes, epoch: taken.epoch, takeover };
      },
      { signal: request.signal },
    );
    const result = await attempt.catch(async (error: unknown) => {
      // Given up after an unknown result: nobody would beat for it, and the others would wait for its end.
      if (mayBeOurs) await this.#giveBack(keys, token).catch(() => undefined);
      throw error;
    });
    if (result.taken === undefined) return this.#refused(keys, result.owner, result.holder);
    this.#observations.delete(request.modelId);
    return this.#hold(keys, result.taken, result.epoch, result.takeover, startedAtMs);
  }

  async #giveBack(keys: ModelKeys, token: string): Promise<void> {
    await this.#options.database.transact(async (tx) => {
      const owner = await readOwner(tx, keys);
      if (owner?.token === token) tx.set(keys.owner, ownerFormat.encode(vacated(owner)));
    });
  }

  async explain(modelId: number): Promise<LeaseExplanation | undefined> {
    const keys = this.#options.keys.model(modelId);
    return this.#options.database.transact(async (tx) => {
      const [owner, beat] = await Promise.all([readOwner(tx, keys), tx.get(keys.beat)]);
      return owner === undefined ? undefined : explanation(owner, beatFormat.parseOptional(beat));
    });
  }

  async forceRelease({ modelId, record }: ForcedRelease): Promise<LeaseExplanation | undefined> {
    const keys = this.#options.keys.model(modelId);
    let token: string | undefined;
    let displaced: LeaseExplanation | undefined;
    await this.#options.database.transact(async (tx) => {
      const [owner, beat] = await Promise.all([readOwner(tx, keys), tx.get(keys.beat)]);
      // Whoever owns it by now, in a repeat, is not the one that had to go.
      if (token !== undefined && owner?.token !== token) {
        if (!tx.afterUnknownResult) displaced = undefined;
        return;
      }
      if (owner === undefined || owner.token === '') return;
      token = owner.token;
      displaced = explanation(owner, beatFormat.parseOptional(beat));
      tx.set(keys.owner, ownerFormat.encode(vacated(owner, owner.epoch + 1)));
      record?.(tx, displaced);
    });
    return displaced;
  }

  #ownerRow(request: LeaseRequest, previous: Owner | undefined, token: string): Owner {
    return {
      epoch: (previous?.epoch ?? 0) + 1,
      token,
      session: this.#options.session,
      ttlMs: this.#options.timeoutMs,
      nodeId: request.nodeId,
      migrationId: request.migrationId,
      sinceMs: this.#options.clock.wallMs(),
      ...this.#options.process.identity,
    };
  }

  /** Whether the holder is dead for certain, or has been seen silent for the whole TTL. */
  #isOver(modelId: number, owner: Owner, beat: Beat | undefined): boolean {
    const { clock, process, timeoutMs, heartbeatMs } = this.#options;
    if (process.isCertainlyDead(owner, owner.session)) return true;
    const nowMs = clock.monotonicMs();
    const seen = this.#observations.get(modelId);
    const n = beat?.n ?? 0;
    const same =
      seen !== undefined && seen.epoch === owner.epoch && seen.token === owner.token && seen.beat === n;
    // A contender that was frozen, or could not read, has not watched meanwhile: at most two polls count.
    const unchangedMs = same ? seen.unchangedMs + Math.min(nowMs - seen.readAtMs, 2 * heartbeatMs) : 0;
    this.#observations.set(modelId, {
      epoch: owner.epoch,
      token: owner.token,
      beat: n,
      unchangedMs,
      readAtMs: nowMs,
    });
    return unchangedMs >= Math.max(owner.ttlMs, timeoutMs);
  }

  #refused(keys: ModelKeys, owner: Owner, holder: LeaseExplanation): LeaseRefused {
    const { database, clock, heartbeatMs, process } = this.#options;
    return {
      refused: true,
      holder,
      async worthRetrying(signal) {
        const watch = await database.transact(async (tx) => {
          const now = await readOwner(tx, keys);
          return now?.token === '' ? undefined : tx.watch(keys.owner);
        });
        if (watch === undefined) return;
        const ended = new AbortController();
        void watch.changed.then(() => ended.abort());
        const over = AbortSignal.any([signal, ended.signal]);
        // Where a death can be told it is told long before the next heartbeat would be missed.
        for (let leftMs = heartbeatMs; leftMs > 0 && !over.aborted; leftMs -= lookMs) {
          await sleep(clock, Math.min(leftMs, lookMs), over);
          if (process.isCertainlyDead(owner, owner.session)) break;
        }
        watch.cancel();
      },
    };
  }

  #hold(keys: ModelKeys, row: Buffer, epoch: number, takeover: boolean, acquiredAtMs: number): LeaseHandle {
    const { database, clock, timeoutMs, heartbeatMs, inspect } = this.#options;
    const lost = new AbortController();
    const beat = async (): Promise<BeatResult> => {
      const renewedAtMs = clock.monotonicMs();
      const kept = await database.transact(
        async (tx) => {
          const [owner, beatBytes] = await Promise.all([tx.get(keys.owner), tx.get(keys.beat)]);
          if (owner?.equals(row) !== true) return false;
          const n = (beatFormat.parseOptional(beatBytes)?.n ?? 0) + 1;
          tx.set(keys.beat, beatFormat.encode({ epoch, n, atMs: clock.wallMs() }));
          return true;
        },
        { signal: lost.signal },
      );
      return kept ? { type: 'renewed', renewedAtMs } : { type: 'lost' };
    };
    const beats = this.#options.startBeats({
      clock,
      timeoutMs,
      heartbeatMs,
      acquiredAtMs,
      beat,
      onLost: (cause) => lost.abort(leaseLost(epoch, cause)),
      inspect,
    });

    let released: Promise<void> | undefined;
    const release = async () => {
      beats.stop();
      await database.transact(async (tx) => {
        const owner = await tx.get(keys.owner);
        if (owner?.equals(row) === true)
          tx.set(keys.owner, ownerFormat.encode(vacated(ownerFormat.parse(owner))));
      });
    };
    return {
      epoch,
      takeover,
      lost: lost.signal,
      async guard(tx) {
        const owner = await tx.get(keys.owner);
        if (owner?.equals(row) !== true) throw leaseLost(epoch);
      },
      release: () =>
        (released ??= release().catch((error: unknown) => {
          released = undefined;
          throw error;
        })),
    };
  }
}

function explanation(owner: Owner, beat: Beat | undefined): LeaseExplanation {
  return {
    nodeId: owner.nodeId,
    host: owner.host,
    pid: owner.pid,
    epoch: owner.epoch,
    sinceMs: owner.sinceMs,
    migrationId: owner.migrationId,
    beats: beat?.n ?? 0,
    beatAtMs: beat?.atMs ?? owner.sinceMs,
    held: owner.token !== '',
  };
}
