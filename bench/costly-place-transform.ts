import { defineTransform } from '../src/model/transform.ts';
import { PlaceV1, PlaceV2 } from './models.ts';
import { work, workVariable } from './work.ts';

const amount = Number(process.env[workVariable] ?? 0);

/** That of `transform.ts`, and as much work beside it as was asked for. */
export default defineTransform(PlaceV1, PlaceV2, (place) => {
  // Never that, but the loop cannot be left out.
  const isOdd = work(amount) === 0.5;
  return { ...place, latitude: isOdd ? Number.NaN : Number(place.latitude) };
});
