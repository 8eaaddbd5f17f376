import { defineModel, float64, int64, string } from '../src/model/index.ts';

const id = int64({ number: 1, required: true });
const name = string({ number: 2, required: true });
const text = string({ number: 4, required: true });

/** About 200 bytes of key and value. */
export const PlaceV1 = defineModel({
  name: 'Place',
  version: '1.0',
  key: ['id'],
  properties: { id, name, latitude: string({ number: 3, required: true }), text },
});

/** The latitude becomes a number, and an index by it is added. */
export const PlaceV2 = defineModel({
  name: 'Place',
  version: '2.0',
  key: ['id'],
  properties: { id, name, latitude: float64({ number: 3, required: true, min: -90, max: 90 }), text },
  indexes: [{ name: 'byLatitude', on: ['latitude'] }],
});

export const placeModelId = 1;
export const benchSubspace = ['bench'];

/** Where place `n` lies: spread, so that neighbours in the records are none in the index. */
export function latitudeOf(n: number): number {
  return ((n * 7_919) % 180_000) / 1_000 - 90;
}

export function createPlace(n: number) {
  return {
    id: BigInt(n),
    name: `Place number ${n}`,
    latitude: String(latitudeOf(n)),
    text: `${n} `.padEnd(141, 'The bar-tailed godwit flies eleven days without a stop. '),
  };
}
