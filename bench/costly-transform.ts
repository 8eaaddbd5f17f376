import { defineTransform } from '../src/model/transform.ts';
import { NoteV1, NoteV2, weightOf } from './cluster-models.ts';
import { work, workVariable } from './work.ts';

/** Set where a record costs in proportion to its size. */
export const bySizeVariable = 'GODWIT_BENCH_BY_SIZE';

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
