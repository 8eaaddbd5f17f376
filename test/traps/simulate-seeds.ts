/** Simulates the histories of seeds 1 to N, and says in one line of JSON which was the first to go wrong. */
import { simulate } from '../simulation/simulate.ts';

const last = Number(process.argv[2]);
let wrong: { readonly seed: number; readonly failure: string } | undefined;
for (let seed = 1; seed <= last && wrong === undefined; seed += 1) {
  const { failure } = await simulate(seed);
  if (failure !== undefined) wrong = { seed, failure };
}
process.stdout.write(`${JSON.stringify({ wrong })}\n`);
process.exit(0);
