import { FoundationDBDataStore } from '../../src/index.ts';
import { ProductV1 } from './models-v1.ts';
import { subspace } from './settings.ts';

/** Records of one transaction. */
const batchSize = 1_000;

/** Fills a database with products of version 1, with the ids from 1. */
export async function fillVersion1(database: string, records: number): Promise<void> {
  const store = await FoundationDBDataStore.open({ database, subspace, dataModelsById: { 1: ProductV1 } });
  try {
    for (let filled = 0; filled < records; filled += batchSize) {
      await store.transact(async (tx) => {
        const products = tx.model(ProductV1);
        const ids = Array.from({ length: Math.min(batchSize, records - filled) }, (_, at) => filled + at + 1);
        await Promise.all(
          ids.map((id) =>
            products.put({ id, name: `Product ${id}`, price: `${id % 100}.50`, stock: id % 10 }),
          ),
        );
      });
    }
  } finally {
    await store.close();
  }
}
