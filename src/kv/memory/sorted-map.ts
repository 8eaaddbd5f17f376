import type { KeyValue } from '../kv.ts';
import { keyToBytes, lowerBound, type Key } from '../engine/keys.ts';
import type { Scan } from '../engine/storage.ts';

/** A leaf is split above this: small enough to copy on a write, large enough to keep the list of leaves short. */
const maxLeafKeys = 128;

/** Never changed once another map may hold it. */
interface Leaf {
  readonly keys: Key[];
  readonly values: Buffer[];
}

const emptyLeaf: Leaf = { keys: [], values: [] };

/** A sorted map that does not change; writing makes another one that shares all leaves it leaves alone. */
export class SortedMap {
  /** Never empty; keys ascend within and across leaves. */
  readonly leaves: readonly Leaf[];

  constructor(leaves: readonly Leaf[] = [emptyLeaf]) {
    this.leaves = leaves;
  }

  get(key: Key): Buffer | undefined {
    const leaf = this.leaves[leafIndex(this.leaves, key)] as Leaf;
    const index = lowerBound(leaf.keys, key);
    return leaf.keys[index] === key ? leaf.values[index] : undefined;
  }

  scan(begin: Key, end: Key, reverse: boolean): Scan {
    return reverse ? this.#scanBackward(begin, end) : this.#scanForward(begin, end);
  }

  *keys(begin: Key, end: Key): Generator<Key> {
    for (let at = leafIndex(this.leaves, begin); at < this.leaves.length; at++) {
      const { keys } = this.leaves[at] as Leaf;
      for (let index = lowerBound(keys, begin); index < keys.length; index++) {
        const key = keys[index] as Key;
        if (key >= end) return;
        yield key;
      }
    }
  }

  #scanForward(begin: Key, end: Key): Scan {
    let at = leafIndex(this.leaves, begin);
    let leaf = this.leaves[at];
    let index = leaf === undefined ? 0 : lowerBound(leaf.keys, begin);
    return {
      next: () => {
        while (leaf !== undefined && index >= leaf.keys.length) {
          leaf = this.leaves[++at];
          index = 0;
        }
        const key = leaf?.keys[index];
        if (leaf === undefined || key === undefined || key >= end) return undefined;
        return copyPair(key, leaf.values[index++] as Buffer);
      },
      close: () => undefined,
    };
  }

  #scanBackward(begin: Key, end: Key): Scan {
    let at = leafIndex(this.leaves, end);
    let leaf = this.leaves[at];
    let index = leaf === undefined ? -1 : lowerBound(leaf.keys, end) - 1;
    return {
      next: () => {
        while (leaf !== undefined && index < 0) {
          leaf = this.leaves[--at];
          index = leaf === undefined ? -1 : leaf.keys.length - 1;
        }
        const key = leaf?.keys[index];
        if (leaf === undefined || key === undefined || key < begin) return undefined;
        return copyPair(key, leaf.values[index--] as Buffer);
      },
      close: () => undefined,
    };
  }
}

/** Collects changes to a map; `finish` answers the new one. A leaf is copied at its first change only. */
export class SortedMapEditor {
  readonly #leaves: Leaf[];
  readonly #owned = new Set<Leaf>();

  constructor(map: SortedMap) {
    this.#leaves = [...map.leaves];
  }

  get(key: Key): Buffer | undefined {
    return this.finish().get(key);
  }

  put(key: Key, value: Buffer): void {
    const at = leafIndex(this.#leaves, key);
    const leaf = this.#own(at);
    const index = lowerBound(leaf.keys, key);
    if (leaf.keys[index] === key) {
      leaf.values[index] = value;
      return;
    }
    leaf.keys.splice(index, 0, key);
    leaf.values.splice(index, 0, value);
    if (leaf.keys.length > maxLeafKeys) this.#split(at, leaf, index);
  }

  remove(key: Key): void {
    const at = leafIndex(this.#leaves, key);
    const found = this.#leaves[at] as Leaf;
    const index = lowerBound(found.keys, key);
    if (found.keys[index] === key) this.#removeFrom(at, index, index + 1);
  }

  removeRange(begin: Key, end: Key): void {
    for (let at = leafIndex(this.#leaves, end); at >= 0; at--) {
      const { keys } = this.#leaves[at] as Leaf;
      const from = lowerBound(keys, begin);
      const to = lowerBound(keys, end);
      if (from < to) this.#removeFrom(at, from, to);
      if (from > 0) return;
    }
  }

  finish(): SortedMap {
    return new SortedMap(this.#leaves);
  }

  #removeFrom(at: number, from: number, to: number): void {
    const leaf = this.#own(at);
    leaf.keys.splice(from, to - from);
    leaf.values.splice(from, to - from);
    if (leaf.keys.length === 0 && this.#leaves.length > 1) this.#leaves.splice(at, 1);
  }

  #own(at: number): Leaf {
    const leaf = this.#leaves[at] as Leaf;
    if (this.#owned.has(leaf)) return leaf;
    const copy: Leaf = { keys: [...leaf.keys], values: [...leaf.values] };
    this.#owned.add(copy);
    this.#leaves[at] = copy;
    return copy;
  }

  /** Ascending writes leave full leaves behind, others two halves. */
  #split(at: number, leaf: Leaf, writtenIndex: number): void {
    const cut = writtenIndex === leaf.keys.length - 1 ? leaf.keys.length - 1 : leaf.keys.length >> 1;
    const right: Leaf = { keys: leaf.keys.splice(cut), values: leaf.values.splice(cut) };
    this.#owned.add(right);
    this.#leaves.splice(at + 1, 0, right);
  }
}

/** The leaf in which `key` is or would be. */
function leafIndex(leaves: readonly Leaf[], key: Key): number {
  let low = 0;
  let high = leaves.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    const first = (leaves[middle] as Leaf).keys[0];
    if (first !== undefined && first <= key) low = middle;
    else high = middle - 1;
  }
  return low;
}

function copyPair(key: Key, value: Buffer): KeyValue {
  return { key: keyToBytes(key), value: Buffer.from(value) };
}
