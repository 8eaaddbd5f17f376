import { expect, it } from 'vitest';
import { createBindingLoop } from '../../../bench/binding-loop.ts';
import { runLoop, target } from '../../../bench/loop.ts';
import { benchSubspace, createPlace, placeModelId, PlaceV1 } from '../../../bench/models.ts';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import { createStoreKeys } from '../../../src/records/keys.ts';
import { FoundationDBDataStore } from '../../../src/store/store.ts';
import { dump } from '../../rig/recompute-index.ts';

const records = 2_500;

/** A database with the records that a loop moves. */
async function fill() {
  const database = openMemoryDatabase();
  const store = await FoundationDBDataStore.open({
    database,
    subspace: benchSubspace,
    dataModelsById: { [placeModelId]: PlaceV1 },
  });
  await store.transact(async (tx) => {
    for (let n = 0; n < records; n += 1) await tx.model(PlaceV1).add(createPlace(n));
  });
  await store.close();
  return database;
}

it('the loop with the package writes what the loop on the port writes', async () => {
  const counted = { port: 0, binding: 0 };
  const [port, bound] = [await fill(), await fill()];
  await runLoop(port, { spend: () => undefined, moved: (more) => (counted.port += more) });
  const binding = createBindingLoop({
    doTransaction: (body) =>
      bound.transact((tx) =>
        body({
          snapshot: () => ({
            async getRangeAll(begin, end, options) {
              const rows = await tx.getRangeAll(begin, end, { ...options, snapshot: true });
              return rows.map(({ key, value }) => [key, value] as const);
            },
          }),
          set: (key, value) => tx.set(key, value),
        }),
      ),
  });
  await runLoop(binding, { spend: () => undefined, moved: (more) => (counted.binding += more) });
  expect(counted).toEqual({ port: records, binding: records });
  const keys = createStoreKeys(benchSubspace).model(placeModelId);
  const rowsOf = async (database: typeof port) => [
    ...(await dump(database, keys.records(target.keySpace))),
    ...(await dump(database, keys.index(target.indexId))),
  ];
  const rows = await Promise.all([port, bound].map(rowsOf));
  expect(rows[0]).toHaveLength(2 * records);
  expect(rows[1]).toEqual(rows[0]);
});
