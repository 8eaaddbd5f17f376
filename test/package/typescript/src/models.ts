import { defineModel, float64, reference, string } from 'godwit/model';

export const Country = defineModel({
  name: 'Country',
  version: '1.0',
  key: ['code'],
  properties: { code: string({ number: 1, required: true }), name: string({ number: 2 }) },
});

export const CityV1 = defineModel({
  name: 'City',
  version: '1.0',
  key: ['id'],
  properties: {
    id: string({ number: 1, required: true }),
    lat: string({ number: 2, required: true }),
    country: reference({ number: 3, to: Country, required: true }),
  },
});

export const CityV2 = defineModel({
  name: 'City',
  version: '2.0',
  key: ['id'],
  properties: {
    id: string({ number: 1, required: true }),
    latitude: float64({ number: 2, required: true, min: -90, max: 90, alternativeNames: ['lat'] }),
    country: reference({ number: 3, to: Country, required: true }),
  },
  indexes: [{ name: 'byCountry', on: ['country', 'latitude'] }],
});
