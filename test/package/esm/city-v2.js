import { defineTransform } from 'godwit/transform';
import { CityV1, CityV2 } from './models.js';

export default defineTransform(CityV1, CityV2, ({ id, lat }) => ({ id, latitude: Number(lat) }));
