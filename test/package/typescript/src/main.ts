import assert from 'node:assert/strict';
import { FoundationDBDataStore, MigrationException, backfill } from 'godwit';
import type { RecordOf } from 'godwit';
import { CityV1, CityV2, Country } from './models.js';

const place = { database: 'embedded:./data', subspace: ['check'] };

const before = await FoundationDBDataStore.open({ ...place, dataModelsById: { 1: Country, 2: CityV1 } });
await before.model(Country).add({ code: 'DE' });
await before.model(CityV1).add({ id: 'a', lat: '52.5', country: 'DE' });
await before.model(CityV1).add({ id: 'b', lat: '-33.9', country: 'DE' });
await before.model(CityV1).add({ id: 'c', lat: '0', country: 'DE' });
// @ts-expect-error A latitude of version 1 is text.
await assert.rejects(before.model(CityV1).add({ id: 'd', lat: 1, country: 'DE' }));
await before.close();

await assert.rejects(
  FoundationDBDataStore.open({ ...place, dataModelsById: { 1: Country, 2: CityV2 } }),
  (error: unknown) => error instanceof MigrationException && error.code === 'MIGRATION_HANDLER_MISSING',
);

const after = await FoundationDBDataStore.open({
  ...place,
  dataModelsById: { 1: Country, 2: CityV2 },
  migrationHandler: { City: backfill({ module: new URL('./city-v2.js', import.meta.url) }) },
});
const city: RecordOf<typeof CityV2> | undefined = await after.model(CityV2).get('b');
const latitude: number | undefined = city?.latitude;
assert.equal(latitude, -33.9);
console.log(`moved ${await after.model(CityV2).count()} cities`);
await after.close();
