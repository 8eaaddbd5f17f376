import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { defineModel, string } from '../../../src/model/index.ts';
import { defineTransform, drop, isTransform } from '../../../src/model/transform.ts';

const properties = { id: string({ number: 1, required: true }) };
const CityV1 = defineModel({ name: 'City', version: '1.0', key: ['id'], properties });
const CityV2 = defineModel({ name: 'City', version: '2.0', key: ['id'], properties });
const context = { from: { version: '1.0', schemaId: 1 } };

describe('defineTransform', () => {
  it('names both definitions and keeps the function', () => {
    const definition = defineTransform(CityV1, CityV2, (city, { from }) =>
      city.id === 'gone' ? drop : { id: `${city.id} of ${from.version}` },
    );
    expect(definition).toMatchObject({
      kind: 'transform',
      source: { name: 'City', version: '1.0' },
      target: { name: 'City', version: '2.0' },
    });
    expect(Object.isFrozen(definition)).toBe(true);
    expect(definition.transform({ id: 'a' }, context)).toEqual({ id: 'a of 1.0' });
    expect(definition.transform({ id: 'gone' }, context)).toBe(Symbol.for('godwit.drop'));
  });

  it('may leave the stored side out', () => {
    const definition = defineTransform(CityV2, (city) => ({ id: String(city['id']) }));
    expect(definition.source).toBeUndefined();
    expect(definition.target.version).toBe('2.0');
  });

  it('refuses what is no definition and no function', () => {
    const define = defineTransform as (...given: readonly unknown[]) => unknown;
    expect(() => define(CityV1, CityV2)).toThrow(/needs a function/);
    expect(() => define(CityV1)).toThrow(/needs a function/);
    expect(() => define(undefined, () => drop)).toThrow(/new definition/);
    expect(() => define({ name: 'City' }, CityV2, () => drop)).toThrow(/stored definition/);
  });

  it('is known by what any copy of the library leaves on it', () => {
    expect(isTransform(defineTransform(CityV2, () => drop))).toBe(true);
    expect(isTransform({ [Symbol.for('godwit.transform')]: true })).toBe(true);
    for (const value of [null, undefined, () => drop, { kind: 'transform' }, CityV1]) {
      expect(isTransform(value)).toBe(false);
    }
  });
});

describe('the entry point godwit/transform', () => {
  it('loads nothing but the errors', () => {
    const loaded = new Set<string>();
    const load = (file: URL): void => {
      if (loaded.has(file.href)) return;
      loaded.add(file.href);
      const imports = readFileSync(file, 'utf8').matchAll(/^(?:import|export)(?! type) .*?from '(.+?)';/gms);
      for (const [, specifier] of imports) {
        expect(specifier).toMatch(/^\./);
        load(new URL(specifier ?? '', file));
      }
    };
    const source = new URL('../../../src/', import.meta.url);
    load(new URL('model/transform.ts', source));
    expect([...loaded]).toEqual(
      ['model/transform.ts', 'errors.ts'].map((path) => new URL(path, source).href),
    );
  });
});
