import { defineTransform } from '../../src/model/transform.ts';
import { ProductV1 } from './models-v1.ts';
import { ProductV2 } from './models-v2.ts';

/** Runs in worker threads, chunk by chunk. In a program of yours: from 'godwit/transform'. */
export default defineTransform(ProductV1, ProductV2, ({ price, ...product }) => ({
  ...product,
  cents: Math.round(Number(price) * 100),
}));
