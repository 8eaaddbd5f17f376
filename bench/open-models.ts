import type { AnyModel, KeyValueDatabase } from '../src/index.ts';
import { FoundationDBDataStore, openDatabase } from '../src/index.ts';
import { defineModel, int32, string } from '../src/model/index.ts';

export interface OpenedModels {
  readonly models: number;
  /** That `open` began until it returned. */
  readonly transactions: number;
  /** Of each opening, milliseconds. */
  readonly tookMs: readonly number[];
}

/** Of them the first is what the others are compared with. */
const counts = [1, 100, 1_000];

export function modelsById(count: number): Readonly<Record<number, AnyModel>> {
  const model = (n: number) =>
    defineModel({
      name: `Model${n}`,
      version: '1.0',
      key: ['id'],
      properties: {
        id: string({ number: 1, required: true }),
        name: string({ number: 2, maxSize: 200 }),
        size: int32({ number: 3 }),
      },
      indexes: [{ name: 'bySize', on: ['size'] }],
    });
  return Object.fromEntries(Array.from({ length: count }, (_, n) => [n + 1, model(n)]));
}

/**
 * Opens stores whose models are all up to date, each on a subspace of its own of one opened directory. As many
 * transactions for many models as for one, or it throws: each is a round trip on FoundationDB.
 */
export async function measureOpening(directory: string, rounds: number): Promise<readonly OpenedModels[]> {
  const database = await openDatabase(`embedded:${directory}`);
  let transactions = 0;
  const counting: KeyValueDatabase = {
    ...database,
    createTransaction(options) {
      transactions += 1;
      return database.createTransaction(options);
    },
    transact(body, options) {
      transactions += 1;
      return database.transact(body, options);
    },
  };
  const open = async (count: number) => {
    const dataModelsById = modelsById(count);
    transactions = 0;
    const beganMs = performance.now();
    const store = await FoundationDBDataStore.open({
      database: counting,
      subspace: ['open', count],
      dataModelsById,
    });
    const tookMs = performance.now() - beganMs;
    const begun = transactions;
    const { ready, models } = store.readiness();
    await store.close();
    if (!ready || Object.keys(models).length !== count)
      throw new Error(`not all of ${count} models are ready`);
    return { tookMs, begun };
  };
  for (const count of counts) await open(count);
  const opened = counts.map((models) => ({ models, transactions: 0, tookMs: [] as number[] }));
  for (let round = 0; round < rounds; round += 1) {
    for (const one of round % 2 === 0 ? opened : opened.toReversed()) {
      const { tookMs, begun } = await open(one.models);
      one.tookMs.push(tookMs);
      one.transactions = Math.max(one.transactions, begun);
    }
  }
  await database.close();
  const [first] = opened;
  const differing = opened.find(({ transactions: begun }) => begun !== first?.transactions);
  if (differing !== undefined) {
    const text = opened.map(({ models, transactions: begun }) => `${begun} for ${models}`).join(', ');
    throw new Error(`the number of transactions depends on the number of models: ${text}`);
  }
  return opened;
}
