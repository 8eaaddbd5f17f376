import { MigrationException } from '../errors.ts';
import type { RecordData } from './data.ts';
import type { AnyModel } from './define.ts';
import type { InputOf, RecordOf } from './infer.ts';

/**
 * Transforms: from a stored record to one of the new definition. This file is the entry point `godwit/transform`,
 * which worker threads load: it must drag nothing along.
 */

/** Returned by a transform: the record is not taken over. It and its index entries are cleared. */
export const drop: unique symbol = Symbol.for('godwit.drop');

/** What a transform knows beside the record. */
export interface TransformContext {
  /** The definition that this record was written under; several occur after a migration that did not end. */
  readonly from: { readonly version: string; readonly schemaId: number };
}

/** Makes a new record of a stored one. Synchronous, on the CPU alone, and the same for the same record. */
export type Transform<Source = RecordData, Target = RecordData> = (
  record: Source,
  context: TransformContext,
) => Target | typeof drop;

/** What `defineTransform` makes: the default export of a transform module. Frozen. */
export interface TransformDefinition {
  readonly kind: 'transform';
  /** The stored definition it was written for; absent when it takes any. */
  readonly source?: { readonly name: string; readonly version: string };
  readonly target: { readonly name: string; readonly version: string };
  readonly transform: Transform;
}

const brand = Symbol.for('godwit.transform');

/**
 * Defines a transform from one definition of a model to the next. It may return stored properties that the new
 * definition does not know, as `{ ...city, ... }` does: they are left behind. The stored definition may be left
 * out when its source is gone; the record is then one of unknown values.
 *
 * @throws MigrationException TRANSFORM_INVALID when an argument is no definition or no function.
 */
export function defineTransform<Target extends AnyModel>(
  target: Target,
  transform: Transform<Readonly<Record<string, unknown>>, InputOf<Target>>,
): TransformDefinition;
export function defineTransform<Source extends AnyModel, Target extends AnyModel>(
  source: Source,
  target: Target,
  transform: Transform<RecordOf<Source>, InputOf<Target>>,
): TransformDefinition;
export function defineTransform(...given: readonly unknown[]): TransformDefinition {
  const [source, target, transform] = given.length > 2 ? given : [undefined, ...given];
  if (typeof transform !== 'function') {
    throw new MigrationException(
      'TRANSFORM_INVALID',
      'defineTransform needs a function as its last argument.',
    );
  }
  return Object.freeze({
    kind: 'transform',
    ...(source === undefined ? {} : { source: identityOf(source, 'stored') }),
    target: identityOf(target, 'new'),
    transform: transform as Transform,
    [brand]: true,
  });
}

/** Whether `value` was made by `defineTransform`, in any copy of this library. */
export function isTransform(value: unknown): value is TransformDefinition {
  return typeof value === 'object' && value !== null && Reflect.get(value, brand) === true;
}

function identityOf(definition: unknown, which: string): { readonly name: string; readonly version: string } {
  const { name, version } = (definition ?? {}) as { readonly name?: unknown; readonly version?: unknown };
  if (typeof name !== 'string' || typeof version !== 'string') {
    throw new MigrationException(
      'TRANSFORM_INVALID',
      `defineTransform needs a model made by defineModel as its ${which} definition.`,
    );
  }
  return { name, version };
}
