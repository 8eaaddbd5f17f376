/**
 * In which order a process looks for ranges that nobody moves. Each has an order of its own, a shuffled one: beginning at
 * different places in the same order they would meet where one has caught up with the other, and from there on reach for
 * the same range with each claim.
 */
export function claimOrder(session: string, ranges: number): readonly number[] {
  const seed = hashOf(0x811c9dc5, session);
  return Array.from({ length: ranges }, (_, number) => ({ number, rank: mixed(seed, number) }))
    .toSorted((one, other) => one.rank - other.rank || one.number - other.number)
    .map(({ number }) => number);
}

/** FNV-1a. */
function hashOf(seed: number, text: string): number {
  let hash = seed;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash;
}

/** The end of murmur3: neighbours become strangers. */
function mixed(seed: number, number: number): number {
  let hash = seed ^ Math.imul(number + 1, 0x9e3779b1);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
