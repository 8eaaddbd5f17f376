import { describe, expect, it } from 'vitest';

import { ModelException } from '../../../src/errors.ts';
import { defineEmbedded, defineModel, embedded, float64, hashOf } from '../../../src/model/index.ts';
import { int64, reference, resolveModels, string } from '../../../src/model/index.ts';
import type { AnyModel, AnyModels, Properties } from '../../../src/model/index.ts';

function model(name: string, properties: Properties = {}): AnyModel {
  const id = string({ number: 1, required: true });
  return defineModel({ name, version: '1.0', key: ['id'], properties: { id, ...properties } });
}

function failure(modelsById: AnyModels): ModelException {
  try {
    resolveModels(modelsById);
  } catch (error) {
    if (error instanceof ModelException) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('resolveModels', () => {
  const Country = model('Country');
  const Place = defineModel({
    name: 'Place',
    version: '1.0',
    key: ['country', 'number'],
    properties: {
      number: int64({ number: 1, required: true }),
      country: reference({ number: 2, to: Country, required: true }),
    },
  });

  it('answers each model by id with data and hash, and the shapes of the keys', () => {
    const { models, referenceKeys } = resolveModels({ 20: Country, 3: Place });
    expect(models.map(({ id, definition }) => [id, definition])).toEqual([
      [3, Place],
      [20, Country],
    ]);
    for (const { data, hash } of models) expect(hash).toBe(hashOf(data));
    expect(referenceKeys).toEqual({
      Country: [{ name: 'id', type: { kind: 'string' } }],
      Place: [
        { name: 'country', type: { kind: 'reference', to: 'Country', weak: false } },
        { name: 'number', type: { kind: 'int64' } },
      ],
    });
  });

  it('takes no models at all', () => {
    expect(resolveModels({})).toEqual({ models: [], referenceKeys: {} });
  });

  it('refuses ids that are no positive integers, wherever they come from', () => {
    const ids = ['0', '-1', '1.5', 'city', '01', '9007199254740993'];
    const error = failure(Object.fromEntries(ids.map((id, at) => [id, model(`M${at}`)])) as AnyModels);
    expect(error.code).toBe('MODEL_INVALID');
    expect(error.details['problems']).toHaveLength(ids.length);
  });

  it('refuses what is no model, names that occur twice, and thunks without a model, all at once', () => {
    const error = failure({
      1: { name: 'City' } as never,
      2: Country,
      3: model('Country'),
      4: model('City', { a: reference({ number: 2, to: () => undefined as never }) }),
    });
    expect(error.code).toBe('MODEL_INVALID');
    expect(error.details['problems']).toEqual([
      'model 1 was not made by defineModel',
      expect.stringMatching(/reference City.a gives no model/),
      'two models have the name "Country"',
    ]);
  });

  it('refuses references to models that are not registered, also inside embedded ones, but not weak ones', () => {
    const Inner = defineEmbedded({ name: 'Inner', properties: { to: reference({ number: 1, to: 'Gone' }) } });
    const error = failure({
      1: model('A', { b: reference({ number: 2, to: Country }), c: embedded({ number: 3, model: Inner }) }),
    });
    expect(error.code).toBe('MODEL_UNKNOWN');
    expect(error.details).toEqual({
      problems: ['A.b refers to "Country"', 'Inner.to refers to "Gone"'],
      models: ['Country', 'Gone'],
    });
    const weak = reference({ number: 2, to: 'Gone', weak: true });
    expect(resolveModels({ 1: model('A', { weak }) }).models).toHaveLength(1);
  });

  it('refuses an embedded definition that is not the registered one of its name', () => {
    const older = model('Country', { area: float64({ number: 2 }) });
    const City = model('City', { country: embedded({ number: 2, model: older }) });
    expect(failure({ 1: City, 2: Country }).message).toMatch(/City embeds another definition of "Country"/);
    expect(resolveModels({ 1: City, 2: older }).models).toHaveLength(2);
  });

  it('refuses keys that contain themselves, directly and through each other', () => {
    const keyed = (name: string, to: string) =>
      defineModel({
        name,
        version: '1.0',
        key: ['of'],
        properties: { of: reference({ number: 1, to, required: true, weak: true }) },
      });
    expect(failure({ 1: keyed('A', 'A') }).details['problems']).toEqual([
      'the key of A contains a reference to itself',
    ]);
    expect(
      failure({ 1: keyed('A', 'B'), 2: keyed('B', 'A'), 3: keyed('C', 'A') }).details['problems'],
    ).toEqual(['the key of A contains a reference to itself', 'the key of B contains a reference to itself']);
  });
});
