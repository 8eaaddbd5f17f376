import type { RangeRow } from './ledger.ts';

/**
 * In which order a process looks for ranges that nobody moves: a shuffled one, so that what is done is a sample of the
 * whole, and the time that is left can be told from it. Each process has an order of its own: beginning at different
 * places in the same order they would meet where one has caught up with the other, and from there on reach for the same
 * range with each claim.
 */
export function claimOrder(session: string, ranges: number): readonly number[] {
  const seed = hashOf(0x811c9dc5, session);
  return Array.from({ length: ranges }, (_, number) => ({ number, rank: mixed(seed, number) }))
    .toSorted((one, other) => one.rank - other.rank || one.number - other.number)
    .map(({ number }) => number);
}

/** Ranges whose bytes differ by less than that count as equally large. */
const sameSize = 4;
/** How many times the size of the smallest records the largest ones must have for both to be looked at first. */
const leastContrast = 2;

/**
 * Puts large ranges before small ones, by what was estimated when they were planned: whoever comes to a large one last
 * is waited for. Every second one stays as it comes, so that small ones are met early too. Before all others come that
 * with the largest records and that with the smallest ones, as long as nobody has begun them: what a record takes by
 * itself, and what by its bytes, shows soonest there.
 */
export function largeFirst(
  rows: readonly Pick<RangeRow, 'estimate' | 'effort' | 'claim' | 'done'>[],
  order: readonly number[],
): readonly number[] {
  const known = order.flatMap((number) => {
    const { records, bytes } = rows[number]?.estimate ?? { records: 0, bytes: 0 };
    return records === 0 ? [] : [{ number, bytes, mean: bytes / records }];
  });
  const most = Math.max(1, ...known.map(({ bytes }) => bytes));
  const rankOf = (number: number) =>
    Math.floor(Math.log(most / Math.max(1, rows[number]?.estimate?.bytes ?? most)) / Math.log(sameSize));
  const bySize = known.toSorted((one, other) => other.mean - one.mean);
  const [largest, smallest] = [bySize[0], bySize.at(-1)];
  const isContrast =
    largest !== undefined && smallest !== undefined && largest.mean >= leastContrast * smallest.mean;
  const first = (isContrast ? [largest.number, smallest.number] : []).filter((number) => {
    const row = rows[number];
    return row !== undefined && !row.done && row.claim === null && row.effort === undefined;
  });
  const bySizeFirst = order.toSorted((one, other) => rankOf(one) - rankOf(other));
  return [...new Set([...first, ...order.flatMap((number, at) => [bySizeFirst[at] ?? number, number])])];
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
