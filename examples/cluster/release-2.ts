/**
 * What a worker of the second release runs. Two releases of a program are two states of one file; here they lie side by
 * side, so that one can be seen to follow the other.
 */
import { FoundationDBDataStore, backfill } from '../../src/index.ts';
import { ProductV2 } from './models-v2.ts';
import { runWorker } from './worker.ts';

await runWorker('2.0', async (options) => {
  const store = await FoundationDBDataStore.open({
    ...options,
    dataModelsById: { 1: ProductV2 },
    migrationHandler: { Product: backfill({ module: new URL('./product-v2.ts', import.meta.url) }) },
  });
  return { store, products: store.model(ProductV2) };
});
