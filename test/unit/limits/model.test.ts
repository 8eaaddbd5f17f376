import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/limits.ts';
import {
  createValidator,
  decimal,
  defineModel,
  definitionData,
  embedded,
  list,
  reference,
  self,
  string,
} from '../../../src/model/index.ts';
import type { Properties } from '../../../src/model/index.ts';
import { createRecordCheck } from '../../../src/records/record-check.ts';

const id = string({ number: 1, required: true });
const define = (properties: Properties, name = 'City') =>
  defineModel({ name, version: '1.0', key: ['id'], properties: { id, ...properties } });
const validatorOf = (properties: Properties) => createValidator(definitionData(define(properties)));

describe('a name', () => {
  it('has as many characters as it may, and one more is refused', () => {
    const name = 'N'.repeat(limits.model.nameLength.value);
    expect(define({}, name).name).toBe(name);
    const tooLong = expect.objectContaining({ code: 'MODEL_INVALID' });
    expect(() => define({}, `${name}N`)).toThrow(tooLong);
    expect(() => define({ [`${name}N`]: string({ number: 2 }) })).toThrow(tooLong);
  });
});

describe('a decimal', () => {
  it('has as many digits as it may, and one more is refused', () => {
    const precision = limits.model.decimalDigits.value;
    const validate = validatorOf({ price: decimal({ number: 2, precision, scale: 2 }) });
    const whole = '9'.repeat(precision - 2);
    expect(validate({ id: 'a', price: `${whole}.99` })).toEqual([]);
    expect(validate({ id: 'a', price: `9${whole}.99` })).toHaveLength(1);
    expect(() => define({ price: decimal({ number: 2, precision: precision + 1, scale: 2 }) })).toThrow(
      expect.objectContaining({ code: 'MODEL_INVALID' }),
    );
  });
});

describe('a record', () => {
  /** So many records within the outer one. */
  const nested = (levels: number) => {
    let record: Record<string, unknown> = { id: 'x' };
    for (let level = 0; level < levels; level += 1) record = { id: 'x', in: record };
    return record;
  };

  it('has as many levels as it may, and one more is refused', () => {
    const validate = validatorOf({ in: embedded({ number: 2, model: self }) });
    expect(validate(nested(limits.model.recordDepth.value))).toEqual([]);
    expect(validate(nested(limits.model.recordDepth.value + 1))).toMatchObject([{ constraint: 'depth' }]);
  });

  it('has references as deep as they may be, and one level more is refused', () => {
    const validate = validatorOf({ to: reference({ number: 2, to: 'Elsewhere' }) });
    const keyOf = (levels: number): unknown => (levels === 0 ? 1n : { part: 'a', rest: keyOf(levels - 1) });
    expect(validate({ id: 'x', to: keyOf(limits.model.keyDepth.value) })).toEqual([]);
    expect(validate({ id: 'x', to: keyOf(limits.model.keyDepth.value + 1) })).toMatchObject([
      { path: 'to', constraint: 'type' },
    ]);
  });
});

describe('violations', () => {
  const tags = (count: number) => ({ id: 'x', tags: Array.from({ length: count }, () => 1) });
  const listOfText = { tags: list({ number: 2, of: string() }) };

  it('are looked for up to their bound, and one more is not', () => {
    const { value } = limits.model.violations;
    const validate = validatorOf(listOfText);
    expect(validate(tags(value))).toHaveLength(value);
    expect(validate(tags(value + 1))).toHaveLength(value);
  });

  it('are listed up to their bound, and one more is counted', () => {
    const { value } = limits.model.listedViolations;
    const check = createRecordCheck(definitionData(define(listOfText)), {});
    const refusalOf = (count: number): Error & { details?: unknown } => {
      try {
        check.record(tags(count));
      } catch (error) {
        return error as Error;
      }
      throw new Error('it was not refused');
    };
    const listed = (error: { readonly details?: unknown }) =>
      (error.details as { readonly violations: readonly unknown[] }).violations.length;
    const full = refusalOf(value);
    expect(listed(full)).toBe(value);
    expect(full.message).not.toMatch(/and \d+ more/);
    const over = refusalOf(value + 1);
    expect(listed(over)).toBe(value);
    expect(over.message).toMatch(/and 1 more/);
  });
});
