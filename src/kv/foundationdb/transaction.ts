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
  type TransactOptions,
  type Watch,
} from '../kv.ts';
import type { FoundationDBKeySelector, FoundationDBTransaction } from './binding.ts';
import { MutationType, StreamingMode, TransactionOption } from './binding.ts';
import { translate } from './errors.ts';
import type { DriverWatches, PendingWatch } from './watches.ts';

/** Pairs asked for at a time by the iterator of `getRange`, so that a consumer that stops early has not read it all. */
const iteratorPagePairs = 1_000;

const selector = (key: Buffer, orEqual: boolean): FoundationDBKeySelector => ({
  key,
  orEqual,
  offset: 1,
  _isKeySelector: true,
});
const firstNotBelow = (key: Buffer) => selector(key, false);
const firstBehind = (key: Buffer) => selector(key, true);

/** What `transact` hands on: the loop's limit is the client's too. */
export type FoundationDBTransactOptions = Omit<TransactOptions, 'signal'>;

export interface FoundationDBTransactionParts {
  readonly watches: DriverWatches;
  /** Whether the cluster serves it after everything else. */
  readonly isBatch: boolean;
  /** Whether the database was closed, after which nothing reaches the client any more. */
  readonly isClosed: () => boolean;
}

/** One transaction of the C client, under the port's names. What it refuses is refused with FoundationDB's own codes. */
export class FoundationDBKeyValueTransaction implements KeyValueTransaction {
  attempt = 0;
  afterUnknownResult = false;
  readonly #client: FoundationDBTransaction;
  readonly #snapshot: FoundationDBTransaction;
  readonly #parts: FoundationDBTransactionParts;
  #state: 'active' | 'committed' | 'canceled' = 'active';
  #pendingWatches: PendingWatch[] = [];

  constructor(native: FoundationDBTransaction, parts: FoundationDBTransactionParts) {
    this.#client = native;
    this.#snapshot = native.snapshot();
    this.#parts = parts;
  }

