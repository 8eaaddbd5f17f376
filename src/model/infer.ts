import type { AnyEmbedded, AnyModel } from './define.ts';
import type { KeyKind, Properties, Property, ReferenceTarget, Self, ValueIn } from './property.ts';
import type { RecordData } from './data.ts';

/** What the compiler derives from a definition: the types of its records, inputs and keys. */

type Flatten<T> = { [Name in keyof T]: T[Name] };

type RequiredNames<P extends Properties> = {
  [Name in keyof P]: [P[Name]['required']] extends [true] ? Name : never;
}[keyof P];

/** `self` inside the values of `P` becomes the record of `P`. */
type Resolved<Value, P extends Properties> = Value extends Self
  ? RecordOfProperties<P>
  : Value extends readonly (infer Element)[]
    ? readonly Resolved<Element, P>[]
    : Value extends ReadonlyMap<infer Key, infer Inner>
      ? ReadonlyMap<Key, Resolved<Inner, P>>
      : Value extends { readonly case: infer Case; readonly value: infer Inner }
        ? keyof Value extends 'case' | 'value'
          ? { readonly case: Case; readonly value: Resolved<Inner, P> }
          : Value
        : Value;

/** Names of properties that a record must be written with: required ones without a default. */
type DemandedNames<P extends Properties> = {
  [Name in RequiredNames<P>]: [P[Name]['hasDefault']] extends [true] ? never : Name;
}[RequiredNames<P>];

/** The record type of a set of properties. */
export type RecordOfProperties<P extends Properties> = string extends keyof P
  ? RecordData
  : Flatten<
      { [Name in RequiredNames<P>]: Resolved<ValueIn<P[Name]>, P> } & {
        [Name in Exclude<keyof P, RequiredNames<P>>]?: Resolved<ValueIn<P[Name]>, P> | undefined;
      }
    >;

/** A record as it is read: `RecordOf<typeof City>`. */
export type RecordOf<M extends AnyModel | AnyEmbedded> = RecordOfProperties<M['properties']>;

/** What a record of a set of properties is written as. */
export type InputOfProperties<P extends Properties> = string extends keyof P
  ? RecordData
  : Flatten<
      { [Name in DemandedNames<P>]: Resolved<ValueIn<P[Name]>, P> } & {
        [Name in Exclude<keyof P, DemandedNames<P>>]?: Resolved<ValueIn<P[Name]>, P> | undefined;
      }
    >;

/** A record as it is written: `InputOf<typeof City>`. Properties with a default may be left out. */
export type InputOf<M extends AnyModel | AnyEmbedded> = InputOfProperties<M['properties']>;

/** One property of a key whose model is known by name only. */
export type KeyScalar = string | number | bigint | boolean | Date | Uint8Array;
/** A key whose model is known by name only: bare where it has one property, else an object of them. */
export type AnyKey = KeyScalar | { readonly [property: string]: AnyKey };

/** The key of a model: the bare value where it has one property, else an object of them. */
export type KeyOf<M extends AnyModel> = number extends M['key']['length']
  ? AnyKey
  : M['key'] extends readonly [infer Only extends string]
    ? ValueIn<M['properties'][Only]>
    : Flatten<{ [Name in M['key'][number]]: ValueIn<M['properties'][Name]> }>;

/** The key of what a reference refers to. */
export type KeyOfTarget<Target extends ReferenceTarget> = Target extends AnyModel
  ? KeyOf<Target>
  : Target extends () => infer M
    ? M extends AnyModel
      ? KeyOf<M>
      : never
    : AnyKey;

/** Names of the properties that may stand in the key: required, and of a type that has an order. */
export type KeyNames<P extends Properties> = {
  [Name in keyof P & string]: P[Name] extends Property<unknown, true, KeyKind> ? Name : never;
}[keyof P & string];

/** Models by id, as a store takes them. */
export type AnyModels = Readonly<Record<number, AnyModel>>;
