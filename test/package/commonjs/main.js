const assert = require('node:assert/strict');
const { FoundationDBDataStore, backfill } = require('godwit');
const { CityV1, CityV2 } = require('./models.js');

const place = { database: 'embedded:./data', subspace: ['check'] };

async function main() {
  const before = await FoundationDBDataStore.open({ ...place, dataModelsById: { 1: CityV1 } });
  await before.model(CityV1).add({ id: 'a', lat: '52.5' });
  await before.model(CityV1).add({ id: 'b', lat: '-33.9' });
  await before.model(CityV1).add({ id: 'c', lat: '0' });
  await before.close();

  const after = await FoundationDBDataStore.open({
    ...place,
    dataModelsById: { 1: CityV2 },
    migrationHandler: { City: backfill({ module: require.resolve('./city-v2.js') }) },
  });
  assert.deepEqual(await after.model(CityV2).get('b'), { id: 'b', latitude: -33.9 });
  console.log(`moved ${await after.model(CityV2).count()} cities`);
  await after.close();
}

main();
