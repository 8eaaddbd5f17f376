import type {
  AtomicOperation,
  KeyValue,
  KeyValueDatabase,
  KeyValueTransaction,
  RangeOptions,
  ReadOptions,
  TransactionOptions,
  Watch,
} from '../../src/kv/kv.ts';
import { KeyValueError, KeyValueErrorCode } from '../../src/kv/kv.ts';
import { runTransaction } from '../../src/kv/transact.ts';
import type { SimNode } from './sim-node.ts';
import type { Mortal, World } from './world.ts';

/** How often what goes wrong, as shares of the operations that it can strike. */
export interface DatabaseFaults {
  readonly conflict: number;
  readonly tooOld: number;
  readonly unknownApplied: number;
  readonly unknownLost: number;
  readonly tooLarge: number;
  readonly throttled: number;
  readonly timedOut: number;
  /** What no driver is to throw. */
  readonly bug: number;
  /** An operation that takes up to 3 s instead of `latencyMs`. */
  readonly slow: number;
  readonly lateWatch: number;
  readonly lostWatch: number;
}

export const noFaults: DatabaseFaults = {
  conflict: 0,
  tooOld: 0,
  unknownApplied: 0,
  unknownLost: 0,
  tooLarge: 0,
  throttled: 0,
  timedOut: 0,
  bug: 0,
  slow: 0,
  lateWatch: 0,
  lostWatch: 0,
};

/** An error that is none of the port's. */
export class DriverBug extends Error {
  constructor() {
    super('a bug of the driver');
    this.name = 'DriverBug';
  }
}

/** What a commit is about to write, before and after it is applied. */
export interface SimCommit<Node extends Client = SimNode> {
  readonly node: Node;
  /** Keys that it sets, as latin1; versionstamped ones are left out. */
  readonly sets: ReadonlyMap<string, Buffer>;
  readonly clears: ReadonlySet<string>;
  readonly clearedRanges: readonly (readonly [string, string])[];
  /** Prefixes of the keys that get a versionstamp. */
  readonly stamped: readonly string[];
}

/** The database of a simulated cluster, which all nodes share. */
export interface SimCluster<Node extends Client = SimNode> {
  readonly world: World;
  readonly base: KeyValueDatabase;
  faults: DatabaseFaults;
  /** While it is not available nothing is answered; what times out by then fails. */
  availableAtMs: number;
  /** Versions jump by it: a million to the second. */
  versionOffsetMs: number;
  readonly latencyMs: number;
  /** By how much estimates of sizes are too large: as if there were so much more data. */
  readonly sizeFactor: number;
  operations: number;
  strikes: number;
  /** Told of each commit that is applied: `before` in the state it was made for. */
  readonly observe: (commit: SimCommit<Node>) => Promise<(() => Promise<void>) | undefined>;
}

/** A process that uses the database, and may die of it. */
export interface Client extends Mortal {
  operates(side: 'before' | 'after'): void;
}

/** The cluster as one node sees it. */
export function connect<Node extends Client>(cluster: SimCluster<Node>, node: Node): KeyValueDatabase {
  const connection: Connection = { isClosed: false, watches: new Set() };
  const createTransaction = (options?: TransactionOptions) =>
    new SimTransaction(cluster, node, connection, options);
  return {
    engine: 'simulated',
    createTransaction,
    transact: (body, options) => runTransaction({ createTransaction }, body, options),
    close() {
      connection.isClosed = true;
      for (const watch of connection.watches) watch.cancel();
      return Promise.resolve();
    },
  };
}

/** The database outlives it. */
interface Connection {
  isClosed: boolean;
  readonly watches: Set<Watch>;
}

/** What a dead process waits for. */
const never = new Promise<never>(() => undefined);

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

class SimTransaction<Node extends Client> implements KeyValueTransaction {
  readonly #cluster: SimCluster<Node>;
  readonly #node: Node;
  readonly #connection: Connection;
  readonly #inner: KeyValueTransaction;
  /** Between its beginning and its end the base knows nothing of it. */
  #isCommitting = false;
  #sets = new Map<string, Buffer>();
  #clears = new Set<string>();
  #clearedRanges: (readonly [string, string])[] = [];
  #stamped: string[] = [];
  #others = 0;

  constructor(
    cluster: SimCluster<Node>,
    node: Node,
    connection: Connection,
    options: TransactionOptions | undefined,
  ) {
    this.#cluster = cluster;
    this.#node = node;
    this.#connection = connection;
    this.#inner = cluster.base.createTransaction(options);
  }

