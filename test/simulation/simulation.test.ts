import { describe, expect, it } from 'vitest';
import { drawSeed } from '../rig/seed.ts';
import { simulate } from './simulate.ts';

/** Of the fixed ones and of the fresh ones. */
const histories = 50;

async function failuresOf(seeds: readonly number[]): Promise<string[]> {
  const failures: string[] = [];
  for (const seed of seeds) {
    const { failure } = await simulate(seed);
    if (failure !== undefined) failures.push(`npm run simulate -- --seed ${seed}\n${failure}`);
  }
  return failures;
}

const from = (first: number) => Array.from({ length: histories }, (_, at) => first + at);

describe('a whole cluster, simulated from one seed', { timeout: 120_000 }, () => {
  it('keeps every rule in histories that are always the same', async () => {
    expect(await failuresOf(from(1))).toEqual([]);
  });

  it('keeps every rule in histories that nobody has seen', async () => {
    const first = drawSeed('simulated clusters');
    expect(await failuresOf(from(first))).toEqual([]);
  });

  it('has the same history for the same seed, watched or not', async () => {
    const [first] = from(drawSeed('a history told twice'));
    const once = await simulate(first ?? 0);
    const again = await simulate(first ?? 0, { isTraced: true });
    expect(again.digest).toBe(once.digest);
    expect(again.operations).toBeGreaterThan(0);
    expect(again.trace.length).toBeGreaterThan(5);
  });

  it('has other histories for other seeds', async () => {
    const digests = await Promise.all(
      [simulate(1), simulate(2), simulate(3)].map(async (one) => (await one).digest),
    );
    expect(new Set(digests).size).toBe(3);
  });
});
