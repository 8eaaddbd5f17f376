import type { AtomicOperation } from '../kv.ts';
import { applyAtomicOperation } from './atomic.ts';
import type { KeyRange } from './conflict-set.ts';
import { compareKeys, keyAfter, lowerBound, type Key } from './keys.ts';
import { RangeList } from './range-list.ts';
import { stampKey, stampKeyRange, stampValue } from './versionstamp.ts';
import type { StorageWriter } from './storage.ts';

/** What a transaction wants done to one key. A buffer is the value to set: most are, and need no object around it. */
export type Mutation =
  | Buffer
  | { readonly type: 'clear' }
  | { readonly type: 'atomic'; readonly steps: readonly AtomicStep[] }
  | { readonly type: 'stampedValue'; readonly value: Buffer; readonly offset: number };

interface AtomicStep {
  readonly operation: AtomicOperation;
  readonly operand: Buffer;
}

interface StampedKey {
  readonly key: Buffer;
  readonly offset: number;
  readonly value: Buffer;
  readonly possible: KeyRange;
  /** How many clears there were before it: the later ones take it away again. */
  readonly clearsBefore: number;
}

const clearMutation: Mutation = { type: 'clear' };
const noKeys: readonly Key[] = [];

/**
 * The writes of one transaction, last one wins. Most transactions write in ascending key order: those keys are appended to
 * a sorted list, with their mutations beside them; what comes out of order waits aside, and is merged in when the order is
 * asked for.
 */
export class WriteBuffer {
  /** Sorted. */
  #keys: Key[] = [];
  /** One for each of `#keys`. */
  #mutations: Mutation[] = [];
  /** Keys below the last of `#keys`, and none of those. */
  readonly #late = new Map<Key, Mutation>();
  readonly #cleared = new RangeList();
  readonly #stampedKeys: StampedKey[] = [];
  readonly #clears: KeyRange[] = [];
  readonly #extraConflicts: KeyRange[] = [];
  /** Bytes as FoundationDB counts them: keys and values, and the write conflict range of each. */
  sizeBytes = 0;

  get isEmpty(): boolean {
    return (
      !this.#hasMutations &&
      this.#cleared.isEmpty &&
      this.#stampedKeys.length === 0 &&
      this.#extraConflicts.length === 0
    );
  }

  set(key: Key, value: Buffer): void {
    this.#mutate(key, value, value.length);
  }

