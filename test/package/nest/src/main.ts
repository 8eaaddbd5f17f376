import assert from 'node:assert/strict';
import { FoundationDBDataStore } from 'godwit';
import { CitiesService } from './cities.service';
import { Container } from './container';
import { CityV1 } from './models';

async function seed(): Promise<void> {
  const store = await FoundationDBDataStore.open({
    database: 'embedded:./data',
    subspace: ['check'],
    dataModelsById: { 1: CityV1 },
  });
  await store.model(CityV1).add({ id: 'a', lat: '52.5' });
  await store.model(CityV1).add({ id: 'b', lat: '-33.9' });
  await store.model(CityV1).add({ id: 'c', lat: '0' });
  await store.close();
}

async function bootstrap(): Promise<void> {
  await seed();
  const application = new Container();
  const cities = application.get(CitiesService);
  await application.each('onModuleInit');
  assert.equal(await cities.latitude('b'), -33.9);
  console.log(`moved ${await cities.count()} cities`);
  await application.each('onApplicationShutdown');
}

void bootstrap();
