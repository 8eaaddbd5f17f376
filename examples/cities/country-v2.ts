import { defineTransform } from '../../src/model/transform.ts';
import { CountryV1 } from './models-v1.ts';
import { CountryV2 } from './models-v2.ts';

/** The two letters of a country's code, each as its regional indicator, are shown as its flag. */
export default defineTransform(CountryV1, CountryV2, (country) => ({
  ...country,
  flag: String.fromCodePoint(...[0, 1].map((at) => country.code.charCodeAt(at) + 0x1f1a5)),
}));
