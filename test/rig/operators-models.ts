import { defineModel, float64, reference, string } from '../../src/model/index.ts';

const id = string({ number: 1, required: true });

/** Three versions of one model: the second needs its records moved, the third again. */
export const TownV1 = defineModel({
  name: 'Town',
  version: '1.0',
  key: ['id'],
  properties: { id, lat: string({ number: 2, required: true }) },
  indexes: [{ name: 'byLat', on: ['lat'] }],
});

const townV2Properties = {
  id,
  latitude: float64({ number: 2, required: true, min: -90, max: 90, alternativeNames: ['lat'] }),
};

export const TownV2 = defineModel({
  name: 'Town',
  version: '2.0',
  key: ['id'],
  properties: townV2Properties,
  indexes: [{ name: 'byLatitude', on: ['latitude'] }],
});

export const TownV3 = defineModel({
  name: 'Town',
  version: '3.0',
  key: ['id'],
  properties: { ...townV2Properties, hemisphere: string({ number: 3, required: true }) },
  indexes: [
    { name: 'byLatitude', on: ['latitude'] },
    { name: 'byHemisphere', on: ['hemisphere', 'latitude'] },
  ],
});

/** A model that `Town` refers to: it migrates first. */
export const RegionV1 = defineModel({
  name: 'Region',
  version: '1.0',
  key: ['id'],
  properties: { id, size: string({ number: 2, required: true }) },
});

export const RegionV2 = defineModel({
  name: 'Region',
  version: '2.0',
  key: ['id'],
  properties: { id, size: float64({ number: 2, required: true }) },
});

export const TownInRegionV1 = defineModel({
  name: 'Town',
  version: '1.0',
  key: ['id'],
  properties: {
    id,
    lat: string({ number: 2, required: true }),
    region: reference({ number: 3, to: 'Region' }),
  },
});

export const TownInRegionV2 = defineModel({
  name: 'Town',
  version: '2.0',
  key: ['id'],
  properties: { ...townV2Properties, region: reference({ number: 3, to: 'Region' }) },
});

/** From 1.0 to 2.0. */
export const toV2 = ({ id: town, lat }: Readonly<Record<string, unknown>>) => ({
  id: town,
  latitude: Number(lat),
});

/** From 1.0 or 2.0 to 3.0. */
export const toV3 = (
  { id: town, lat, latitude }: Readonly<Record<string, unknown>>,
  { from }: { readonly from: { readonly version: string } },
) => {
  const degrees = from.version === '1.0' ? Number(lat) : Number(latitude);
  return { id: town, latitude: degrees, hemisphere: degrees < 0 ? 'south' : 'north' };
};

export const regionToV2 = ({ id: region, size }: Readonly<Record<string, unknown>>) => ({
  id: region,
  size: Number(size),
});

/** Both latitudes of town `n`: as text in 1.0, as a number from 2.0 on. */
export const latitudeOf = (n: number) => ((n * 7) % 180) - 90;
export const townId = (n: number) => `t${String(n).padStart(5, '0')}`;
