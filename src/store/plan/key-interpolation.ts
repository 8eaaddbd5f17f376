/**
 * Keys between two others, by chance. Keys are read as numbers whose digits are the bytes that occur in real keys: drawn
 * among all 256 bytes, most would fall into gaps, as between `19` and `20`, and lead to the same few records.
 */

/** The bytes that occur in some keys behind their common beginning, ascending. */
export function alphabetOf(keys: readonly Uint8Array[]): readonly number[] {
  const start = commonLength(keys, (key, at) => key[at]);
  const tail = commonLength(keys, (key, at) =>
    key.length - at > start ? key[key.length - 1 - at] : undefined,
  );
  const bytes = new Set<number>();
  for (const key of keys) for (const byte of key.subarray(start, key.length - tail)) bytes.add(byte);
  return [...bytes].toSorted((one, other) => one - other);
}

function commonLength(
  keys: readonly Uint8Array[],
  byteAt: (key: Uint8Array, at: number) => number | undefined,
): number {
  const [first] = keys;
  if (first === undefined) return 0;
  let length = 0;
  while (length < first.length) {
    const byte = byteAt(first, length);
    if (byte === undefined || keys.some((key) => byteAt(key, length) !== byte)) break;
    length += 1;
  }
  return length;
}

/** Digits behind the common beginning of two keys: finer than that, records do not lie. */
const digits = 16;

/** @param fraction 0 to below 1: how far from `first` to `last`, which is included */
export function keyBetween(
  first: Buffer,
  last: Buffer,
  alphabet: readonly number[],
  fraction: number,
): Buffer {
  const start = commonLength([first, last], (key, at) => key[at]);
  if (alphabet.length === 0 || first.compare(last) >= 0) return first;
  const base = BigInt(alphabet.length);
  const from = toNumber(first.subarray(start), alphabet, base);
  const to = toNumber(last.subarray(start), alphabet, base);
  // 53 bits of chance, for a span of any size.
  const drawn = from + ((to - from + 1n) * BigInt(Math.floor(fraction * 2 ** 53))) / 2n ** 53n;
  const bytes = Buffer.alloc(digits);
  let left = drawn;
  for (let at = digits - 1; at >= 0; at -= 1) {
    bytes[at] = alphabet[Number(left % base)] ?? 0;
    left /= base;
  }
  const key = Buffer.concat([first.subarray(0, start), bytes]);
  return key.compare(first) < 0 ? first : key.compare(last) > 0 ? last : key;
}

function toNumber(key: Uint8Array, alphabet: readonly number[], base: bigint): bigint {
  let number = 0n;
  for (let at = 0; at < digits; at += 1) {
    const byte = key[at];
    const rank =
      byte === undefined
        ? 0
        : Math.max(
            0,
            alphabet.findLastIndex((symbol) => symbol <= byte),
          );
    number = number * base + BigInt(rank);
  }
  return number;
}
