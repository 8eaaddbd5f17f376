import { defineModel, int32, string } from '../../src/model/index.ts';

export const ProductV2 = defineModel({
  name: 'Product',
  version: '2.0',
  key: ['id'],
  properties: {
    id: int32({ number: 1, required: true, min: 1 }),
    name: string({ number: 2, required: true, maxSize: 100 }),
    stock: int32({ number: 4, required: true, min: 0 }),
    // Was text such as '12.50'.
    cents: int32({ number: 5, required: true, min: 0 }),
  },
  reservedNumbers: [3],
  reservedNames: ['price'],
});
