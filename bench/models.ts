import { defineModel, float64, int64, string } from '../src/model/index.ts';

const id = int64({ number: 1, required: true });
const name = string({ number: 2, required: true });
const text = string({ number: 4, required: true });

/** About 200 bytes of key and value, where it is not said otherwise. */
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

/** `small` records have about 200 bytes; `mixed` ones 100 bytes to 50 kB, small ones more often than large ones. */
export type PlaceSizes = 'small' | 'mixed';

/** Key and value without the text. */
const bytesBesidesText = 60;
const mixedBytes = { least: 100, most: 50_000 } as const;
/** Of the sizes: all sides and all machines draw the same. */
const sizeSeed = 0x9e37_79b9;

/** Where place `n` lies: spread, so that neighbours in the records are none in the index. */
export function latitudeOf(n: number): number {
  return ((n * 7_919) % 180_000) / 1_000 - 90;
}

/** 0 to 1, the same for the same number. */
function drawn(n: number): number {
  let bits = (n ^ sizeSeed) >>> 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85eb_ca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2_ae35);
  return ((bits ^ (bits >>> 16)) >>> 0) / 2 ** 32;
}

function textLength(n: number, sizes: PlaceSizes): number {
  if (sizes === 'small') return 141;
  // As many between 100 and 200 bytes as between 10 and 20 kB.
  const bytes = mixedBytes.least * (mixedBytes.most / mixedBytes.least) ** drawn(n);
  return Math.round(bytes) - bytesBesidesText;
}

export function createPlace(n: number, sizes: PlaceSizes = 'small') {
  return {
    id: BigInt(n),
    name: `Place number ${n}`,
    latitude: String(latitudeOf(n)),
    text: `${n} `.padEnd(textLength(n, sizes), 'The bar-tailed godwit flies eleven days without a stop. '),
  };
}
