import { describe, expectTypeOf, it } from 'vitest';
import { defineModel, float64, int64, list, set, string } from '../../src/model/index.ts';
import type { ModelStore } from '../../src/store/model-store.ts';
import type { Scan } from '../../src/store/model-query.ts';

const City = defineModel({
  name: 'City',
  version: '1.0',
  key: ['country', 'id'],
  properties: {
    country: string({ number: 1, required: true }),
    id: int64({ number: 2, required: true }),
    latitude: float64({ number: 3 }),
    tags: list({ number: 4, of: string() }),
    codes: set({ number: 5, of: int64() }),
  },
  indexes: [{ name: 'byTag', on: ['tags'] }],
});
type Cities = ModelStore<typeof City>;
type City = {
  country: string;
  id: bigint;
  latitude?: number | undefined;
  tags?: readonly string[] | undefined;
  codes?: ReadonlySet<bigint> | undefined;
};
type Query = NonNullable<Parameters<Cities['scan']>[0]>;

describe('the types of requests', () => {
  it('follow from the definition', () => {
    expectTypeOf<Parameters<Cities['add']>[0]>().toEqualTypeOf<City>();
    expectTypeOf<Parameters<Cities['get']>[0]>().toEqualTypeOf<{ country: string; id: bigint }>();
    expectTypeOf<Awaited<ReturnType<Cities['get']>>>().toEqualTypeOf<City | undefined>();
    expectTypeOf<ReturnType<Cities['scan']>>().toEqualTypeOf<Scan<City>>();
    expectTypeOf<NonNullable<Query['by']>>().toEqualTypeOf<'byTag'>();
  });

  it('look for an element where the property is a list or a set', () => {
    expectTypeOf<NonNullable<Query['where']>['tags']>().toEqualTypeOf<string | undefined>();
    expectTypeOf<NonNullable<Query['where']>['codes']>().toEqualTypeOf<bigint | undefined>();
    expectTypeOf<NonNullable<Query['where']>['latitude']>().toEqualTypeOf<number | undefined>();
  });

  it('let a model that is not known be served too', () => {
    expectTypeOf<Parameters<ModelStore['add']>[0]>().toEqualTypeOf<Readonly<Record<string, unknown>>>();
    expectTypeOf<NonNullable<NonNullable<Parameters<ModelStore['scan']>[0]>['by']>>().toEqualTypeOf<string>();
  });
});
