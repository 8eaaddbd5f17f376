import assert from 'node:assert/strict';
import { FoundationDBDataStore, backfill } from 'godwit';
import { natsBus } from 'godwit/nats';
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

// Nobody listens there: nothing but speed depends on the bus.
const bus = natsBus({ servers: '127.0.0.1:1' });
const after = await FoundationDBDataStore.open({
  ...place,
  dataModelsById: { 1: CityV2 },
  bus,
  migrationHandler: { City: backfill({ module: new URL('./city-v2.js', import.meta.url) }) },
});
assert.deepEqual(await after.model(CityV2).get('b'), { id: 'b', latitude: -33.9 });
console.log(`moved ${await after.model(CityV2).count()} cities`);
await after.close();
assert.ok(bus.counts.dropped > 0);
await bus.close();
assert.equal(bus.state.type, 'closed');
