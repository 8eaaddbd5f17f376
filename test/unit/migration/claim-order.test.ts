import { expect, it } from 'vitest';
import { claimOrder, largeFirst } from '../../../src/migration/passes/claim-order.ts';
import { addEffort } from '../../../src/migration/passes/effort.ts';

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

const planned = (records: number, bytes: number) => ({
  estimate: { records, bytes },
  claim: null,
  done: false,
});

it('leaves ranges of about one size as they come', () => {
  const rows = [100, 110, 90, 120].map((bytes) => planned(10, bytes * 100));
  expect(largeFirst(rows, [2, 0, 3, 1])).toEqual([2, 0, 3, 1]);
});

it('looks at the largest and the smallest records first, then at every second place for a large range', () => {
  const rows = [1, 1, 1, 1, 1, 100, 100].map((size, at) => planned(100, size * 100 + at));
  // 6 has the largest records, 0 the smallest.
  expect(largeFirst(rows, [1, 2, 3, 5, 0, 4, 6])).toEqual([6, 0, 5, 1, 2, 3, 4]);
});

it('looks at them first only as long as nobody has begun them', () => {
  const effort = addEffort(undefined, {
    records: 1,
    bytes: 1,
    ownMs: 1,
    sharedMs: 1,
    leastMs: 0,
    atMs: 0,
  });
  const [small, large] = [planned(100, 10_000), planned(10, 10_000)];
  expect(largeFirst([small, small, large], [0, 1, 2])[0]).toBe(2);
  expect(largeFirst([small, small, { ...large, effort }], [0, 1, 2])[0]).toBe(1);
  expect(largeFirst([small, small, { ...large, claim: { session: 'a', claimSeq: 1 } }], [0, 1, 2])[0]).toBe(
    1,
  );
});

it('names every range once, whatever was estimated', () => {
  const rows = Array.from({ length: 64 }, (_, n) => planned(1 + (n % 7), (n % 5) ** 5 * 10));
  const order = largeFirst([...rows, { claim: null, done: false }], claimOrder('5e551017', 65));
  expect(order.toSorted((one, other) => one - other)).toEqual([...Array(65).keys()]);
});