  clear(key: Key): void {
    this.#mutate(key, clearMutation, 0);
    if (this.#stampedKeys.length > 0) this.#clears.push({ begin: key, end: keyAfter(key) });
  }

  clearRange(begin: Key, end: Key): void {
    if (begin >= end) return;
    this.sizeBytes += 2 * (begin.length + end.length);
    if (this.#hasMutations) this.#forget(begin, end);
    this.#cleared.add(begin, end);
    if (this.#stampedKeys.length > 0) this.#clears.push({ begin, end });
  }

  atomicOp(operation: AtomicOperation, key: Key, operand: Buffer): void {
    const current = this.lookUp(key);
    if (Buffer.isBuffer(current) || current?.type === 'clear') {
      const base = Buffer.isBuffer(current) ? current : undefined;
      const value = applyAtomicOperation(operation, base, operand);
      this.#mutate(key, value ?? clearMutation, operand.length);
      return;
    }
    // On a stamped value the operation would apply to bytes not known yet; nobody can want that, and it may not be read
    // either, so the last writer wins.
    const steps = current?.type === 'atomic' ? current.steps : [];
    this.#mutate(key, { type: 'atomic', steps: [...steps, { operation, operand }] }, operand.length);
  }

  setStampedKey(key: Buffer, offset: number, value: Buffer): void {
    const possible = stampKeyRange(key, offset);
    this.#stampedKeys.push({ key, offset, value, possible, clearsBefore: this.#clears.length });
    this.sizeBytes += key.length + value.length + possible.begin.length + possible.end.length;
  }

  setStampedValue(key: Key, value: Buffer, offset: number): void {
    this.#mutate(key, { type: 'stampedValue', value, offset }, value.length);
  }

  addConflict(begin: Key, end: Key): void {
    if (begin >= end) return;
    this.#extraConflicts.push({ begin, end });
    this.sizeBytes += begin.length + end.length;
  }

  /** What this transaction knows of a key; undefined when it leaves the key alone. */
  lookUp(key: Key): Mutation | undefined {
    const late = this.#late.size === 0 ? undefined : this.#late.get(key);
    if (late !== undefined) return late;
    const at = lowerBound(this.#keys, key);
    if (this.#keys[at] === key) return this.#mutations[at];
    return !this.#cleared.isEmpty && this.#cleared.covers(key) ? clearMutation : undefined;
  }

  /** Whether reading [begin, end) needs this transaction's own writes at all. */
  touches(begin: Key, end: Key): boolean {
    if (this.#hasMutations) {
      const keys = this.sortedKeys();
      const next = keys[lowerBound(keys, begin)];
      if (next !== undefined && next < end) return true;
    }
    return !this.#cleared.isEmpty && this.#cleared.touches(begin, end);
  }

  /** Whether [begin, end) may hold a key that will be known only after the commit. */
  isUnreadable(begin: Key, end: Key): boolean {
    return this.#stampedKeys.some(({ possible }) => possible.begin < end && possible.end > begin);
  }

  /** Keys with a mutation of their own, in order. */
  sortedKeys(): readonly Key[] {
    if (this.#late.size > 0) this.#takeInLate();
    return this.#keys;
  }

  /** Ranges that the commit writes as a whole, apart from `sortedKeys`. */
  *conflictRanges(): Generator<KeyRange> {
    yield* this.#cleared.ranges;
    yield* this.#extraConflicts;
  }

  /** Carries the writes out. Answers further keys that were written: those with a versionstamp. */
  apply(writer: StorageWriter, versionstamp: Buffer): readonly Key[] {
    for (const { begin, end } of this.#cleared.ranges) writer.removeRange(begin, end);
    const keys = this.sortedKeys();
    for (let at = 0; at < keys.length; at++) {
      const key = keys[at] as Key;
      const mutation = this.#mutations[at] as Mutation;
      const value = Buffer.isBuffer(mutation)
        ? mutation
        : resolveMutation(mutation, () => writer.get(key), versionstamp);
      if (value === undefined) writer.remove(key);
      else writer.put(key, value);
    }
    if (this.#stampedKeys.length === 0) return noKeys;
    const written: Key[] = [];
    for (const { key, offset, value, clearsBefore } of this.#stampedKeys) {
      const stamped = stampKey(key, offset, versionstamp);
      const isClearedAgain = this.#clears.some(
        ({ begin, end }, index) => index >= clearsBefore && begin <= stamped && stamped < end,
      );
      if (isClearedAgain) writer.remove(stamped);
      else writer.put(stamped, value);
      written.push(stamped);
    }
    return written.sort(compareKeys);
  }

  get #hasMutations(): boolean {
    return this.#keys.length > 0 || this.#late.size > 0;
  }

  #mutate(key: Key, mutation: Mutation, operandBytes: number): void {
    this.sizeBytes += 3 * key.length + 1 + operandBytes;
    const last = this.#keys.at(-1);
    if (last === undefined || key > last) {
      this.#keys.push(key);
      this.#mutations.push(mutation);
      return;
    }
    const at = lowerBound(this.#keys, key);
    if (this.#keys[at] === key) this.#mutations[at] = mutation;
    else this.#late.set(key, mutation);
  }

  #forget(begin: Key, end: Key): void {
    const keys = this.sortedKeys();
    const from = lowerBound(keys, begin);
    const count = lowerBound(keys, end) - from;
    this.#keys.splice(from, count);
    this.#mutations.splice(from, count);
  }

  #takeInLate(): void {
    const lateKeys = [...this.#late.keys()].sort(compareKeys);
    const keys: Key[] = [];
    const mutations: Mutation[] = [];
    let at = 0;
    for (const late of lateKeys) {
      for (; at < this.#keys.length && (this.#keys[at] as Key) < late; at++) {
        keys.push(this.#keys[at] as Key);
        mutations.push(this.#mutations[at] as Mutation);
      }
      keys.push(late);
      mutations.push(this.#late.get(late) as Mutation);
    }
    for (; at < this.#keys.length; at++) {
      keys.push(this.#keys[at] as Key);
      mutations.push(this.#mutations[at] as Mutation);
    }
    this.#keys = keys;
    this.#mutations = mutations;
    this.#late.clear();
  }
}

/** Its value is known only after the commit. */
export function isStampedValue(mutation: Mutation | undefined): boolean {
  return mutation !== undefined && !Buffer.isBuffer(mutation) && mutation.type === 'stampedValue';
}

/** The value after a mutation; undefined: no value. `readCurrent` is asked only where it matters. */
export function resolveMutation(
  mutation: Mutation,
  readCurrent: () => Buffer | undefined,
  versionstamp: Buffer,
): Buffer | undefined {
  if (Buffer.isBuffer(mutation)) return mutation;
  switch (mutation.type) {
    case 'clear':
      return undefined;
    case 'stampedValue':
      return stampValue(mutation.value, mutation.offset, versionstamp);
    case 'atomic': {
      let value = readCurrent();
      for (const { operation, operand } of mutation.steps) {
        value = applyAtomicOperation(operation, value, operand);
      }
      return value;
    }
  }
}
