import { isInstant } from '../ports/instant.ts';
import type { PropertyOptions, TypeSpec } from './property.ts';

/** What all constructors of properties share. */

/** Limits of a size, both inclusive: UTF-16 code units of a string, bytes, or elements of a list. Default none. */
export interface SizeLimits {
  readonly minSize?: number | undefined;
  readonly maxSize?: number | undefined;
}

/** Limits of a value, both inclusive. Default none beyond those of the type. */
export interface ValueLimits<Value> {
  readonly min?: Value | undefined;
  readonly max?: Value | undefined;
}

/** With a number a property, else an element type; see `never` below. */
export function build(options: unknown, type: TypeSpec): never {
  const { number, required = false, alternativeNames = [] } = options as Partial<PropertyOptions>;
  const { default: given } = options as { readonly default?: unknown };
  const built =
    number === undefined
      ? { kind: type.kind, type: Object.freeze(type) }
      : {
          kind: type.kind,
          type: Object.freeze(type),
          number,
          required,
          hasDefault: given !== undefined,
          ...ifGiven('default', defaultData(given)),
          alternativeNames: [...alternativeNames],
        };
  // `never` fits whatever the overloads promise; the branch above keeps it: with a number it is a property.
  return Object.freeze(built) as never;
}

/** In the form of the limits: what JSON can hold. What is no scalar is refused by `defineModel`. */
function defaultData(value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  return isInstant(value) ? value.getTime() : value;
}

export function sizeLimits({ minSize, maxSize }: SizeLimits) {
  return { ...ifGiven('minSize', minSize), ...ifGiven('maxSize', maxSize) };
}

export function valueLimits<V, D>({ min, max }: ValueLimits<V>, dataOf: (limit: V) => D) {
  return {
    ...ifGiven('min', min === undefined ? undefined : dataOf(min)),
    ...ifGiven('max', max === undefined ? undefined : dataOf(max)),
  };
}

export function ifGiven<Name extends string, Value>(
  name: Name,
  value: Value | undefined,
): { [N in Name]?: Value } {
  return value === undefined ? {} : ({ [name]: value } as { [N in Name]: Value });
}
