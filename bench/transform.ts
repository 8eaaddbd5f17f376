import { defineTransform } from '../src/model/transform.ts';
import { PlaceV1, PlaceV2 } from './models.ts';

/** Costs next to nothing, so that what is measured is the moving. */
export default defineTransform(PlaceV1, PlaceV2, (place) => ({ ...place, latitude: Number(place.latitude) }));
