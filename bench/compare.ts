/** What two ways of doing the same took, side by side in one process. */

export interface Comparison {
  readonly name: string;
  /** How often each round did it. */
  readonly operations: number;
  /** Milliseconds of each round. */
  readonly rounds: readonly { readonly ours: number; readonly bare: number }[];
}

export interface Sides {
  readonly name: string;
  readonly operations: number;
  /** What Godwit takes, and what it is measured against. Both do all operations of a round and check what comes out. */
  ours(round: number): Promise<void> | void;
  bare(round: number): Promise<void> | void;
}

/** The first rounds are thrown away: code is compiled in them, and caches are filled. */
const warmUpRounds = 3;

/** Whoever goes first finds the colder machine: they take turns. */
export async function compare(sides: Sides, rounds: number): Promise<Comparison> {
  const measured: { ours: number; bare: number }[] = [];
  for (let round = 0; round < rounds + warmUpRounds; round += 1) {
    const took = { ours: 0, bare: 0 };
    const order = round % 2 === 0 ? (['ours', 'bare'] as const) : (['bare', 'ours'] as const);
    for (const side of order) {
      const beganMs = performance.now();
      await sides[side](round);
      took[side] = performance.now() - beganMs;
    }
    if (round >= warmUpRounds) measured.push(took);
  }
  return { name: sides.name, operations: sides.operations, rounds: measured };
}

const sorted = (values: readonly number[]) => values.toSorted((left, right) => left - right);

export function median(values: readonly number[]): number {
  const ordered = sorted(values);
  const middle = Math.floor(ordered.length / 2);
  const upper = ordered[middle] ?? Number.NaN;
  return ordered.length % 2 === 1 ? upper : (upper + (ordered[middle - 1] ?? Number.NaN)) / 2;
}

/** The median, with the lowest and the highest: `0.81 (0.78 to 0.85)`. */
export function spread(values: readonly number[]): string {
  const ordered = sorted(values);
  const [lowest = Number.NaN, highest = Number.NaN] = [ordered[0], ordered.at(-1)];
  return `${median(values).toFixed(2)} (${lowest.toFixed(2)} to ${highest.toFixed(2)})`;
}
