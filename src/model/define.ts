import { ModelException } from '../errors.ts';
import { brand } from './brand.ts';
import { embeddedProblems, modelProblems } from './check.ts';
import type { KeyNames } from './infer.ts';
import type { Properties } from './property.ts';

/** Defining models: `defineModel` for what a store keeps, `defineEmbedded` for what lies inside its records. */

/** A property of an index; a bare name is the same with `reversed: false`. */
export interface IndexPart<Name extends string = string> {
  readonly property: Name;
  /** From the highest value to the lowest. Default false. */
  readonly reversed?: boolean | undefined;
}

export interface IndexOptions<Name extends string = string> {
  readonly name: string;
  /** In this order. At most one of them is a list: then each of its distinct elements has an entry. */
  readonly on: readonly (Name | IndexPart<Name>)[];
  /** Whether a combination of values belongs to one record only. Default false. */
  readonly unique?: boolean | undefined;
}

export interface EmbeddedOptions<Name extends string, P extends Properties> {
  /** [A-Za-z][A-Za-z0-9_]{0,63}. */
  readonly name: Name;
  readonly properties: P;
  /** Numbers of removed properties. */
  readonly reservedNumbers?: readonly number[] | undefined;
  /** Names of removed properties. */
  readonly reservedNames?: readonly string[] | undefined;
}

export interface ModelOptions<
  Name extends string,
  P extends Properties,
  Key extends readonly string[],
  Indexes extends readonly IndexOptions[],
> extends EmbeddedOptions<Name, P> {
  /** major.minor or major.minor.patch; another major version is a migration. */
  readonly version: string;
  /** Required properties of types that have an order, in key order. */
  readonly key: Key;
  readonly indexes?: Indexes | undefined;
}

/** A set of properties with a name, to be embedded in models. Frozen. */
export interface Embedded<Name extends string = string, P extends Properties = Properties> {
  readonly name: Name;
  readonly properties: P;
  readonly reservedNumbers: readonly number[];
  readonly reservedNames: readonly string[];
}

/** A model as the program defines it. Frozen. */
export interface Model<
  Name extends string = string,
  P extends Properties = Properties,
  Key extends readonly string[] = readonly string[],
  Indexes extends readonly IndexOptions[] = readonly IndexOptions[],
> extends Embedded<Name, P> {
  readonly version: string;
  readonly key: Key;
  readonly indexes: Indexes;
}

/** A model of which nothing more is known. */
export type AnyModel = Model;
/** An embedded definition of which nothing more is known. */
export type AnyEmbedded = Embedded;

/**
 * Defines a model.
 *
 * @throws ModelException MODEL_INVALID with every problem of the definition in `details.problems`.
 */
export function defineModel<
  const Name extends string,
  const P extends Properties,
  const Key extends readonly [KeyNames<P>, ...KeyNames<P>[]],
  const Indexes extends readonly IndexOptions<keyof P & string>[] = readonly [],
>(options: ModelOptions<Name, P, Key, Indexes>): Model<Name, P, Key, Indexes> {
  const { name, version, properties } = options;
  refuse('Model', name, modelProblems(options));
  return Object.freeze({
    name,
    version,
    key: Object.freeze([...options.key]) as unknown as Key,
    properties: Object.freeze({ ...properties }),
    indexes: Object.freeze([...(options.indexes ?? [])]) as unknown as Indexes,
    reservedNumbers: Object.freeze([...(options.reservedNumbers ?? [])]),
    reservedNames: Object.freeze([...(options.reservedNames ?? [])]),
    [brand]: 'model',
  });
}

/**
 * Defines what can be embedded in models: properties under a name, without key, version and indexes.
 *
 * @throws ModelException MODEL_INVALID with every problem of the definition in `details.problems`.
 */
export function defineEmbedded<const Name extends string, const P extends Properties>(
  options: EmbeddedOptions<Name, P>,
): Embedded<Name, P> {
  refuse('Embedded model', options.name, embeddedProblems(options));
  return Object.freeze({
    name: options.name,
    properties: Object.freeze({ ...options.properties }),
    reservedNumbers: Object.freeze([...(options.reservedNumbers ?? [])]),
    reservedNames: Object.freeze([...(options.reservedNames ?? [])]),
    [brand]: 'embedded',
  });
}

function refuse(what: string, name: unknown, problems: readonly string[]): void {
  if (problems.length === 0) return;
  throw new ModelException('MODEL_INVALID', `${what} ${String(name)} is invalid: ${problems.join('; ')}.`, {
    details: { model: name, problems },
  });
}
