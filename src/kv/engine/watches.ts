import { limits } from '../../limits.ts';
import { KeyValueError, KeyValueErrorCode, type Watch } from '../kv.ts';
import type { Key } from './keys.ts';
import type { WriteSet } from './write-set.ts';
import { writesKey } from './write-set.ts';

export type ReadCurrent = (key: Key) => Buffer | undefined;

/** A watch that waits for its transaction to commit. */
export interface PendingWatch {
  readonly watch: Watch;
  /** Begins to watch, or answers at once if the value is not what the transaction saw. */
  arm(): void;
  cancel(): void;
}

interface ArmedWatch {
  readonly seen: Buffer | undefined;
  end(changed: boolean): void;
}

/** All armed watches of one database object. */
export class Watches {
  readonly #armed = new Map<Key, Set<ArmedWatch>>();
  readonly #readCurrent: ReadCurrent;
  readonly #onActivity: (isWatching: boolean) => void;
  #count = 0;
  #isClosed = false;

  /** `onActivity` is told when the first watch is armed and when the last one has ended. */
  constructor(readCurrent: ReadCurrent, onActivity: (isWatching: boolean) => void = () => undefined) {
    this.#readCurrent = readCurrent;
    this.#onActivity = onActivity;
  }

  get isWatching(): boolean {
    return this.#count > 0;
  }

  /** `seen`: the value as the transaction sees it; 'afterCommit' where it will be known only then. */
  prepare(key: Key, seen: Buffer | undefined | 'afterCommit'): PendingWatch {
    if (this.#count >= limits.database.watches.value)
      throw new KeyValueError(KeyValueErrorCode.tooManyWatches);
    let settle!: (changed: boolean) => void;
    const changed = new Promise<boolean>((resolve) => (settle = resolve));
    let armed: ArmedWatch | undefined;
    const cancel = () => {
      if (armed === undefined) settle(false);
      else armed.end(false);
    };
    const arm = () => {
      if (this.#isClosed) return settle(false);
      const current = this.#readCurrent(key);
      const expected = seen === 'afterCommit' ? current : seen;
      if (!isSameValue(expected, current)) return settle(true);
      armed = this.#add(key, expected, settle);
      return undefined;
    };
    return { watch: { changed, cancel }, arm, cancel };
  }

  /** After a commit of this process: only the keys that it wrote are looked at. */
  afterCommit(writes: WriteSet): void {
    if (this.#count === 0) return;
    for (const key of this.#armed.keys()) if (writesKey(writes, key)) this.#recheck(key);
  }

  /** After commits of others, which may have written anything. */
  recheckAll(): void {
    for (const key of this.#armed.keys()) this.#recheck(key);
  }

  close(): void {
    this.#isClosed = true;
    for (const watches of this.#armed.values()) for (const watch of watches) watch.end(false);
  }

  #add(key: Key, seen: Buffer | undefined, settle: (changed: boolean) => void): ArmedWatch {
    const watches = this.#armed.get(key) ?? new Set();
    const watch: ArmedWatch = {
      seen,
      end: (changed) => {
        if (!watches.delete(watch)) return;
        if (watches.size === 0) this.#armed.delete(key);
        this.#count--;
        settle(changed);
        if (this.#count === 0) this.#onActivity(false);
      },
    };
    watches.add(watch);
    this.#armed.set(key, watches);
    if (this.#count++ === 0) this.#onActivity(true);
    return watch;
  }

  #recheck(key: Key): void {
    const watches = this.#armed.get(key);
    if (watches === undefined) return;
    const current = this.#readCurrent(key);
    for (const watch of watches) if (!isSameValue(watch.seen, current)) watch.end(true);
  }
}

function isSameValue(left: Buffer | undefined, right: Buffer | undefined): boolean {
  if (left === undefined || right === undefined) return left === right;
  return left.equals(right);
}
