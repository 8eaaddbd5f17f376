/**
 * The sum of a 64-bit hash of each of a set of index entries, in whatever order they are met: two sets of distinct
 * entries agree exactly when their counts and sums do, but for a chance of one in 2^64.
 */
export class EntrySum {
  count = 0;
  #low = 0;
  #high = 0;

  add(key: Uint8Array, value: Uint8Array): void {
    // Two lanes of FNV-1a with different starts, each finished by a multiplication that spreads its bits.
    let low = 0x811c9dc5;
    let high = 0x9e3779b9;
    for (const byte of key) {
      low = Math.imul(low ^ byte, 0x01000193);
      high = Math.imul(high ^ byte, 0x85ebca6b);
    }
    low = Math.imul(low ^ key.length, 0x01000193);
    high = Math.imul(high ^ key.length, 0x85ebca6b);
    for (const byte of value) {
      low = Math.imul(low ^ byte, 0x01000193);
      high = Math.imul(high ^ byte, 0x85ebca6b);
    }
    low = Math.imul(low ^ (low >>> 15), 0x2c1b3c6d) >>> 0;
    high = Math.imul(high ^ (high >>> 13), 0xc2b2ae35) >>> 0;
    const sum = this.#low + low;
    this.#low = sum >>> 0;
    this.#high = (this.#high + high + (sum > 0xffff_ffff ? 1 : 0)) >>> 0;
    this.count += 1;
  }

  /** 16 hexadecimal digits. */
  toString(): string {
    return this.#high.toString(16).padStart(8, '0') + this.#low.toString(16).padStart(8, '0');
  }
}

/** The sum of two sums. */
export function addEntrySums(left: string, right: string): string {
  return BigInt.asUintN(64, BigInt(`0x${left}`) + BigInt(`0x${right}`))
    .toString(16)
    .padStart(16, '0');
}
