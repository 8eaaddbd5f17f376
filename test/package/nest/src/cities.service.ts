import { Injectable } from './container';
import { StoreService } from './store.service';

@Injectable()
export class CitiesService {
  constructor(private readonly store: StoreService) {}

  async latitude(id: string): Promise<number | undefined> {
    return (await this.store.cities.get(id))?.latitude;
  }

  count(): Promise<number> {
    return this.store.cities.count();
  }
}
