import { defineTransform } from '../src/model/transform.ts';
import { spend } from './costly-transform.ts';
import { PlaceV1, PlaceV2 } from './models.ts';

/** What bench/transform.ts does, at the cost that whoever starts the process has measured. */
export default defineTransform(PlaceV1, PlaceV2, (place) => {
  spend();
  return { ...place, latitude: Number(place.latitude) };
});
