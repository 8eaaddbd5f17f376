import { defineTransform } from '../src/model/transform.ts';
import { NoteV1, NoteV2, weightOf } from './cluster-models.ts';

/** How much work a record is, in the mean: whoever starts the nodes has measured what takes the time it wants. */
export const workVariable = 'GODWIT_BENCH_WORK';
/** Set where a record costs in proportion to its size. */
export const bySizeVariable = 'GODWIT_BENCH_BY_SIZE';

/** The same work whoever else has the core: a loop that looks at the clock would count what others do. */
export function work(amount: number): number {
  let value = 1;
  for (let n = 0; n < amount; n += 1) value = (Math.imul(value, 1_664_525) + 1_013_904_223) | 0;
  return value;
}

/** How much work takes that many microseconds when nobody else has the core: the quickest of many tries. */
export function measureWork(micros: number): number {
  const probe = 1_000_000;
  const took = Array.from({ length: 50 }, () => {
    const beganMs = performance.now();
    work(probe);
    return performance.now() - beganMs;
  });
  return Math.round((probe * micros) / 1_000 / Math.min(...took));
}

const amount = Number(process.env[workVariable] ?? 0);
let sink = 0;

/** The work of one record, where all cost the same. */
export function spend(): void {
  // The loop cannot be left out.
  sink ^= work(amount);
}

const isBySize = process.env[bySizeVariable] !== undefined;

export default defineTransform(NoteV1, NoteV2, (note) => {
  // Never that, but the loop cannot be left out.
  const isOdd = work(isBySize ? amount * weightOf(note.text) : amount) === 0.5;
  return { ...note, moves: Number(note.moves) + (isOdd ? 2 : 1) };
});
