import type { KeyValue } from '../kv.ts';
import { keyFromBytes, keyToBytes, type Key } from '../engine/keys.ts';

/**
 * Keys longer than LMDB takes. A key of `bucketBytes` or more lies in a bucket under its first `bucketBytes` bytes, all of
 * those that begin alike in one value, sorted. Between two of them no other key sorts, and a bucket's key is longer than
 * any that lies under itself: so the order of the table stays the order of the keys. A bucket is written whole; long keys
 * are rare, and those that share 1,900 bytes rarer.
 */
export const bucketBytes = 1_900;

/** A pair in a bucket: the rest of its key, and its value. */
export interface BucketPair {
  readonly rest: Key;
  readonly value: Buffer;
}

export function isLong(key: Key): boolean {
  return key.length >= bucketBytes;
}

export function isBucketKey(physicalKey: Buffer | Key): boolean {
  return physicalKey.length === bucketBytes;
}

/** The key of the bucket that a long key lies in. */
export function bucketKeyOf(key: Key): Key {
  return key.slice(0, bucketBytes);
}

export function restOf(key: Key): Key {
  return key.slice(bucketBytes);
}

/** The part of a table in which the pairs of [begin, end) lie; a bucket at either end may hold others too. */
export function physicalRange(begin: Key, end: Key): { readonly begin: Key; readonly end: Key } {
  return {
    begin: isLong(begin) ? bucketKeyOf(begin) : begin,
    end: isLong(end) ? `${bucketKeyOf(end)}\0` : end,
  };
}

/** Bytes in front of each pair: the lengths of rest and value. */
const pairHeaderBytes = 6;

export function decodeBucket(bytes: Buffer): BucketPair[] {
  const pairs: BucketPair[] = [];
  for (let at = 0; at < bytes.length;) {
    const restEnd = at + pairHeaderBytes + bytes.readUInt16BE(at);
    const end = restEnd + bytes.readUInt32BE(at + 2);
    pairs.push({
      rest: bytes.toString('latin1', at + pairHeaderBytes, restEnd),
      value: bytes.subarray(restEnd, end),
    });
    at = end;
  }
  return pairs;
}

export function encodeBucket(pairs: readonly BucketPair[]): Buffer {
  let size = 0;
  for (const { rest, value } of pairs) size += pairHeaderBytes + rest.length + value.length;
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const { rest, value } of pairs) {
    at = bytes.writeUInt16BE(rest.length, at);
    at = bytes.writeUInt32BE(value.length, at);
    at += bytes.write(rest, at, 'latin1');
    at += value.copy(bytes, at);
  }
  return bytes;
}

/** The pairs of a bucket that lie in [begin, end), in order, under their whole keys. */
export function pairsInRange(
  bucketKey: Buffer,
  bucket: Buffer,
  begin: Key,
  end: Key,
): { readonly key: Key; readonly pair: KeyValue }[] {
  const prefix = keyFromBytes(bucketKey);
  return decodeBucket(bucket).flatMap(({ rest, value }) => {
    const key = prefix + rest;
    // A copy: a part of the bucket would keep all of it in memory.
    return key >= begin && key < end
      ? [{ key, pair: { key: keyToBytes(key), value: Buffer.from(value) } }]
      : [];
  });
}

/** The bucket with one pair set, or removed where `value` is undefined. */
export function withPair(pairs: readonly BucketPair[], rest: Key, value: Buffer | undefined): BucketPair[] {
  const others = pairs.filter((pair) => pair.rest !== rest);
  if (value === undefined) return others;
  const at = others.findIndex((pair) => pair.rest > rest);
  return others.toSpliced(at === -1 ? others.length : at, 0, { rest, value });
}
