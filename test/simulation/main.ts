import { simulate } from './simulate.ts';

const first = Number(process.argv[2] ?? 1);
const count = Number(process.argv[3] ?? 1);
const started = performance.now();
let operations = 0,
  faults = 0,
  failures = 0;
for (let seed = first; seed < first + count; seed += 1) {
  const result = await simulate(seed, { isTraced: count === 1 });
  operations += result.operations;
  faults += result.faults;
  if (count === 1) console.log(result.trace.join('\n'));
  if (result.failure !== undefined) {
    failures += 1;
    console.log(seed, result.failure.slice(0, 600));
  }
}
const seconds = (performance.now() - started) / 1000;
console.log({
  count,
  seconds,
  perSecond: count / seconds,
  operations: operations / count,
  faults: faults / count,
  failures,
});
