import { defineTransform } from '../../src/model/transform.ts';
import { CityV1 } from './models-v1.ts';
import { CityV2 } from './models-v2.ts';

/** Runs in worker threads, chunk by chunk. In a program of yours: from 'godwit/transform'. */
export default defineTransform(CityV1, CityV2, (city) => ({
  ...city,
  latitude: Number(city.lat),
  longitude: Number(city.lng),
  searchName: withoutAccents(city.name).toLowerCase(),
}));

function withoutAccents(text: string): string {
  return text.normalize('NFD').replaceAll(/\p{M}/gu, '');
}
