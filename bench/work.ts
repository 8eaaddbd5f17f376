/** How much work a record is, in the mean: whoever starts the processes has measured what takes the time it wants. */
export const workVariable = 'GODWIT_BENCH_WORK';

/** The same work whoever else has the core: a loop that looks at the clock would count what others do. */
export function work(amount: number): number {
  let value = 1;
  for (let n = 0; n < amount; n += 1) value = (Math.imul(value, 1_664_525) + 1_013_904_223) | 0;
  return value;
}

/** How much work takes that many microseconds when nobody else has the core: the quickest of many tries. */
export function measureWork(micros: number): number {
  const amount = 1_000_000;
  const took = Array.from({ length: 50 }, () => {
    const beganMs = performance.now();
    work(amount);
    return performance.now() - beganMs;
  });
  return Math.round((amount * micros) / 1_000 / Math.min(...took));
}
