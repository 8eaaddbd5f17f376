import { describe, expect, it } from 'vitest';
import { MigrationOutcome, outcomeProblem } from '../../../src/migration/outcome.ts';

describe('MigrationOutcome', () => {
  it.each([
    [MigrationOutcome.Success, { type: 'Success' }],
    [MigrationOutcome.Partial(), { type: 'Partial' }],
    [
      MigrationOutcome.Partial({ nextCursor: 'a', message: 'm' }),
      { type: 'Partial', nextCursor: 'a', message: 'm' },
    ],
    [MigrationOutcome.Retry(), { type: 'Retry' }],
    [MigrationOutcome.Retry({ retryAfterMs: 0 }), { type: 'Retry', retryAfterMs: 0 }],
    [MigrationOutcome.Fatal('why'), { type: 'Fatal', reason: 'why' }],
  ])('makes a plain value that passes: %j', (outcome, expected) => {
    expect(outcome).toEqual(expected);
    expect(outcomeProblem(outcome)).toBeUndefined();
    expect(outcomeProblem(structuredClone(outcome))).toBeUndefined();
  });

  it('has a Success that nobody can change', () => {
    expect(Object.isFrozen(MigrationOutcome.Success)).toBe(true);
  });
});

describe('an answer', () => {
  it.each([
    [undefined, 'it answered undefined'],
    [null, 'it answered null'],
    [true, 'it answered boolean'],
    [() => MigrationOutcome.Success, 'it answered function'],
    [MigrationOutcome.Partial, 'it answered function'],
    [{}, 'its type is undefined'],
    [[], 'its type is undefined'],
    [{ type: 'success' }, 'its type is "success"'],
    [{ type: 'Partial', nextCursor: null }, 'nextCursor is no string'],
    [{ type: 'Retry', nextCursor: 7 }, 'nextCursor is no string'],
    [{ type: 'Partial', message: new Error('x') }, 'message is no string'],
    [{ type: 'Retry', retryAfterMs: Number.NaN }, 'retryAfterMs is no number of milliseconds'],
    [{ type: 'Retry', retryAfterMs: Number.POSITIVE_INFINITY }, 'retryAfterMs is no number of milliseconds'],
    [{ type: 'Retry', retryAfterMs: -0.5 }, 'retryAfterMs is no number of milliseconds'],
    [{ type: 'Fatal' }, 'reason is no string'],
    [{ type: 'Fatal', reason: new Error('x') }, 'reason is no string'],
  ])('that is no outcome is told: %s', (answer, problem) => {
    expect(outcomeProblem(answer)).toBe(problem);
  });
});
