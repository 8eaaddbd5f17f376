import type { AtomicOperation } from '../kv.ts';
import { applyAtomicOperation } from './atomic.ts';
import type { KeyRange } from './conflict-set.ts';
import { compareKeys, keyAfter, lowerBound, type Key } from './keys.ts';
import { RangeList } from './range-list.ts';
import { stampKey, stampKeyRange, stampValue } from './versionstamp.ts';
import type { StorageWriter } from './storage.ts';

/** What a transaction wants done to one key. */
export type Mutation =
  | { readonly type: 'set'; readonly value: Buffer }
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
 * The writes of one transaction, last one wins. Most transactions write in ascending key order: those keys are
 * appended to a sorted list; the others wait aside and are merged in when the order is asked for.
 */
export class WriteBuffer {
  readonly #mutations = new Map<Key, Mutation>();
  #sorted: Key[] = [];
  #unsorted: Key[] = [];
  readonly #cleared = new RangeList();
  readonly #stampedKeys: StampedKey[] = [];
  readonly #clears: KeyRange[] = [];
  readonly #extraConflicts: KeyRange[] = [];
  /** Bytes as FoundationDB counts them: keys and values, and the write conflict range of each. */
  sizeBytes = 0;

  get isEmpty(): boolean {
    return (
      this.#mutations.size === 0 &&
      this.#cleared.isEmpty &&
      this.#stampedKeys.length === 0 &&
      this.#extraConflicts.length === 0
    );
  }

  set(key: Key, value: Buffer): void {
    this.#mutate(key, { type: 'set', value }, value.length);
  }

  clear(key: Key): void {
    this.#mutate(key, clearMutation, 0);
    if (this.#stampedKeys.length > 0) this.#clears.push({ begin: key, end: keyAfter(key) });
  }

  clearRange(begin: Key, end: Key): void {
    if (begin >= end) return;
    this.sizeBytes += 2 * (begin.length + end.length);
    if (this.#mutations.size > 0) this.#forget(begin, end);
    this.#cleared.add(begin, end);
    if (this.#stampedKeys.length > 0) this.#clears.push({ begin, end });
  }

  atomicOp(operation: AtomicOperation, key: Key, operand: Buffer): void {
    const current = this.lookUp(key);
    switch (current?.type) {
      case 'set':
      case 'clear': {
        const base = current.type === 'set' ? current.value : undefined;
        const value = applyAtomicOperation(operation, base, operand);
        this.#mutate(key, value === undefined ? clearMutation : { type: 'set', value }, operand.length);
        return;
      }
      case 'stampedValue':
      case 'atomic':
      case undefined: {
        // On a stamped value the operation would apply to bytes not known yet; nobody can want that, and it may
        // not be read either, so the last writer wins.
        const steps = current?.type === 'atomic' ? current.steps : [];
        this.#mutate(key, { type: 'atomic', steps: [...steps, { operation, operand }] }, operand.length);
      }
    }
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
    const mutation = this.#mutations.get(key);
    if (mutation !== undefined) return mutation;
    return !this.#cleared.isEmpty && this.#cleared.covers(key) ? clearMutation : undefined;
  }

  /** Whether reading [begin, end) needs this transaction's own writes at all. */
  touches(begin: Key, end: Key): boolean {
    if (this.#mutations.size > 0) {
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
    if (this.#unsorted.length > 0) {
      this.#sorted = mergeSorted(this.#sorted, this.#unsorted.sort(compareKeys));
      this.#unsorted = [];
    }
    return this.#sorted;
  }

  /** Ranges that the commit writes as a whole, apart from `sortedKeys`. */
  *conflictRanges(): Generator<KeyRange> {
    yield* this.#cleared.ranges;
    yield* this.#extraConflicts;
  }

  /** Carries the writes out. Answers further keys that were written: those with a versionstamp. */
  apply(writer: StorageWriter, versionstamp: Buffer): readonly Key[] {
    for (const { begin, end } of this.#cleared.ranges) writer.removeRange(begin, end);
    for (const key of this.sortedKeys()) {
      const mutation = this.#mutations.get(key) as Mutation;
      const value = resolveMutation(mutation, () => writer.get(key), versionstamp);
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

  #mutate(key: Key, mutation: Mutation, operandBytes: number): void {
    const { size } = this.#mutations;
    this.#mutations.set(key, mutation);
    this.sizeBytes += 3 * key.length + 1 + operandBytes;
    if (this.#mutations.size === size) return;
    const last = this.#sorted.at(-1);
    if (last === undefined || key > last) this.#sorted.push(key);
    else this.#unsorted.push(key);
  }

  #forget(begin: Key, end: Key): void {
    const keys = this.sortedKeys();
    const from = lowerBound(keys, begin);
    const to = lowerBound(keys, end);
    for (let index = from; index < to; index++) this.#mutations.delete(keys[index] as Key);
    this.#sorted.splice(from, to - from);
  }
}

/** The value after a mutation; undefined: no value. `readCurrent` is asked only where it matters. */
export function resolveMutation(
  mutation: Mutation,
  readCurrent: () => Buffer | undefined,
  versionstamp: Buffer,
): Buffer | undefined {
  switch (mutation.type) {
    case 'set':
      return mutation.value;
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

function mergeSorted(left: readonly Key[], right: readonly Key[]): Key[] {
  const merged: Key[] = [];
  let l = 0;
  let r = 0;
  while (l < left.length && r < right.length) {
    const a = left[l] as Key;
    const b = right[r] as Key;
    if (a < b) {
      merged.push(a);
      l++;
    } else {
      merged.push(b);
      r++;
    }
  }
  while (l < left.length) merged.push(left[l++] as Key);
  while (r < right.length) merged.push(right[r++] as Key);
  return merged;
}
