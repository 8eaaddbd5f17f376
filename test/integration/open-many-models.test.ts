import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/limits.ts';
import type { AnyModel } from '../../src/model/define.ts';
import { defineModel, int32, string } from '../../src/model/index.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import { countTransactions } from '../rig/counting-database.ts';
import { createFaultyDatabase } from '../rig/faulty-database.ts';
import type { TestDatabase } from '../rig/test-database.ts';
import { createTestDatabase } from '../rig/test-database.ts';

const id = string({ number: 1, required: true });
const modelsById = (count: number): Readonly<Record<number, AnyModel>> =>
  Object.fromEntries(
    Array.from({ length: count }, (_, n) => [
      n + 1,
      defineModel({
        name: `Model${n}`,
        version: '1.0',
        key: ['id'],
        properties: { id, size: int32({ number: 2 }) },
        indexes: [{ name: 'bySize', on: ['size'] }],
      }),
    ]),
  );

type Place = Pick<TestDatabase, 'database' | 'subspace'>;

const places: Place[] = [];
afterEach(async () => {
  await Promise.all(places.splice(0).map(({ database }) => database.close()));
});
const createPlace = (): Place => {
  const place = createTestDatabase();
  places.push(place);
  return place;
};

/** Transactions that a store begins until it is open, and those until it is closed again. */
async function transactionsOf({ database, subspace }: Place, models: Readonly<Record<number, AnyModel>>) {
  const counting = countTransactions(database);
  const store = await FoundationDBDataStore.open({
    database: counting,
    subspace,
    dataModelsById: models,
  });
  const untilOpen = counting.transactions;
  const { ready, models: readiness } = store.readiness();
  expect(ready).toBe(true);
  expect(Object.keys(readiness)).toHaveLength(Object.keys(models).length);
  await store.close();
  return { untilOpen, untilClosed: counting.transactions };
}

async function published(models: Readonly<Record<number, AnyModel>>): Promise<Place> {
  const place = createPlace();
  await transactionsOf(place, models);
  return place;
}

describe('opening a store whose models are up to date', () => {
  it('takes as many transactions for 200 models as for one', async () => {
    const found = [];
    for (const count of [1, 20, 200]) {
      const models = modelsById(count);
      found.push(await transactionsOf(await published(models), models));
    }
    const [one] = found;
    expect(found).toEqual([one, one, one]);
    expect(one?.untilOpen).toBeLessThanOrEqual(8);
  });

  it('writes nothing', async () => {
    const models = modelsById(20);
    const { database, subspace } = await published(models);
    const observed = createFaultyDatabase(database);
    await transactionsOf({ database: observed, subspace }, models);
    expect(observed.operations.length).toBeGreaterThan(0);
    expect(observed.operations.filter((kind) => kind === 'commit')).toEqual([]);
  });
});

describe('publishing new models', () => {
  it('takes a transaction for as many as fit into it, and one more for one more', async () => {
    const { value } = limits.store.publishedModels;
    const opening = async (count: number) => {
      return (await transactionsOf(createPlace(), modelsById(count))).untilOpen;
    };
    const one = await opening(1);
    expect(await opening(value)).toBe(one);
    expect(await opening(value + 1)).toBe(one + 1);
  });
});
