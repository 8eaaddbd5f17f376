/** What a worker of the first release runs. */
import { FoundationDBDataStore } from '../../src/index.ts';
import { ProductV1 } from './models-v1.ts';
import { runWorker } from './worker.ts';

await runWorker('1.0', async (options) => {
  const store = await FoundationDBDataStore.open({ ...options, dataModelsById: { 1: ProductV1 } });
  return { store, products: store.model(ProductV1) };
});
