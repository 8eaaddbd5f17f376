import { KeyValueError, KeyValueErrorCode, type KeyValue } from '../kv.ts';
import { isStampedValue, resolveMutation, type WriteBuffer } from './write-buffer.ts';
import { compareKeys, keyFromBytes, keyToBytes, lowerBound, type Key } from './keys.ts';
import type { Scan, Snapshot } from './storage.ts';

export interface RangePage {
  readonly pairs: KeyValue[];
  /** Whether the range was read to its end. */
  readonly isComplete: boolean;
}

export interface PageLimits {
  readonly maxPairs: number;
  /** Stop after the pair that reaches it. */
  readonly maxBytes: number;
  readonly reverse: boolean;
}

const noVersionstamp = Buffer.alloc(0);

/** Reads [begin, end) of a snapshot under a transaction's own writes. */
export function readRangePage(
  snapshot: Snapshot,
  writes: WriteBuffer,
  begin: Key,
  end: Key,
  limits: PageLimits,
): RangePage {
  if (limits.maxPairs <= 0 || begin >= end) return { pairs: [], isComplete: true };
  if (writes.isUnreadable(begin, end)) throw new KeyValueError(KeyValueErrorCode.accessedUnreadable);
  const stored = snapshot.scan(begin, end, limits.reverse);
  const scan = writes.touches(begin, end)
    ? new MergedScan(stored, writes, begin, end, limits.reverse)
    : stored;
  try {
    return collect(scan, limits);
  } finally {
    scan.close();
  }
}

function collect(scan: Scan, { maxPairs, maxBytes }: PageLimits): RangePage {
  const pairs: KeyValue[] = [];
  let bytes = 0;
  for (;;) {
    const pair = scan.next();
    if (pair === undefined) return { pairs, isComplete: true };
    pairs.push(pair);
    bytes += pair.key.length + pair.value.length;
    if (pairs.length >= maxPairs || bytes >= maxBytes) return { pairs, isComplete: false };
  }
}

/** A walk over stored pairs and own writes side by side. */
class MergedScan implements Scan {
  readonly #stored: Scan;
  readonly #writes: WriteBuffer;
  readonly #ownKeys: readonly Key[];
  readonly #step: 1 | -1;
  readonly #stop: number;
  #own: number;
  #pair: KeyValue | undefined;
  #pairKey: Key = '';

  constructor(stored: Scan, writes: WriteBuffer, begin: Key, end: Key, reverse: boolean) {
    this.#stored = stored;
    this.#writes = writes;
    this.#ownKeys = writes.sortedKeys();
    const from = lowerBound(this.#ownKeys, begin);
    const to = lowerBound(this.#ownKeys, end);
    this.#step = reverse ? -1 : 1;
    this.#own = reverse ? to - 1 : from;
    this.#stop = reverse ? from - 1 : to;
    this.#advanceStored();
  }

  next(): KeyValue | undefined {
    for (;;) {
      const ownKey = this.#own === this.#stop ? undefined : this.#ownKeys[this.#own];
      const stored = this.#pair;
      if (ownKey === undefined && stored === undefined) return undefined;
      const order =
        ownKey === undefined
          ? 1
          : stored === undefined
            ? -1
            : compareKeys(ownKey, this.#pairKey) * this.#step;
      if (order > 0) {
        const key = this.#pairKey;
        this.#advanceStored();
        // Without a mutation of its own only a cleared range can hide it.
        if (this.#writes.lookUp(key) === undefined) return stored;
        continue;
      }
      if (order === 0) this.#advanceStored();
      this.#own += this.#step;
      const value = this.#resolve(ownKey as Key, order === 0 ? stored?.value : undefined);
      if (value !== undefined) return { key: keyToBytes(ownKey as Key), value: Buffer.from(value) };
    }
  }

  close(): void {
    this.#stored.close();
  }

  #resolve(key: Key, current: Buffer | undefined): Buffer | undefined {
    const mutation = this.#writes.lookUp(key);
    if (mutation === undefined) return current;
    if (isStampedValue(mutation)) throw new KeyValueError(KeyValueErrorCode.accessedUnreadable);
    return resolveMutation(mutation, () => current, noVersionstamp);
  }

  #advanceStored(): void {
    this.#pair = this.#stored.next();
    if (this.#pair !== undefined) this.#pairKey = keyFromBytes(this.#pair.key);
  }
}
