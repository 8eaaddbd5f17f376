import type { Clock } from '../../ports/clock.ts';
import type { Random } from '../../ports/random.ts';
import { applyBatch, joinWriteSets, type BatchResult } from '../engine/batch.ts';
import { CommitHistory } from '../engine/commit-history.ts';
import { CommitQueue } from '../engine/commit-queue.ts';
import type { Commit, CommitRequest } from '../engine/commit-request.ts';
import type { Engine } from '../engine/engine.ts';
import type { Key } from '../engine/keys.ts';
import { ReadLeases, type ReadLease } from '../engine/read-leases.ts';
import type { StorageWriter } from '../engine/storage.ts';
import { nextVersion } from '../engine/versionstamp.ts';
import { Watches } from '../engine/watches.ts';
import { StorageException } from '../../errors.ts';
import { KeyValueError, KeyValueErrorCode, type Compaction } from '../kv.ts';
import type { Bell } from './bell.ts';
import { copyTables, dataBytes, removeUnfinishedCopy, syncDirectory, takeInCopy } from './compaction.ts';
import { CommitLog, versionKey } from './commit-log.ts';
import { changeRoster, readRoster, type RosterEntry } from './roster.ts';
import type { Sessions } from './sessions.ts';
import { createTableWriter, LmdbSnapshot } from './snapshot.ts';
import { readState, writeState, type EngineState } from './state.ts';
import { writeExclusively, type Tables } from './tables.ts';

/** How often a commit looks whether the other sessions still live: a dead one costs a log that nobody reads. */
const rosterCheckMs = 2_000;

export interface EmbeddedEngineOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly tables: Tables;
  readonly sessions: Sessions;
  readonly bell: Bell;
  readonly unsafeWithoutConflictCheck: boolean;
}

/**
 * FoundationDB's transactions over LMDB. Reads are LMDB's snapshots. Commits queue up; one exclusive LMDB write takes
 * all that wait, checks each against what was committed since it read, by whichever process, and writes data, log
 * and version together. LMDB syncs to disk off the main thread; only then do the commits resolve.
 */
