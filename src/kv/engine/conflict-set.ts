import { keyAfter, type Key } from './keys.ts';

export interface KeyRange {
  readonly begin: Key;
  /** Exclusive. */
  readonly end: Key;
}

/** What a transaction read normally: single keys and ranges, for the check at its commit. */
export class ConflictSet {
  readonly keys = new Set<Key>();
  readonly ranges: KeyRange[] = [];
  /** Bytes as FoundationDB counts them: both ends of each range, a key being the range up to the next one. */
  sizeBytes = 0;
  #min: Key | undefined;
  #max: Key = '';

  get isEmpty(): boolean {
    return this.keys.size === 0 && this.ranges.length === 0;
  }

  addKey(key: Key): void {
    const { size } = this.keys;
    this.keys.add(key);
    if (this.keys.size === size) return;
    this.sizeBytes += 2 * key.length + 1;
    this.#extend(key, key);
  }

  addRange(begin: Key, end: Key): void {
    if (begin >= end) return;
    const last = this.ranges.at(-1);
    // Pages of one scan follow each other: they become one range.
    if (last !== undefined && begin <= last.end && end >= last.begin) {
      const joined = { begin: begin < last.begin ? begin : last.begin, end: end > last.end ? end : last.end };
      this.sizeBytes += joined.begin.length + joined.end.length - last.begin.length - last.end.length;
      this.ranges[this.ranges.length - 1] = joined;
    } else {
      this.ranges.push({ begin, end });
      this.sizeBytes += begin.length + end.length;
    }
    this.#extend(begin, end);
  }

  /** Whether anything in it may lie in [min, max]: the cheap question before the exact one. */
  mayTouch(min: Key, max: Key): boolean {
    return this.#min !== undefined && this.#min <= max && this.#max >= min;
  }

  /** Every part as a range. */
  *asRanges(): Generator<KeyRange> {
    for (const key of this.keys) yield { begin: key, end: keyAfter(key) };
    yield* this.ranges;
  }

  #extend(min: Key, max: Key): void {
    if (this.#min === undefined || min < this.#min) this.#min = min;
    if (max > this.#max) this.#max = max;
  }
}
