import assert from 'node:assert/strict';
import { FoundationDBDataStore, backfill } from 'godwit';
import { CityV1, CityV2 } from './models.js';

const place = { database: 'embedded:./data', subspace: ['check'] };

const before = await FoundationDBDataStore.open({ ...place, dataModelsById: { 1: CityV1 } });
for (const [id, lat] of [
  ['a', '52.5'],
  ['b', '-33.9'],
  ['c', '0'],
]) {
  await before.model(CityV1).add({ id, lat });
}
await before.close();

const after = await FoundationDBDataStore.open({
  ...place,
  dataModelsById: { 1: CityV2 },
  migrationHandler: { City: backfill({ module: new URL('./city-v2.js', import.meta.url) }) },
});
assert.deepEqual(await after.model(CityV2).get('b'), { id: 'b', latitude: -33.9 });
console.log(`moved ${await after.model(CityV2).count()} cities`);
await after.close();
