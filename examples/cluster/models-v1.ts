import { defineModel, int32, string } from '../../src/model/index.ts';

/** As the first release of the shop had it. In a program of yours: from 'godwit/model'. */
export const ProductV1 = defineModel({
  name: 'Product',
  version: '1.0',
  key: ['id'],
  properties: {
    id: int32({ number: 1, required: true, min: 1 }),
    name: string({ number: 2, required: true, maxSize: 100 }),
    price: string({ number: 3, required: true }),
    stock: int32({ number: 4, required: true, min: 0 }),
  },
});