  get #base(): KeyValueTransaction {
    if (this.#connection.isClosed) throw new KeyValueError(KeyValueErrorCode.canceled);
    if (this.#isCommitting) throw new KeyValueError(KeyValueErrorCode.usedDuringCommit);
    return this.#inner;
  }

  get attempt(): number {
    return this.#inner.attempt;
  }

  get afterUnknownResult(): boolean {
    return this.#inner.afterUnknownResult;
  }

  get(key: Uint8Array, options?: ReadOptions): Promise<Buffer | undefined> {
    return this.#read((base) => base.get(key, options));
  }

  async *getRange(begin: Uint8Array, end: Uint8Array, options?: RangeOptions): AsyncIterable<KeyValue> {
    yield* await this.#read((base) => base.getRangeAll(begin, end, options));
  }

  getRangeAll(begin: Uint8Array, end: Uint8Array, options?: RangeOptions): Promise<KeyValue[]> {
    return this.#read((base) => base.getRangeAll(begin, end, options));
  }

  getReadVersion(): Promise<bigint> {
    return this.#read((base) => base.getReadVersion());
  }

  getEstimatedRangeSizeBytes(begin: Uint8Array, end: Uint8Array): Promise<number> {
    const { sizeFactor } = this.#cluster;
    return this.#read(async (base) => sizeFactor * (await base.getEstimatedRangeSizeBytes(begin, end)));
  }

  getRangeSplitPoints(begin: Uint8Array, end: Uint8Array, chunkBytes: number): Promise<Buffer[]> {
    const { sizeFactor } = this.#cluster;
    return this.#read((base) => base.getRangeSplitPoints(begin, end, Math.max(1, chunkBytes / sizeFactor)));
  }

  set(key: Uint8Array, value: Uint8Array): void {
    this.#base.set(key, value);
    this.#sets.set(latin1(key), Buffer.from(value));
    this.#clears.delete(latin1(key));
  }

  clear(key: Uint8Array): void {
    this.#base.clear(key);
    this.#clears.add(latin1(key));
    this.#sets.delete(latin1(key));
  }

  clearRange(begin: Uint8Array, end: Uint8Array): void {
    this.#base.clearRange(begin, end);
    const [from, to] = [latin1(begin), latin1(end)];
    for (const key of this.#sets.keys()) if (key >= from && key < to) this.#sets.delete(key);
    this.#clearedRanges.push([from, to]);
  }

  atomicOp(operation: AtomicOperation, key: Uint8Array, operand: Uint8Array): void {
    this.#base.atomicOp(operation, key, operand);
    this.#stamped.push(latin1(key));
  }

  setVersionstampedKey(key: Uint8Array, offset: number, value: Uint8Array): void {
    this.#base.setVersionstampedKey(key, offset, value);
    this.#stamped.push(latin1(key.subarray(0, offset)));
  }

  setVersionstampedValue(key: Uint8Array, value: Uint8Array, offset: number): void {
    this.#base.setVersionstampedValue(key, value, offset);
    this.#stamped.push(latin1(key));
  }

  addReadConflictRange(begin: Uint8Array, end: Uint8Array): void {
    this.#base.addReadConflictRange(begin, end);
  }

  addReadConflictKey(key: Uint8Array): void {
    this.#base.addReadConflictKey(key);
  }

  addWriteConflictRange(begin: Uint8Array, end: Uint8Array): void {
    this.#base.addWriteConflictRange(begin, end);
    this.#others += 1;
  }

  addWriteConflictKey(key: Uint8Array): void {
    this.#base.addWriteConflictKey(key);
    this.#others += 1;
  }

  watch(key: Uint8Array): Watch {
    const { world } = this.#cluster;
    const watch = this.#base.watch(key);
    const fate = this.#strikes('lateWatch') ? 'late' : this.#strikes('lostWatch') ? 'lost' : 'fine';
    const changed = new Promise<boolean>((resolve) => {
      void watch.changed.then((value) => {
        // Canceled by this process itself: no message has to come.
        if (!value) resolve(false);
        else if (fate !== 'lost') {
          const withinMs = fate === 'late' ? 20_000 : this.#cluster.latencyMs;
          world.schedule(this.#node, world.random.fraction() * withinMs, () => resolve(true));
        }
      });
    });
    this.#connection.watches.add(watch);
    void watch.changed.then(() => this.#connection.watches.delete(watch));
    return { changed, cancel: () => watch.cancel() };
  }

  getApproximateSize(): Promise<number> {
    return this.#base.getApproximateSize();
  }

  getVersionstamp(): Promise<Buffer> {
    return this.#inner.getVersionstamp();
  }

  getCommittedVersion(): bigint {
    return this.#inner.getCommittedVersion();
  }

  /** On its way to the database it is beyond the node's reach: it is applied although the node dies meanwhile. */
  async commit(): Promise<void> {
    const { world } = this.#cluster;
    const isWriting =
      this.#sets.size + this.#clears.size + this.#clearedRanges.length + this.#stamped.length + this.#others >
      0;
    const base = this.#base;
    if (!isWriting) return base.commit();
    this.#isCommitting = true;
    this.#cluster.operations += 1;
    this.#node.operates('before');
    if (this.#node.isDead) return never;
    const sent = this.#untilAvailable(() => world.later(undefined, this.#latencyMs(), () => this.#apply()));
    const outcome = await sent.then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    this.#node.operates('after');
    await world.later(this.#node, this.#latencyMs(), () => undefined);
    this.#isCommitting = false;
    if (outcome !== undefined) throw outcome.error;
  }

  async onError(error: KeyValueError): Promise<void> {
    this.#sets = new Map();
    this.#clears = new Set();
    this.#clearedRanges = [];
    this.#stamped = [];
    this.#others = 0;
    await this.#inner.onError(error);
    await this.#cluster.world.later(this.#node, 0, () => undefined);
  }

  cancel(): void {
    this.#inner.cancel();
  }

  async #apply(): Promise<void> {
    const isTimedOut = this.#strikes('timedOut');
    // A commit that took too long may have been applied all the same.
    const isApplied = !isTimedOut || this.#cluster.world.random.below(2) === 0;
    if (!isApplied) throw new KeyValueError(KeyValueErrorCode.timedOut);
    if (this.#strikes('bug')) throw new DriverBug();
    if (this.#strikes('conflict')) throw new KeyValueError(KeyValueErrorCode.conflict);
    if (this.#strikes('tooOld')) throw new KeyValueError(KeyValueErrorCode.transactionTooOld);
    if (this.#strikes('throttled')) throw new KeyValueError(1051);
    if (this.#sets.size > 20 && this.#strikes('tooLarge')) {
      throw new KeyValueError(KeyValueErrorCode.transactionTooLarge);
    }
    if (this.#strikes('unknownLost')) throw new KeyValueError(KeyValueErrorCode.commitUnknownResult);
    const commit: SimCommit<Node> = {
      node: this.#node,
      sets: this.#sets,
      clears: this.#clears,
      clearedRanges: this.#clearedRanges,
      stamped: this.#stamped,
    };
    const check = await this.#cluster.observe(commit);
    await this.#inner.commit();
    await check?.();
    if (isTimedOut) throw new KeyValueError(KeyValueErrorCode.timedOut);
    if (this.#strikes('unknownApplied')) throw new KeyValueError(KeyValueErrorCode.commitUnknownResult);
  }

  async #read<T>(read: (base: KeyValueTransaction) => Promise<T>): Promise<T> {
    const base = this.#base;
    this.#cluster.operations += 1;
    this.#node.operates('before');
    if (this.#node.isDead) return never;
    return this.#untilAvailable(() =>
      this.#cluster.world.later(this.#node, this.#latencyMs(), () => {
        if (this.#strikes('timedOut')) throw new KeyValueError(KeyValueErrorCode.timedOut);
        if (this.#strikes('bug')) throw new DriverBug();
        if (this.#strikes('tooOld')) throw new KeyValueError(KeyValueErrorCode.transactionTooOld);
        if (this.#strikes('throttled')) throw new KeyValueError(1051);
        return read(base);
      }),
    );
  }

  async #untilAvailable<T>(operate: () => Promise<T>): Promise<T> {
    const { world, availableAtMs } = this.#cluster;
    if (availableAtMs > world.nowMs) {
      await new Promise<void>((resolve) => {
        world.schedule(this.#node, availableAtMs - world.nowMs, resolve);
      });
    }
    return operate();
  }

  #latencyMs(): number {
    return this.#strikes('slow') ? 3_000 : this.#cluster.latencyMs;
  }

  #strikes(fault: keyof DatabaseFaults): boolean {
    const share = this.#cluster.faults[fault];
    if (share === 0 || this.#cluster.world.random.fraction() >= share) return false;
    this.#cluster.strikes += 1;
    this.#cluster.world.note(this.#node, () => `database: ${fault}`);
    return true;
  }
}
