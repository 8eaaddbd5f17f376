import { join } from 'node:path';
import { FoundationDBDataStore, backfill } from 'godwit';
import { Injectable } from './container';
import { CityV2 } from './models';

const openStore = () =>
  FoundationDBDataStore.open({
    database: 'embedded:./data',
    subspace: ['check'],
    dataModelsById: { 1: CityV2 },
    migrationHandler: { City: backfill({ module: join(__dirname, 'city-v2.js') }) },
  });

@Injectable()
export class StoreService {
  #store: Awaited<ReturnType<typeof openStore>> | undefined;

  async onModuleInit(): Promise<void> {
    this.#store = await openStore();
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#store?.close();
  }

  get cities() {
    if (this.#store === undefined) throw new Error('The application has not started');
    return this.#store.model(CityV2);
  }
}