export class EmbeddedEngine implements Engine {
  readonly name = 'embedded';
  readonly clock: Clock;
  readonly random: Random;
  readonly watches: Watches;
  isClosed = false;
  readonly #tables: Tables;
  readonly #sessions: Sessions;
  readonly #bell: Bell;
  readonly #leases: ReadLeases;
  readonly #log: CommitLog;
  #writer: StorageWriter;
  readonly #queue = new CommitQueue();
  readonly #unsafeWithoutConflictCheck: boolean;
  readonly #history = new CommitHistory(0);
  /** The history has every commit up to here. */
  #knownThrough = 0;
  /** Every snapshot from now on is at this version or newer. */
  #durableThrough = 0;
  /** Up to here the watches have been looked at. */
  #watchedThrough = 0;
  #roster: readonly RosterEntry[] = [];
  #rosterRevision = -1;
  #rosterCheckedMs: number;
  #isFlushQueued = false;
  /** Requests that were committed, of all processes, as last seen; and of the others. */
  #requestCommits = 0;
  #requestsOfOthers = 0;
  #compacting: Promise<Compaction> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: EmbeddedEngineOptions) {
    this.clock = options.clock;
    this.random = options.random;
    this.#tables = options.tables;
    this.#sessions = options.sessions;
    this.#bell = options.bell;
    this.#unsafeWithoutConflictCheck = options.unsafeWithoutConflictCheck;
    this.#leases = new ReadLeases(options.clock);
    this.#log = new CommitLog(options.tables, options.clock);
    this.#writer = createTableWriter(options.tables);
    this.#rosterCheckedMs = options.clock.monotonicMs();
    this.watches = new Watches(
      (key) => this.#withSnapshot((snapshot) => snapshot.get(key)),
      (isWatching) => this.#onWatching(isWatching),
    );
  }

  /** Puts this session on the list before anything is read: from then on all commits are logged for it. */
  async start(): Promise<void> {
    await writeExclusively(this.#tables, () => {
      const entry = { id: this.#sessions.id, isWatching: false };
      changeRoster(this.#tables, (roster) => [...this.#living(roster), entry]);
      const state = readState(this.#tables);
      this.#refreshRoster(state);
      this.#history.restart(state.version);
      this.#knownThrough = state.version;
      this.#requestCommits = state.requestCommits;
    });
  }

  openLease(): ReadLease {
    return this.#leases.open(() => {
      const snapshot = new LmdbSnapshot(this.#tables);
      if (snapshot.version >= this.#durableThrough) return snapshot;
      snapshot.release();
      // Set back by a process that opened the files (realign.ts): whoever writes next sets it right.
      writeExclusively(this.#tables, () => undefined).catch(() => undefined);
      throw new KeyValueError(KeyValueErrorCode.processBehind);
    });
  }

  commit(request: CommitRequest): Promise<Commit> {
    if (this.isClosed) return Promise.reject(new KeyValueError(KeyValueErrorCode.canceled));
    if (request.lease !== undefined && this.#hasPeers) this.#learnOutsideLock();
    const commit = this.#queue.add(request, this.#history, this.#knownThrough);
    if (!this.#queue.isEmpty) this.#queueFlush();
    return commit;
  }

  requestsOfOthers(): number {
    return this.#requestsOfOthers;
  }

  close(): Promise<void> {
    this.isClosed = true;
    return (this.#closing ??= this.#close());
  }

  /** Writes wait while the copy is made; reads go on. Snapshots that are open when it is taken in have ended (1007). */
  compact(): Promise<Compaction> {
    if (this.isClosed) return Promise.reject(new KeyValueError(KeyValueErrorCode.canceled));
    this.#compacting ??= this.#compact().finally(() => {
      this.#compacting = undefined;
      if (!this.#queue.isEmpty) this.#queueFlush();
    });
    return this.#compacting;
  }

  async #compact(): Promise<Compaction> {
    const { directory } = this.#sessions;
    try {
      this.#sessions.claimDirectory();
      // From now on nothing is written; what is being written comes first.
      await writeExclusively(this.#tables, () => undefined);
      const bytesBefore = dataBytes(directory);
      const copy = await copyTables(this.#tables, directory);
      let unused = copy.environment;
      try {
        this.#leases.endSnapshots();
        unused = takeInCopy(this.#tables, copy, directory);
        this.#writer = createTableWriter(this.#tables);
        syncDirectory(directory);
      } finally {
        await unused.close();
      }
      return { bytesBefore, bytesAfter: dataBytes(directory) };
    } catch (error) {
      if (error instanceof StorageException) throw error;
      throw new StorageException(
        'STORAGE_FAILED',
        `The directory '${directory}' could not be compacted; nothing is lost: ${error instanceof Error ? error.message : String(error)}`,
        { cause: error },
      );
    } finally {
      removeUnfinishedCopy(directory);
      this.#sessions.releaseDirectory();
    }
  }

  async #close(): Promise<void> {
    await this.#compacting?.catch(() => undefined);
    await this.#queue.idle();
    this.watches.close();
    this.#leases.close();
    this.#bell.close();
    await writeExclusively(this.#tables, () => {
      changeRoster(this.#tables, (roster) => roster.filter(({ id }) => id !== this.#sessions.id));
    });
    await this.#tables.environment.close();
    this.#sessions.close();
  }

  get #hasPeers(): boolean {
    return this.#roster.length > 1;
  }

  /** One at a time: whatever is queued while it waits for the lock goes with it. */
  #queueFlush(): void {
    if (this.#isFlushQueued || this.#compacting !== undefined) return;
    this.#isFlushQueued = true;
    let result: BatchResult | undefined;
    let failure: unknown;
    writeExclusively(this.#tables, () => {
      this.#isFlushQueued = false;
      const batch = this.#queue.takeBatch();
      try {
        result = this.#writeBatch(batch);
      } catch (error) {
        failure = error;
        for (const queued of batch) queued.reject(ioError(error));
        // LMDB refuses to commit a transaction in which a write failed.
        throw error;
      }
    })
      .then(
        () => this.#settle(result),
        (error: unknown) => this.#settleFailure(result, failure ?? error),
      )
      .finally(() => {
        // What was left goes with the next exclusive write. Asked for any earlier, lmdb would make it a part of this one.
        if (!this.#queue.isEmpty) this.#queueFlush();
      });
  }

  /** Inside the exclusive write. */
  #writeBatch(batch: Parameters<typeof applyBatch>[0]): BatchResult {
    const state = this.#readStateAsMember();
    this.#learn(state, this.#logEntries());
    const version = nextVersion(state.version, this.clock);
    const result = applyBatch(batch, {
      version,
      history: this.#history,
      writer: this.#writer,
      unsafeWithoutConflictCheck: this.#unsafeWithoutConflictCheck,
    });
    if (result.writes.length === 0) return result;
    this.#knownThrough = version;
    const own = result.committed.filter(({ queued }) => queued.isRequest).length;
    this.#requestsOfOthers += Math.max(0, state.requestCommits - this.#requestCommits);
    const requestCommits = state.requestCommits + own;
    this.#requestCommits = requestCommits;
    if (this.#hasPeers) {
      this.#log.append(version, joinWriteSets(result.writes));
      writeState(this.#tables, {
        ...state,
        version,
        requestCommits,
        logCompleteAfter: this.#log.prune(state),
      });
      this.#checkPeers();
    } else {
      this.#log.discard(state);
      writeState(this.#tables, { ...state, version, requestCommits, logCompleteAfter: version });
    }
    return result;
  }

  #settle(result: BatchResult | undefined): void {
    if (result === undefined) return;
    const version = result.committed[0]?.commit.version;
    if (version !== undefined) {
      this.#durableThrough = Math.max(this.#durableThrough, version);
      const oldest = this.#leases.oldestVersion ?? this.#durableThrough;
      this.#history.forgetThrough(Math.min(oldest, this.#durableThrough));
    }
    for (const { queued, error } of result.refused) queued.reject(error);
    for (const { queued, commit } of result.committed) queued.resolve(commit);
    if (result.writes.length === 0) return;
    for (const writes of result.writes) this.watches.afterCommit(writes);
    if (this.#roster.some(({ id, isWatching }) => isWatching && id !== this.#sessions.id)) this.#bell.ring();
  }

  #settleFailure(result: BatchResult | undefined, error: unknown): void {
    for (const { queued } of result?.committed ?? []) queued.reject(ioError(error));
    for (const { queued, error: refused } of result?.refused ?? []) queued.reject(refused);
    // The history knows commits that never were: what is on disk counts, and open transactions begin anew.
    this.#withSnapshot(({ state }) => {
      this.#history.restart(state.version);
      this.#knownThrough = state.version;
    });
  }

  #learnOutsideLock(): void {
    this.#withSnapshot((snapshot) => {
      if (snapshot.version > this.#knownThrough) {
        this.#learn(snapshot.state, snapshot.logAfter(versionKey(this.#knownThrough)));
      }
    });
  }

  #learn(state: EngineState, entries: Iterable<{ readonly key: Key; readonly value: Buffer }>): void {
    if (state.version <= this.#knownThrough) return;
    this.#log.catchUp(this.#history, this.#knownThrough, state, entries);
    this.#knownThrough = state.version;
  }

  *#logEntries(): Generator<{ readonly key: Key; readonly value: Buffer }> {
    const options = { start: versionKey(this.#knownThrough), exclusiveStart: true };
    for (const { key, value } of this.#tables.log.getRange(options)) {
      yield { key: (key as unknown as Buffer).toString('latin1'), value };
    }
  }

  /** Inside the exclusive write. */
  #refreshRoster(state: EngineState): void {
    if (state.sessionsRevision === this.#rosterRevision) return;
    this.#roster = readRoster(this.#tables);
    this.#rosterRevision = state.sessionsRevision;
  }

  /** Inside the exclusive write. Somebody may have taken us for dead; off the list, nobody logs for us. */
  #readStateAsMember(): EngineState {
    const state = readState(this.#tables);
    this.#refreshRoster(state);
    if (this.#roster.some(({ id }) => id === this.#sessions.id)) return state;
    const entry = { id: this.#sessions.id, isWatching: this.watches.isWatching };
    changeRoster(this.#tables, (roster) => [...roster, entry]);
    const joined = readState(this.#tables);
    this.#refreshRoster(joined);
    return joined;
  }

  /** Inside the exclusive write. */
  #checkPeers(): void {
    const nowMs = this.clock.monotonicMs();
    if (nowMs - this.#rosterCheckedMs < rosterCheckMs) return;
    this.#rosterCheckedMs = nowMs;
    const living = this.#living(this.#roster);
    if (living.length < this.#roster.length) changeRoster(this.#tables, () => living);
  }

  #living(roster: readonly RosterEntry[]): RosterEntry[] {
    const living = roster.filter(({ id }) => this.#sessions.isAlive(id));
    // The readers of the dead would pin pages for ever.
    if (living.length < roster.length) this.#tables.environment.readerCheck();
    return living;
  }

  #onWatching(isWatching: boolean): void {
    if (!isWatching) return this.#bell.stopListening();
    this.#watchedThrough = 0;
    this.#bell.listen(() => this.#lookAtWatches());
    const entry = this.#roster.find(({ id }) => id === this.#sessions.id);
    // When it fails (a full disk) the poll goes on.
    if (entry?.isWatching !== true) this.#announceWatching().catch(() => undefined);
    return undefined;
  }

  /** From now until it closes, this session hears the bell; the poll covers the time until then. */
  async #announceWatching(): Promise<void> {
    try {
      await this.#compacting;
    } catch {
      // Told to whoever asked for the compaction.
    }
    await writeExclusively(this.#tables, () => {
      changeRoster(this.#tables, (roster) =>
        roster.map((entry) => (entry.id === this.#sessions.id ? { ...entry, isWatching: true } : entry)),
      );
      this.#refreshRoster(readState(this.#tables));
    });
  }

  #lookAtWatches(): void {
    if (this.isClosed) return;
    try {
      const version = this.#withSnapshot((snapshot) => snapshot.version);
      if (version === this.#watchedThrough) return;
      this.watches.recheckAll();
      this.#watchedThrough = version;
    } catch (error) {
      // No reader is free: the next look sees the same.
      if (!(error instanceof KeyValueError)) throw error;
    }
  }

  #withSnapshot<T>(use: (snapshot: LmdbSnapshot) => T): T {
    const snapshot = new LmdbSnapshot(this.#tables);
    try {
      return use(snapshot);
    } finally {
      snapshot.release();
    }
  }
}

function ioError(cause: unknown): KeyValueError {
  return new KeyValueError(KeyValueErrorCode.ioError, { cause });
}
