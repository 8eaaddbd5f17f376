import { describe, expect, it } from 'vitest';
import { editDistance, findModel } from '../../../src/cli/find-model.ts';

const models = [
  { modelId: 1, modelName: 'Town' },
  { modelId: 2, modelName: 'Region' },
  { modelId: 12, modelName: 'Tower' },
  { modelId: 13, modelName: '14' },
];

function refusal(asked: string): string {
  try {
    findModel(asked, models);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('it was to be refused');
}

describe('the model that a person means', () => {
  it.each([
    ['Town', 1],
    ['2', 2],
    ['12', 12],
    ['14', 13],
  ])('%s is model %i', (asked, modelId) => {
    expect(findModel(asked, models).modelId).toBe(modelId);
  });

  it.each([
    ['Twon', 'Did you mean Town?'],
    ['town', 'Did you mean Town?'],
    ['Towr', 'Did you mean Town or Tower?'],
    ['regoin', 'Did you mean Region?'],
    ['Customer', 'There are Town (1), Region (2), Tower (12), 14 (13).'],
    ['3', 'There are Town (1), Region (2), Tower (12), 14 (13).'],
    ['', 'There are Town (1), Region (2), Tower (12), 14 (13).'],
  ])('%s is refused: %s', (asked, hint) => {
    expect(refusal(asked)).toBe(`The store has no model ${asked}. ${hint}`);
  });

  it('is none of a store without any', () => {
    expect(() => findModel('Town', [])).toThrow('The store has no model Town. It has none.');
  });
});

describe('the distance between two names', () => {
  it.each([
    ['', '', 0],
    ['', 'abc', 3],
    ['abc', 'abc', 0],
    ['abc', 'acb', 1],
    ['abcd', 'bacd', 1],
    ['kitten', 'sitting', 3],
    ['flaw', 'lawn', 2],
  ])('%s and %s: %i', (left, right, distance) => {
    expect(editDistance(left, right)).toBe(distance);
    expect(editDistance(right, left)).toBe(distance);
  });
});
