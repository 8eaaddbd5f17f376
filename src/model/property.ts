import type { AnyEmbedded, AnyModel } from './define.ts';
import type { DecimalTypeData, EnumTypeData, StringTypeData, TypeKind } from './data.ts';

/**
 * What the constructors (`string`, `float64`, ...) build and `defineModel` takes: a type with its constraints, and
 * for a property its number. The type parameters carry what the compiler knows of the values.
 */

declare const valueType: unique symbol;

/** A type of values without a number of its own: what a list is made of. */
export interface ElementType<Value = unknown, Kind extends TypeKind = TypeKind> {
  readonly kind: Kind;
  readonly type: TypeSpec;
  readonly number?: undefined;
  /** For the compiler only; never there. */
  readonly [valueType]?: Value;
}

/** A property of a model: a type, its number and whether each record has it. */
export interface Property<
  Value = unknown,
  Required extends boolean = boolean,
  Kind extends TypeKind = TypeKind,
  HasDefault extends boolean = boolean,
> {
  readonly kind: Kind;
  readonly type: TypeSpec;
  readonly number: number;
  readonly required: Required;
  /** Whether records may be written without a value and get the default. */
  readonly hasDefault: HasDefault;
  /** As in `PropertyData`; absent where there is none. */
  readonly default?: string | number | boolean;
  readonly alternativeNames: readonly string[];
  /** For the compiler only; never there. */
  readonly [valueType]?: Value;
}

/** Properties by name. */
export type Properties = Readonly<Record<string, Property>>;

/** What every property may say. */
export interface PropertyOptions {
  /** 1 to 536,870,911; stays with the property for ever, records name it by this number. */
  readonly number: number;
  /** Whether each record has a value. Default false. */
  readonly required?: boolean | undefined;
  /** Former names, so that a rename is no migration. Default none. */
  readonly alternativeNames?: readonly string[] | undefined;
}

/** Options of a property that each record has. */
export interface RequiredOptions extends PropertyOptions {
  readonly required: true;
}

/** Options of a property that records may lack. */
export interface OptionalOptions extends PropertyOptions {
  readonly required?: false | undefined;
}

/** Options of a property that gets a value where a record is written without one. */
export interface DefaultOptions<Value> extends PropertyOptions {
  /** Default false: without it, readers reckon with records from before the default. */
  readonly required?: boolean | undefined;
  /** Filled in when a record is added, put or moved; never when one is read. Of a scalar type. */
  readonly default: Value;
}

/** Options of an element type. */
export interface ElementOptions {
  readonly number?: undefined;
}

/**
 * A type as written: as `TypeData`, but with other definitions in place of their names. They are resolved by
 * `definitionData`, because a thunk may name what is not defined yet.
 */
export type TypeSpec =
  | StringTypeData
  | { readonly kind: 'boolean' }
  | { readonly kind: 'int32' | 'float64' | 'timestamp'; readonly min?: number; readonly max?: number }
  | { readonly kind: 'int64'; readonly min?: string; readonly max?: string }
  | { readonly kind: 'date'; readonly min?: string; readonly max?: string }
  | DecimalTypeData
  | { readonly kind: 'bytes'; readonly minSize?: number; readonly maxSize?: number }
  | EnumTypeData
  | {
      readonly kind: 'list' | 'set';
      readonly of: TypeSpec;
      readonly minSize?: number;
      readonly maxSize?: number;
    }
  | {
      readonly kind: 'map';
      readonly key: TypeSpec;
      readonly of: TypeSpec;
      readonly minSize?: number;
      readonly maxSize?: number;
    }
  | {
      readonly kind: 'union';
      readonly cases: Readonly<Record<string, { readonly number: number; readonly type: TypeSpec }>>;
      readonly reservedNumbers: readonly number[];
      readonly reservedNames: readonly string[];
    }
  | { readonly kind: 'embedded'; readonly model: AnyModel | AnyEmbedded | Self }
  | { readonly kind: 'reference'; readonly to: ReferenceTarget; readonly weak: boolean };

/** A definition, a thunk for one that is defined later, or a name (for references to itself and mutual ones). */
export type ReferenceTarget = AnyModel | (() => AnyModel) | string;

/** In `embedded({ model: self })`: the definition that the property stands in. */
export const self: unique symbol = Symbol.for('godwit.self');
/** The type of `self`. */
export type Self = typeof self;

/** What the compiler knows of the values of a property or element type. */
export type ValueIn<P> = P extends { readonly [valueType]?: infer Value } ? Exclude<Value, undefined> : never;

/** Kinds whose values can stand in a key; and, alone or as elements of a list, in an index. */
export const keyKinds = [
  'string',
  'boolean',
  'int32',
  'int64',
  'float64',
  'timestamp',
  'date',
  'decimal',
  'bytes',
  'enum',
  'reference',
] as const satisfies readonly TypeKind[];
/** One of `keyKinds`. */
export type KeyKind = (typeof keyKinds)[number];

/** Whether values of this kind can stand in a key. */
export function isKeyKind(kind: TypeKind): kind is KeyKind {
  return (keyKinds as readonly TypeKind[]).includes(kind);
}
