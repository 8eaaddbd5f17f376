import { limits } from '../../limits.ts';
import { sleep } from '../../ports/clock.ts';
import {
  KeyValueError,
  KeyValueErrorCode as Code,
  isMetadataVersionKey,
  keyValueLimits,
  requireMetadataVersionStamp,
  type AtomicOperation,
  type KeyValue,
  type KeyValueTransaction,
  type RangeOptions,
  type ReadOptions,
  type TransactionOptions,
  type Watch,
} from '../kv.ts';
import { backoffDelayMs } from './backoff.ts';
import {
  requireKey,
  requireRangeEnd,
  requireReadKey,
  requireStampOffset,
  requireValue,
  requireWriteKey,
} from './arguments.ts';
import type { Commit } from './commit-request.ts';
import { ConflictSet } from './conflict-set.ts';
import type { Engine } from './engine.ts';
import { estimateSizeBytes, findSplitPoints, type EstimateScope } from './estimates.ts';
import { keyAfter, keyFromBytes, keyToBytes, type Key } from './keys.ts';
import { readRangePage, type RangePage } from './range-reader.ts';
import type { ReadLease } from './read-leases.ts';
import type { Snapshot } from './storage.ts';
import { encodeVersionstamp } from './versionstamp.ts';
import type { PendingWatch } from './watches.ts';
import { isStampedValue, resolveMutation, WriteBuffer } from './write-buffer.ts';

/** Pairs that the iterator of `getRange` reads at a time. */
const iteratorPagePairs = limits.engine.iteratorPairs.value;

/**
 * active: reads and buffers writes. committing: from `commit` to its answer; nothing else is taken (2017).
 * committed: only version and versionstamp can be asked for. failed: `onError` makes it active again.
 * canceled: for good.
 */
type State = 'active' | 'committing' | 'committed' | 'failed' | 'canceled';

/** A transaction of an optimistic engine: reads a snapshot, buffers its writes, is checked when it commits. */
export class EngineTransaction implements KeyValueTransaction {
  attempt = 0;
  afterUnknownResult = false;
  readonly #engine: Engine;
  readonly #createdMs: number;
  readonly #timeoutMs: number;
  readonly #sizeLimitBytes: number;
  readonly #isBatch: boolean;
  readonly #isRequest: boolean;
  #state: State = 'active';
  #lease: ReadLease | undefined;
  #reads = new ConflictSet();
  #writes = new WriteBuffer();
  #watches: PendingWatch[] = [];
  #commit: Commit | undefined;
  #versionstamp = new DeferredStamp();

  constructor(engine: Engine, options: TransactionOptions = {}) {
    this.#engine = engine;
    this.#createdMs = engine.clock.monotonicMs();
    this.#timeoutMs = options.timeoutMs ?? Number.POSITIVE_INFINITY;
    this.#isBatch = options.priority === 'batch';
    this.#isRequest = options.isRequest === true;
    this.#sizeLimitBytes = options.sizeLimitBytes ?? keyValueLimits.transactionBytes;
  }

  // --- reading

  async get(keyBytes: Uint8Array, options?: ReadOptions): Promise<Buffer | undefined> {
    this.#requireActive();
    return this.#read(requireReadKey(keyBytes), options?.snapshot === true);
  }

  async *getRange(
    beginBytes: Uint8Array,
    endBytes: Uint8Array,
    options: RangeOptions = {},
  ): AsyncGenerator<KeyValue> {
    let { begin, end } = this.#requireRange(beginBytes, endBytes);
    let pairsLeft = options.limit ?? Number.POSITIVE_INFINITY;
    let bytesLeft = options.targetBytes ?? Number.POSITIVE_INFINITY;
    for (;;) {
      const maxPairs = Math.min(pairsLeft, iteratorPagePairs);
      const page = this.#readPage(begin, end, { ...options, limit: maxPairs, targetBytes: bytesLeft });
      yield* page.pairs;
      const last = page.pairs.at(-1);
      if (page.isComplete || last === undefined) return;
      pairsLeft -= page.pairs.length;
      for (const { key, value } of page.pairs) bytesLeft -= key.length + value.length;
      if (pairsLeft <= 0 || bytesLeft <= 0) return;
      const lastKey = keyFromBytes(last.key);
      if (options.reverse === true) end = lastKey;
      else begin = keyAfter(lastKey);
    }
  }

  async getRangeAll(
    beginBytes: Uint8Array,
    endBytes: Uint8Array,
    options: RangeOptions = {},
  ): Promise<KeyValue[]> {
    const { begin, end } = this.#requireRange(beginBytes, endBytes);
    return this.#readPage(begin, end, options).pairs;
  }

