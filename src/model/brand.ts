import type { AnyEmbedded, AnyModel } from './define.ts';

/** Recognises definitions by a symbol and not by a class: a worker may load another copy of this library. */

/** The property by which a definition is known as one; its value is 'model' or 'embedded'. */
export const brand = Symbol.for('godwit.model');

/** Whether `value` was made by `defineModel`, in any copy of this library. */
export function isModel(value: unknown): value is AnyModel {
  return brandOf(value) === 'model';
}

/** Whether `value` was made by `defineEmbedded`, in any copy of this library. */
export function isEmbedded(value: unknown): value is AnyEmbedded {
  return brandOf(value) === 'embedded';
}

function brandOf(value: unknown): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, brand) : undefined;
}
