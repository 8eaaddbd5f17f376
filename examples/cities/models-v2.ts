import { defineModel, float64, int32, reference, string } from '../../src/model/index.ts';

/** The models of this release. Both have a new major version, so both have to be migrated; countries first. */

export const CountryV2 = defineModel({
  name: 'Country',
  version: '2.0',
  key: ['code'],
  properties: {
    code: string({ number: 1, required: true, minSize: 2, maxSize: 2 }),
    name: string({ number: 2, required: true, maxSize: 100 }),
    // New and required: derived from the code.
    flag: string({ number: 3, required: true }),
  },
});

export const CityV2 = defineModel({
  name: 'City',
  version: '2.0',
  key: ['id'],
  properties: {
    id: int32({ number: 1, required: true, min: 1 }),
    name: string({ number: 2, required: true, maxSize: 200 }),
    // Were strings, under shorter names.
    latitude: float64({ number: 3, required: true, min: -90, max: 90, alternativeNames: ['lat'] }),
    longitude: float64({ number: 4, required: true, min: -180, max: 180, alternativeNames: ['lng'] }),
    country: reference({ number: 5, to: CountryV2, required: true }),
    admin1: string({ number: 6 }),
    // New and required: derived from the name.
    searchName: string({ number: 8, required: true }),
  },
  indexes: [
    { name: 'fromNorth', on: ['country', { property: 'latitude', reversed: true }] },
    { name: 'bySearchName', on: ['country', 'searchName'] },
  ],
  // admin2 was here: neither its number nor its name may ever mean anything else.
  reservedNumbers: [7],
  reservedNames: ['admin2'],
});
