import { defineModel, int32, int64, string } from '../src/model/index.ts';

const id = int64({ number: 1, required: true });
const text = string({ number: 3, required: true });

/** Counts how often it was moved. */
export const NoteV1 = defineModel({
  name: 'Note',
  version: '1.0',
  key: ['id'],
  properties: { id, moves: string({ number: 2, required: true }), text },
});

export const NoteV2 = defineModel({
  name: 'Note',
  version: '2.0',
  key: ['id'],
  properties: { id, moves: int32({ number: 2, required: true }), text },
});

export const noteModelId = 1;

/**
 * How large records are: all about 200 bytes, or the last tenth of them 100 times as large as the others, so that nine
 * tenths of the bytes lie at the end of the key space. `heavy` ones are skewed, and cost in proportion to their size.
 */
export type Sizes = 'uniform' | 'skewed' | 'heavy';

/** Characters of text. */
const small = { uniform: 170, skewed: 70, heavy: 70 } as const;
const meanHeavy = small.heavy * (0.9 + 0.1 * 100);
/** How many times the mean a heavy record costs. */
export const weightOf = ({ length }: string): number => length / meanHeavy;

const words = 'The bar-tailed godwit flies eleven days without a stop. '.repeat(200);

export function createNote(n: number, records: number, sizes: Sizes) {
  const isLarge = sizes !== 'uniform' && n >= records * 0.9;
  return { id: BigInt(n), moves: '0', text: words.slice(0, isLarge ? 100 * small[sizes] : small[sizes]) };
}
