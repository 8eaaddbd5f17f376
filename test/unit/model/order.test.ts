import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { MigrationException } from '../../../src/errors.ts';
import { defineEmbedded, defineModel, embedded, list, orderModels } from '../../../src/model/index.ts';
import { reference, resolveModels, self, string } from '../../../src/model/index.ts';
import type { AnyModel, ModelOrder, Properties } from '../../../src/model/index.ts';
import { drawSeed } from '../../rig/seed.ts';

const seed = drawSeed('dependency order');

function model(name: string, properties: Properties = {}): AnyModel {
  const id = string({ number: 1, required: true });
  return defineModel({ name, version: '1.0', key: ['id'], properties: { id, ...properties } });
}

function order(...models: readonly AnyModel[]): ModelOrder {
  return orderModels(resolveModels(Object.fromEntries(models.map((each, at) => [at + 1, each]))).models);
}

function orderOrCircle(models: readonly AnyModel[]) {
  try {
    return { names: namesOf(order(...models)) };
  } catch (error) {
    if (!(error instanceof MigrationException)) throw error;
    return { circle: error.details['path'] as readonly string[] };
  }
}

const namesOf = ({ order: models }: ModelOrder) => models.map(({ data }) => data.name);
const to = (name: string, weak = false) => reference({ number: 2, to: name, weak });

describe('the order of models', () => {
  it('puts what is referred to first, and is by name otherwise', () => {
    const found = order(
      model('City', { country: to('Country') }),
      model('Zone'),
      model('Country'),
      model('Area'),
    );
    expect(namesOf(found)).toEqual(['Area', 'Country', 'City', 'Zone']);
    expect([...found.dependencies]).toEqual([
      [1, [3]],
      [2, []],
      [3, []],
      [4, []],
    ]);
  });

  it.each<[string, Properties]>([
    ['a list', { a: list({ number: 2, of: reference({ to: 'Z' }) }) }],
    [
      'an embedded model',
      {
        a: embedded({
          number: 2,
          model: defineEmbedded({ name: 'E', properties: { z: reference({ number: 1, to: 'Z' }) } }),
        }),
      },
    ],
    [
      'a list of embedded models with lists',
      {
        a: list({
          number: 2,
          of: embedded({
            model: defineEmbedded({
              name: 'E',
              properties: { z: list({ number: 1, of: reference({ to: 'Z' }) }) },
            }),
          }),
        }),
      },
    ],
  ])('follows references inside %s', (_where, properties) => {
    expect(namesOf(order(model('A', properties), model('Z')))).toEqual(['Z', 'A']);
  });

  it('puts a model that is embedded before the one that embeds it', () => {
    const Z = model('Z');
    expect(namesOf(order(model('A', { z: embedded({ number: 2, model: Z }) }), Z))).toEqual(['Z', 'A']);
  });

  it('ignores weak references and those of a model to itself', () => {
    const found = order(
      model('A', { b: to('B', true) }),
      model('B', { a: to('A') }),
      model('C', { c: to('C'), in: embedded({ number: 3, model: self }) }),
    );
    expect(namesOf(found)).toEqual(['A', 'B', 'C']);
    expect(found.dependencies.get(3)).toEqual([]);
  });

  it('refuses a circle with the way round it', () => {
    const circle = () =>
      order(
        model('X', { b: to('B') }),
        model('B', { c: to('C') }),
        model('C', { d: to('D') }),
        model('D', { b: to('B') }),
      );
    expect(circle).toThrow(/B -> C -> D -> B/);
    expect(circle).toThrow(
      expect.objectContaining({ code: 'MIGRATION_CYCLE', details: { path: ['B', 'C', 'D', 'B'] } }),
    );
  });

  it('puts each dependency before what depends on it, or shows a true circle', () => {
    const graph = fc.array(fc.tuple(fc.nat(7), fc.nat(7)), { maxLength: 12 });
    let orders = 0;
    let circles = 0;
    fc.assert(
      fc.property(graph, (edges) => {
        const nameOf = (at: number) => `M${at}`;
        const models = Array.from({ length: 8 }, (_, at) => {
          const targets = edges.filter(([from]) => from === at).map(([, target]) => target);
          const references = targets.map((target, position) => [
            `r${position}`,
            reference({ number: 2 + position, to: nameOf(target) }),
          ]);
          return model(nameOf(at), Object.fromEntries(references) as Properties);
        });
        const isEdge = (from: string, target: string) =>
          edges.some(([left, right]) => nameOf(left) === from && nameOf(right) === target);
        const answer = orderOrCircle(models);
        if ('circle' in answer) {
          circles += 1;
          const { circle } = answer;
          if (circle.length < 3 || circle.at(-1) !== circle[0]) return false;
          return circle.slice(1).every((target, at) => isEdge(circle[at] ?? '', target));
        }
        orders += 1;
        const { names } = answer;
        const isBefore = (left: number, right: number) =>
          names.indexOf(nameOf(left)) < names.indexOf(nameOf(right));
        return (
          new Set(names).size === models.length &&
          edges.every(([from, target]) => from === target || isBefore(target, from))
        );
      }),
      { seed, numRuns: 300 },
    );
    expect(Math.min(orders, circles)).toBeGreaterThan(0);
  });
});