  async get(key: Uint8Array, options?: ReadOptions): Promise<Buffer | undefined> {
    return translated(this.#reader(options).get(asReadKey(key)));
  }

  async *getRange(begin: Uint8Array, end: Uint8Array, options: RangeOptions = {}): AsyncGenerator<KeyValue> {
    let left = options.limit ?? Number.POSITIVE_INFINITY;
    let bytesLeft = options.targetBytes ?? Number.POSITIVE_INFINITY;
    let [from, to] = [asRangeEnd(begin), asRangeEnd(end)];
    while (left > 0 && bytesLeft > 0) {
      const limit = Math.min(left, iteratorPagePairs);
      const page = await this.#page(firstNotBelow(from), firstNotBelow(to), {
        ...options,
        limit,
        targetBytes: bytesLeft,
      });
      yield* page;
      const last = page.at(-1);
      if (last === undefined || page.length < limit) return;
      left -= page.length;
      for (const { key, value } of page) bytesLeft -= key.length + value.length;
      if (options.reverse === true) to = last.key;
      else from = Buffer.concat([last.key, Buffer.of(0)]);
    }
  }

  async getRangeAll(begin: Uint8Array, end: Uint8Array, options: RangeOptions = {}): Promise<KeyValue[]> {
    if (Buffer.compare(begin, end) > 0) throw new KeyValueError(Code.invertedRange);
    return this.#page(firstNotBelow(asRangeEnd(begin)), firstNotBelow(asRangeEnd(end)), options);
  }

  async getReadVersion(): Promise<bigint> {
    return (await translated(this.#native.getReadVersion())).readBigInt64BE();
  }

  async getEstimatedRangeSizeBytes(begin: Uint8Array, end: Uint8Array): Promise<number> {
    return translated(this.#native.getEstimatedRangeSizeBytes(asRangeEnd(begin), asRangeEnd(end)));
  }

  async getRangeSplitPoints(begin: Uint8Array, end: Uint8Array, chunkBytes: number): Promise<Buffer[]> {
    return translated(this.#native.getRangeSplitPoints(asRangeEnd(begin), asRangeEnd(end), chunkBytes));
  }

  set(key: Uint8Array, value: Uint8Array): void {
    translatedNow(() => this.#writer.set(asWriteKey(key), asValue(value)));
  }

  clear(key: Uint8Array): void {
    translatedNow(() => this.#writer.clear(asKey(key)));
  }

  clearRange(begin: Uint8Array, end: Uint8Array): void {
    if (Buffer.compare(begin, end) > 0) throw new KeyValueError(Code.invertedRange);
    translatedNow(() => this.#writer.clearRange(asRangeEnd(begin), asRangeEnd(end)));
  }

  atomicOp(operation: AtomicOperation, key: Uint8Array, operand: Uint8Array): void {
    translatedNow(() =>
      this.#writer.atomicOpNative(MutationType[operation], asWriteKey(key), asValue(operand)),
    );
  }

  setVersionstampedKey(key: Uint8Array, offset: number, value: Uint8Array): void {
    const stamped = withOffset(asKey(key), offset);
    translatedNow(() =>
      this.#writer.atomicOpNative(MutationType.setVersionstampedKey, stamped, asValue(value)),
    );
  }

  setVersionstampedValue(key: Uint8Array, value: Uint8Array, offset: number): void {
    const stamped = withOffset(asValue(value), offset);
    if (isMetadataVersionKey(key)) requireMetadataVersionStamp(value, offset);
    translatedNow(() =>
      this.#writer.atomicOpNative(MutationType.setVersionstampedValue, asReadKey(key), stamped),
    );
  }

  addReadConflictRange(begin: Uint8Array, end: Uint8Array): void {
    translatedNow(() => this.#native.addReadConflictRange(asRangeEnd(begin), asRangeEnd(end)));
  }

  addReadConflictKey(key: Uint8Array): void {
    translatedNow(() => this.#native.addReadConflictKey(asKey(key)));
  }

  addWriteConflictRange(begin: Uint8Array, end: Uint8Array): void {
    translatedNow(() => this.#native.addWriteConflictRange(asRangeEnd(begin), asRangeEnd(end)));
  }

  addWriteConflictKey(key: Uint8Array): void {
    translatedNow(() => this.#native.addWriteConflictKey(asKey(key)));
  }

  watch(key: Uint8Array): Watch {
    const watched = asKey(key);
    const seen = translated(this.#reader({ snapshot: true }).get(watched));
    const pending = this.#parts.watches.create(watched, seen, () => this.#native.watch(watched));
    this.#pendingWatches.push(pending);
    return pending.watch;
  }

  async getApproximateSize(): Promise<number> {
    return translated(this.#native.getApproximateSize());
  }

  getVersionstamp(): Promise<Buffer> {
    const stamp = translated(this.#native.getVersionstamp().promise);
    // Nobody has to await it.
    stamp.catch(() => undefined);
    return stamp;
  }

  getCommittedVersion(): bigint {
    if (this.#state !== 'committed') throw new KeyValueError(Code.clientInvalidOperation);
    return translatedNow(() => this.#native.getCommittedVersion().readBigInt64BE());
  }

  async commit(): Promise<void> {
    if (this.#pendingWatches.length > 0) await Promise.all(this.#pendingWatches.map((one) => one.prepare()));
    await translated(this.#native.rawCommit());
    this.#state = 'committed';
    for (const pending of this.#pendingWatches) pending.committed();
    this.#pendingWatches = [];
  }

  /** The client decides what waits how long and what is final. */
  async onError(error: KeyValueError): Promise<void> {
    if (this.#state === 'canceled') throw new KeyValueError(Code.canceled);
    this.#dropWatches();
    await translated(this.#native.rawOnError(error.code));
    // Time and limits outlive the attempt; the client forgets the priority with it.
    if (this.#parts.isBatch) this.#native.setOption(TransactionOption.priorityBatch);
    if (error.maybeCommitted) this.afterUnknownResult = true;
    this.attempt += 1;
  }

  cancel(): void {
    if (this.#state !== 'active') return;
    this.#state = 'canceled';
    this.#dropWatches();
    this.#client.rawCancel();
  }

  get #native(): FoundationDBTransaction {
    if (this.#parts.isClosed()) throw new KeyValueError(Code.canceled);
    return this.#client;
  }

  /** A watch is for what the transaction saw when it was asked for. */
  get #writer(): FoundationDBTransaction {
    const native = this.#native;
    for (const pending of this.#pendingWatches) pending.armNow();
    return native;
  }

  #dropWatches(): void {
    for (const pending of this.#pendingWatches) pending.drop();
    this.#pendingWatches = [];
  }

  #reader(options: ReadOptions | undefined): FoundationDBTransaction {
    const native = this.#native;
    return options?.snapshot === true ? this.#snapshot : native;
  }

  /** As many round trips as it takes; the client answers in parts. */
  async #page(
    begin: FoundationDBKeySelector,
    end: FoundationDBKeySelector,
    options: RangeOptions,
  ): Promise<KeyValue[]> {
    const { limit = 0, targetBytes = Number.POSITIVE_INFINITY, reverse = false } = options;
    if (options.limit === 0 || targetBytes <= 0) return [];
    const reader = this.#reader(options);
    // With a limit of bytes the answer may come whole; without one it must not.
    const mode = Number.isFinite(targetBytes) ? StreamingMode.exact : StreamingMode.wantAll;
    const pairs: KeyValue[] = [];
    let bytes = 0;
    let [from, to] = [begin, end];
    for (let iteration = 1; ; iteration += 1) {
      const wanted = limit === 0 ? 0 : limit - pairs.length;
      const ask = Number.isFinite(targetBytes) ? targetBytes - bytes : 0;
      const { results, more } = await translated(
        reader.getRangeNative(from, to, wanted, ask, mode, iteration, reverse),
      );
      for (const [key, value] of results) {
        pairs.push({ key, value });
        bytes += key.length + value.length;
        // The client rounds up to whole parts; the port promises the pair that reaches it and no other.
        if (bytes >= targetBytes) return pairs;
      }
      const last = results.at(-1);
      if (!more || last === undefined || (limit > 0 && pairs.length >= limit)) return pairs;
      if (reverse) to = firstNotBelow(last[0]);
      else from = firstBehind(last[0]);
    }
  }
}

async function translated<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw translate(error);
  }
}

function translatedNow<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw translate(error);
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The client would say so only at the commit. */
function asKey(key: Uint8Array): Buffer {
  if (key.length > keyValueLimits.keyBytes) throw new KeyValueError(Code.keyTooLarge);
  if (key[0] === 0xff) throw new KeyValueError(Code.keyOutsideLegalRange);
  return asBuffer(key);
}

/** The one key of the database's own that is for everybody is among them. */
function asReadKey(key: Uint8Array): Buffer {
  return isMetadataVersionKey(key) ? asBuffer(key) : asKey(key);
}

/** That one takes a versionstamp only, in an operation of its own. */
function asWriteKey(key: Uint8Array): Buffer {
  if (isMetadataVersionKey(key)) throw new KeyValueError(Code.clientInvalidOperation);
  return asKey(key);
}

function asRangeEnd(key: Uint8Array): Buffer {
  if (key.length > keyValueLimits.keyBytes + 1) throw new KeyValueError(Code.keyTooLarge);
  if (key[0] === 0xff && key.length > 1) throw new KeyValueError(Code.keyOutsideLegalRange);
  return asBuffer(key);
}

function asValue(value: Uint8Array): Buffer {
  if (value.length > keyValueLimits.valueBytes) throw new KeyValueError(Code.valueTooLarge);
  return asBuffer(value);
}

/** Since API version 520 the offset follows in four bytes, little-endian. */
function withOffset(bytes: Buffer, offset: number): Buffer {
  if (!Number.isInteger(offset) || offset < 0 || offset + 10 > bytes.length) {
    throw new KeyValueError(Code.clientInvalidOperation, {
      message: `a versionstamp of 10 bytes does not fit at offset ${offset}`,
    });
  }
  const place = Buffer.alloc(4);
  place.writeUInt32LE(offset);
  return Buffer.concat([bytes, place]);
}