  async getReadVersion(): Promise<bigint> {
    this.#requireActive();
    return BigInt(this.#openLease().version);
  }

  async getEstimatedRangeSizeBytes(beginBytes: Uint8Array, endBytes: Uint8Array): Promise<number> {
    const { begin, end } = this.#requireRange(beginBytes, endBytes);
    return estimateSizeBytes(this.#estimateScope(begin, end));
  }

  async getRangeSplitPoints(
    beginBytes: Uint8Array,
    endBytes: Uint8Array,
    chunkBytes: number,
  ): Promise<Buffer[]> {
    const { begin, end } = this.#requireRange(beginBytes, endBytes);
    return (await findSplitPoints(this.#estimateScope(begin, end), chunkBytes)).map(keyToBytes);
  }

  // --- writing

  set(key: Uint8Array, value: Uint8Array): void {
    this.#requireActive();
    this.#writes.set(requireWriteKey(key), requireValue(value));
  }

  clear(key: Uint8Array): void {
    this.#requireActive();
    this.#writes.clear(requireKey(key));
  }

  clearRange(beginBytes: Uint8Array, endBytes: Uint8Array): void {
    const { begin, end } = this.#requireRange(beginBytes, endBytes);
    this.#writes.clearRange(begin, end);
  }

  atomicOp(operation: AtomicOperation, key: Uint8Array, operand: Uint8Array): void {
    this.#requireActive();
    this.#writes.atomicOp(operation, requireWriteKey(key), requireValue(operand));
  }

  setVersionstampedKey(key: Uint8Array, offset: number, value: Uint8Array): void {
    this.#requireActive();
    requireKey(key);
    requireStampOffset(key, offset);
    this.#writes.setStampedKey(Buffer.from(key), offset, requireValue(value));
  }

  setVersionstampedValue(key: Uint8Array, value: Uint8Array, offset: number): void {
    this.#requireActive();
    requireStampOffset(value, offset);
    if (isMetadataVersionKey(key)) requireMetadataVersionStamp(value, offset);
    this.#writes.setStampedValue(requireReadKey(key), requireValue(value), offset);
  }

  // --- conflicts

  addReadConflictRange(beginBytes: Uint8Array, endBytes: Uint8Array): void {
    const { begin, end } = this.#requireRange(beginBytes, endBytes);
    this.#reads.addRange(begin, end);
  }

  addReadConflictKey(key: Uint8Array): void {
    this.#requireActive();
    this.#reads.addKey(requireKey(key));
  }

  addWriteConflictRange(beginBytes: Uint8Array, endBytes: Uint8Array): void {
    const { begin, end } = this.#requireRange(beginBytes, endBytes);
    this.#writes.addConflict(begin, end);
  }

  addWriteConflictKey(keyBytes: Uint8Array): void {
    this.#requireActive();
    const key = requireKey(keyBytes);
    this.#writes.addConflict(key, keyAfter(key));
  }

  // --- the rest

  watch(keyBytes: Uint8Array): Watch {
    this.#requireActive();
    const key = requireKey(keyBytes);
    const isKnownLater = isStampedValue(this.#writes.lookUp(key));
    const pending = this.#engine.watches.prepare(key, isKnownLater ? 'afterCommit' : this.#read(key, true));
    this.#watches.push(pending);
    return pending.watch;
  }

  async getApproximateSize(): Promise<number> {
    this.#requireActive();
    return this.#sizeBytes;
  }

  getVersionstamp(): Promise<Buffer> {
    const { promise } = this.#versionstamp;
    // Nobody has to wait for it.
    promise.catch(() => undefined);
    return promise;
  }

  getCommittedVersion(): bigint {
    if (this.#state !== 'committed') throw new KeyValueError(Code.clientInvalidOperation);
    return this.#commit === undefined ? -1n : BigInt(this.#commit.version);
  }

  async commit(): Promise<void> {
    this.#requireActive();
    if (this.#sizeBytes > this.#sizeLimitBytes) throw new KeyValueError(Code.transactionTooLarge);
    if (this.#lease?.isTooOld() === true) throw new KeyValueError(Code.transactionTooOld);
    this.#state = 'committing';
    try {
      if (!this.#writes.isEmpty) await this.#write();
    } catch (error) {
      if ((this.#state as State) === 'committing') this.#state = 'failed';
      throw error;
    } finally {
      this.#endLease();
    }
    if ((this.#state as State) === 'canceled') throw new KeyValueError(Code.canceled);
    this.#state = 'committed';
    if (this.#commit === undefined) this.#versionstamp.reject(Code.noCommitVersion);
    for (const watch of this.#watches) watch.arm();
    this.#watches = [];
  }

  async onError(error: KeyValueError): Promise<void> {
    if (this.#state === 'canceled') throw new KeyValueError(Code.canceled);
    if (!error.retryable) {
      this.cancel();
      throw error;
    }
    if (error.maybeCommitted) this.afterUnknownResult = true;
    this.#reset();
    const delayMs = backoffDelayMs(error.code, this.attempt, this.#engine.random);
    this.#state = 'failed';
    await sleep(this.#engine.clock, Math.min(delayMs, Math.max(0, this.#timeLeftMs())));
    if ((this.#state as State) === 'canceled' || this.#engine.isClosed)
      throw new KeyValueError(Code.canceled);
    this.attempt += 1;
    this.#state = 'active';
  }

  cancel(): void {
    if (this.#state === 'committed' || this.#state === 'canceled') return;
    const isCommitting = this.#state === 'committing';
    this.#state = 'canceled';
    // A commit under way takes what it has; its own end lets go of it.
    if (!isCommitting) this.#reset();
  }

  // --- inside

  get #sizeBytes(): number {
    return this.#reads.sizeBytes + this.#writes.sizeBytes;
  }

  async #write(): Promise<void> {
    // Conflict ranges alone, without a read: they hold from now on.
    if (!this.#reads.isEmpty) this.#openLease();
    this.#lease?.releaseSnapshot();
    const lease = this.#reads.isEmpty ? undefined : this.#lease;
    this.#commit = await this.#engine.commit({
      lease,
      reads: this.#reads,
      writes: this.#writes,
      isBatch: this.#isBatch,
      isRequest: this.#isRequest,
    });
    this.#versionstamp.resolve(encodeVersionstamp(this.#commit.version, this.#commit.order));
  }

  #read(key: Key, snapshot: boolean): Buffer | undefined {
    const mutation = this.#writes.lookUp(key);
    if (isStampedValue(mutation) || this.#writes.isUnreadable(key, keyAfter(key))) {
      throw new KeyValueError(Code.accessedUnreadable);
    }
    if (Buffer.isBuffer(mutation)) return Buffer.from(mutation);
    if (mutation?.type === 'clear') return undefined;
    const stored = this.#snapshot().get(key);
    if (!snapshot) this.#reads.addKey(key);
    if (mutation === undefined) return stored;
    return resolveMutation(mutation, () => stored, Buffer.alloc(0));
  }

  #readPage(begin: Key, end: Key, options: RangeOptions): RangePage {
    this.#requireActive();
    const reverse = options.reverse === true;
    const page = readRangePage(this.#snapshot(), this.#writes, begin, end, {
      maxPairs: options.limit ?? Number.POSITIVE_INFINITY,
      maxBytes: options.targetBytes ?? Number.POSITIVE_INFINITY,
      reverse,
    });
    if (options.snapshot === true) return page;
    const last = page.pairs.at(-1);
    if (page.isComplete) {
      if (options.limit === undefined || options.limit > 0) this.#reads.addRange(begin, end);
    } else if (last !== undefined) {
      // Only what was looked at: what lies behind the last pair may change.
      const lastKey = keyFromBytes(last.key);
      if (reverse) this.#reads.addRange(lastKey, end);
      else this.#reads.addRange(begin, keyAfter(lastKey));
    }
    return page;
  }

  #estimateScope(begin: Key, end: Key): EstimateScope {
    return { clock: this.#engine.clock, snapshot: () => this.#snapshot(), begin, end };
  }

  #snapshot(): Snapshot {
    const lease = this.#openLease();
    if (lease.isTooOld() || lease.snapshot === undefined) throw new KeyValueError(Code.transactionTooOld);
    return lease.snapshot;
  }

  #openLease(): ReadLease {
    return (this.#lease ??= this.#engine.openLease());
  }

  #endLease(): void {
    this.#lease?.end();
    this.#lease = undefined;
  }

  #reset(): void {
    this.#endLease();
    for (const watch of this.#watches) watch.cancel();
    this.#watches = [];
    this.#reads = new ConflictSet();
    this.#writes = new WriteBuffer();
    this.#versionstamp.reject(Code.canceled);
    this.#versionstamp = new DeferredStamp();
  }

  #timeLeftMs(): number {
    return this.#timeoutMs - (this.#engine.clock.monotonicMs() - this.#createdMs);
  }

  #requireActive(): void {
    if (this.#engine.isClosed) throw new KeyValueError(Code.canceled);
    switch (this.#state) {
      case 'active':
        if (this.#timeLeftMs() < 0) throw new KeyValueError(Code.timedOut);
        return;
      case 'committing':
      case 'committed':
      case 'failed':
        throw new KeyValueError(Code.usedDuringCommit);
      case 'canceled':
        throw new KeyValueError(Code.canceled);
    }
  }

  #requireRange(beginBytes: Uint8Array, endBytes: Uint8Array): { begin: Key; end: Key } {
    this.#requireActive();
    const begin = requireRangeEnd(beginBytes);
    const end = requireRangeEnd(endBytes);
    if (begin > end) throw new KeyValueError(Code.invertedRange);
    return { begin, end };
  }
}

/** Costs next to nothing as long as nobody asks: hardly anybody does, and an error with its stack is dear. */
class DeferredStamp {
  #settlement: { readonly stamp: Buffer } | { readonly code: number } | undefined;
  #waiting: { resolve(stamp: Buffer): void; reject(error: KeyValueError): void }[] = [];

  get promise(): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#tell();
    });
  }

  resolve(stamp: Buffer): void {
    this.#settlement ??= { stamp };
    this.#tell();
  }

  reject(code: number): void {
    this.#settlement ??= { code };
    this.#tell();
  }

  #tell(): void {
    const settlement = this.#settlement;
    if (settlement === undefined) return;
    for (const waiting of this.#waiting) {
      if ('stamp' in settlement) waiting.resolve(settlement.stamp);
      else waiting.reject(new KeyValueError(settlement.code));
    }
    this.#waiting = [];
  }
}
