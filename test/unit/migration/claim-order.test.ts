import { expect, it } from 'vitest';
import { claimOrder } from '../../../src/migration/passes/claim-order.ts';

const sessions = (count: number, round: number) =>
  Array.from({ length: count }, (_, n) => `${round}-${n}`.padStart(32, 'abcdef0123456789'));

/** All reach at once for the first that is free in their order; of those who reach for the same one gets it. */
function claimsThatMet(orders: readonly (readonly number[])[], ranges: number): number {
  const free = new Set(Array.from({ length: ranges }, (_, number) => number));
  let met = 0;
  while (free.size > 0) {
    const reached = orders.flatMap((order) => order.find((number) => free.has(number)) ?? []);
    const distinct = new Set(reached);
    met += reached.length - distinct.size;
    for (const number of distinct) free.delete(number);
  }
  return met;
}

it('names every range once', () => {
  for (const ranges of [0, 1, 2, 64, 256]) {
    const order = claimOrder('5e551017', ranges);
    expect(order.toSorted((one, other) => one - other)).toEqual([...Array(ranges).keys()]);
    expect(claimOrder('5e551017', ranges)).toEqual(order);
  }
});

it('lets processes that claim at the same moment seldom reach for the same range', () => {
  const rounds = 100;
  for (const [count, atMost] of [
    [2, 0.08],
    [4, 0.2],
    [8, 0.4],
  ] as const) {
    let met = 0;
    for (let round = 0; round < rounds; round += 1) {
      const orders = sessions(count, round).map((session) => claimOrder(session, 64));
      met += claimsThatMet(orders, 64);
    }
    expect(met / (rounds * 64)).toBeLessThan(atMost);
  }
});
