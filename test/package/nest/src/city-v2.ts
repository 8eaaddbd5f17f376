import { defineTransform } from 'godwit/transform';
import { CityV1, CityV2 } from './models';

// Compiled to `exports.default = ...`: the loader has to look through CommonJS's default.
export default defineTransform(CityV1, CityV2, ({ id, lat }) => ({ id, latitude: Number(lat) }));
