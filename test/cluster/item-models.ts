import { int32, string } from '../../src/model/index.ts';
import { defineModel } from '../../src/model/define.ts';

/** What the processes of the migration tests move: each transform of an item appends one mark. */
export const ItemV1 = defineModel({
  name: 'Item',
  version: '1.0',
  key: ['id'],
  properties: {
    id: string({ number: 1, required: true }),
    mark: string({ number: 2, required: true }),
    rank: string({ number: 3, required: true }),
    text: string({ number: 4, required: true }),
  },
  indexes: [{ name: 'byMark', on: ['mark'] }],
});

/** `byMark` is kept, and each of its entries changes; `byRank` is added. */
export const ItemV2 = defineModel({
  name: 'Item',
  version: '2.0',
  key: ['id'],
  properties: {
    id: string({ number: 1, required: true }),
    mark: string({ number: 2, required: true }),
    rank: int32({ number: 3, required: true }),
    text: string({ number: 4, required: true }),
  },
  indexes: [
    { name: 'byMark', on: ['mark'] },
    { name: 'byRank', on: [{ property: 'rank', reversed: true }, 'mark'] },
  ],
});
