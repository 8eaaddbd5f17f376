import { StorageException } from '../errors.ts';

/**
 * Metadata rows are JSON, decoded strictly: a row that is not exactly what this release writes is corruption,
 * or the work of a newer release, and must stop us rather than be guessed at.
 */

type Check<T> = (value: unknown) => value is T;
type Shape<T> = { readonly [K in keyof T]-?: Check<T[K]> };

export const isString: Check<string> = (value) => typeof value === 'string';
export const isCount: Check<number> = (value): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0;
export const isNumber: Check<number> = (value): value is number => typeof value === 'number';
export const isBoolean: Check<boolean> = (value) => typeof value === 'boolean';
export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export const isNullOr =
  <T>(check: Check<T>): Check<T | null> =>
  (value): value is T | null =>
    value === null || check(value);

/** Of a field that may be left out. */
export const isOptional =
  <T>(check: Check<T>): Check<T | undefined> =>
  (value): value is T | undefined =>
    value === undefined || check(value);

export const isListOf =
  <T>(check: Check<T>): Check<readonly T[]> =>
  (value): value is readonly T[] =>
    Array.isArray(value) && value.every((element) => check(element));

export const isOneOf =
  <const T extends string>(...cases: readonly T[]): Check<T> =>
  (value): value is T =>
    cases.includes(value as T);

export const isShape =
  <T>(shape: Shape<T>): Check<T> =>
  (value): value is T =>
    isObject(value) && misfit(value, shape) === undefined;

function misfit<T>(row: Record<string, unknown>, shape: Shape<T>): string | undefined {
  for (const name of Object.keys(shape)) {
    if (!shape[name as keyof T](row[name])) return name;
  }
  return Object.keys(row).find((name) => !(name in shape));
}

export interface RowFormat<T> {
  readonly what: string;
  parse(bytes: Uint8Array): T;
  /** The same for a row that may be absent. */
  parseOptional(bytes: Uint8Array | undefined): T | undefined;
  encode(row: T): Buffer;
}

/** @throws StorageException STORAGE_CORRUPT from `parse`, naming the row and the field. */
export function createRowFormat<T extends object>(what: string, shape: Shape<T>): RowFormat<T> {
  const parse = (bytes: Uint8Array): T => {
    let row: unknown;
    try {
      row = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'));
    } catch (cause) {
      throw new StorageException('STORAGE_CORRUPT', `The ${what} row is not JSON.`, {
        details: { what },
        cause,
      });
    }
    const field = isObject(row) ? misfit(row, shape) : '(all)';
    if (field !== undefined) {
      throw new StorageException('STORAGE_CORRUPT', `The ${what} row cannot be decoded: field ${field}.`, {
        details: { what, field },
      });
    }
    return row as T;
  };
  return {
    what,
    parse,
    parseOptional: (bytes) => (bytes === undefined ? undefined : parse(bytes)),
    encode: (row) => Buffer.from(JSON.stringify(row)),
  };
}
