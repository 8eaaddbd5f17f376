/**
 * Inside the engines a key is a string with one character per byte (latin1): such strings compare in the order of
 * the bytes, several times faster than buffers, and serve as keys of a Map.
 */
export type Key = string;

const latin1Slice = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');

export function keyFromBytes(bytes: Uint8Array): Key {
  return bytes instanceof Buffer ? bytes.toString('latin1') : latin1Slice(bytes);
}

export function keyToBytes(key: Key): Buffer {
  return Buffer.from(key, 'latin1');
}

/** The first key after `key`. */
export function keyAfter(key: Key): Key {
  return `${key}\0`;
}

/** The first key that does not belong to users: everything from here on is FoundationDB's own. */
export const endOfKeys: Key = '\xff';

export function compareKeys(left: Key, right: Key): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Index of the first of the sorted `keys` that is not below `key`. */
export function lowerBound(keys: readonly Key[], key: Key): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] as Key) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
