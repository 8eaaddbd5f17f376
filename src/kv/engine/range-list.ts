import type { KeyRange } from './conflict-set.ts';
import type { Key } from './keys.ts';

/** Ranges of keys, sorted, neither overlapping nor touching: what a transaction has cleared. */
export class RangeList {
  #ranges: KeyRange[] = [];

  get isEmpty(): boolean {
    return this.#ranges.length === 0;
  }

  get ranges(): readonly KeyRange[] {
    return this.#ranges;
  }

  add(begin: Key, end: Key): void {
    const from = this.#firstEndingAtOrAfter(begin);
    let to = from;
    let joinedBegin = begin;
    let joinedEnd = end;
    for (; to < this.#ranges.length; to++) {
      const range = this.#ranges[to] as KeyRange;
      if (range.begin > end) break;
      if (range.begin < joinedBegin) joinedBegin = range.begin;
      if (range.end > joinedEnd) joinedEnd = range.end;
    }
    this.#ranges.splice(from, to - from, { begin: joinedBegin, end: joinedEnd });
  }

  covers(key: Key): boolean {
    const range = this.#ranges[this.#firstEndingAfter(key)];
    return range !== undefined && range.begin <= key;
  }

  /** Whether any of it lies in [begin, end). */
  touches(begin: Key, end: Key): boolean {
    const range = this.#ranges[this.#firstEndingAfter(begin)];
    return range !== undefined && range.begin < end;
  }

  #firstEndingAfter(key: Key): number {
    return this.#search((range) => range.end > key);
  }

  #firstEndingAtOrAfter(key: Key): number {
    return this.#search((range) => range.end >= key);
  }

  #search(isFarEnough: (range: KeyRange) => boolean): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (isFarEnough(this.#ranges[middle] as KeyRange)) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
