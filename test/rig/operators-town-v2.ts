import { defineTransform } from '../../src/model/transform.ts';
import { TownV1, TownV2 } from './operators-models.ts';

export default defineTransform(TownV1, TownV2, ({ id, lat }) => ({ id, latitude: Number(lat) }));
