import { defineModel, float64, string } from 'godwit/model';

export const CityV1 = defineModel({
  name: 'City',
  version: '1.0',
  key: ['id'],
  properties: { id: string({ number: 1, required: true }), lat: string({ number: 2, required: true }) },
});

export const CityV2 = defineModel({
  name: 'City',
  version: '2.0',
  key: ['id'],
  properties: {
    id: string({ number: 1, required: true }),
    latitude: float64({ number: 2, required: true, min: -90, max: 90, alternativeNames: ['lat'] }),
  },
});
