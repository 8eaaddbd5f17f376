/**
 * Model definitions as plain data: what is stored in the database, hashed, compared and sent to workers.
 * `defineModel` builds a typed definition; `definitionData` turns it into this normal form.
 */

/** The type of one value. Sizes count UTF-16 code units (string), bytes (bytes) or elements (list, set, map). */
export type TypeData =
  | StringTypeData
  | { readonly kind: 'boolean' }
  | { readonly kind: 'int32'; readonly min?: number; readonly max?: number }
  /** Limits in decimal digits: JSON has no integers of 64 bits. */
  | { readonly kind: 'int64'; readonly min?: string; readonly max?: string }
  | { readonly kind: 'float64'; readonly min?: number; readonly max?: number }
  /** Milliseconds since 1970; the value in a record is a `Date`. Limits in milliseconds since 1970. */
  | { readonly kind: 'timestamp'; readonly min?: number; readonly max?: number }
  /** The value in a record is text such as `2026-02-28`. Limits likewise. */
  | { readonly kind: 'date'; readonly min?: string; readonly max?: string }
  | DecimalTypeData
  | { readonly kind: 'bytes'; readonly minSize?: number; readonly maxSize?: number }
  | EnumTypeData
  | { readonly kind: 'list'; readonly of: TypeData; readonly minSize?: number; readonly maxSize?: number }
  /** The value in a record is a `Set`; its elements are of a type that has an order. */
  | { readonly kind: 'set'; readonly of: TypeData; readonly minSize?: number; readonly maxSize?: number }
  | MapTypeData
  | UnionTypeData
  /** By name; the definition is in `DefinitionData.embedded`, so that recursion ends. */
  | { readonly kind: 'embedded'; readonly model: string }
  /** The value is the key of a record of `to`: bare where the key has one property, else an object of them. */
  | { readonly kind: 'reference'; readonly to: string; readonly weak: boolean };

export interface StringTypeData {
  readonly kind: 'string';
  readonly minSize?: number;
  readonly maxSize?: number;
  /** Source of a regular expression (flag `u`) that the whole string has to match. */
  readonly regex?: string;
}

/** Exact numbers: `precision` digits in all, `scale` of them behind the point. Limits as text, as the values are. */
export interface DecimalTypeData {
  readonly kind: 'decimal';
  readonly precision: number;
  readonly scale: number;
  readonly min?: string;
  readonly max?: string;
}

/** The value in a record is a `Map`; its keys are of a type that has an order. */
export interface MapTypeData {
  readonly kind: 'map';
  readonly key: TypeData;
  readonly of: TypeData;
  readonly minSize?: number;
  readonly maxSize?: number;
}

export interface UnionTypeData {
  readonly kind: 'union';
  /** Each case by name, with its stable number. The value in a record is `{ case, value }`. */
  readonly cases: Readonly<Record<string, { readonly number: number; readonly type: TypeData }>>;
  readonly reservedNumbers: readonly number[];
  readonly reservedNames: readonly string[];
}

export interface EnumTypeData {
  readonly kind: 'enum';
  /** Name of each case to its stable number. The value in a record is the name. */
  readonly cases: Readonly<Record<string, number>>;
  readonly reservedNumbers: readonly number[];
  readonly reservedNames: readonly string[];
}

export type TypeKind = TypeData['kind'];

export interface PropertyData {
  readonly name: string;
  /** 1 to 536,870,911, never used again for anything else: records name properties by it. */
  readonly number: number;
  readonly type: TypeData;
  readonly required: boolean;
  /** What a record gets that is written without a value. As limits are: text for int64, milliseconds for timestamp. */
  readonly default?: string | number | boolean;
  /** Former names, sorted. */
  readonly alternativeNames: readonly string[];
}

/** What a root model and an embedded one have in common. */
export interface PropertiesData {
  /** Sorted by number. */
  readonly properties: readonly PropertyData[];
  /** Sorted. */
  readonly reservedNumbers: readonly number[];
  /** Sorted. */
  readonly reservedNames: readonly string[];
}

export interface IndexData {
  readonly name: string;
  /** At most one of them is a list: then each of its distinct elements has an entry. */
  readonly on: readonly { readonly property: string; readonly reversed: boolean }[];
  readonly unique: boolean;
}

export interface DefinitionData extends PropertiesData {
  readonly name: string;
  /** major.minor or major.minor.patch */
  readonly version: string;
  /** Names of the key properties, in key order. */
  readonly key: readonly string[];
  /** Sorted by name. */
  readonly indexes: readonly IndexData[];
  /** Every embedded definition reachable from this one, by name. */
  readonly embedded: Readonly<Record<string, EmbeddedData>>;
}

export interface EmbeddedData extends PropertiesData {
  readonly name: string;
}

/** A record, or an embedded one: values by property name. */
export type RecordData = Readonly<Record<string, unknown>>;

/**
 * The key shape of each model that may be referenced: the types of its key properties in key order. Known once all
 * models are registered together; a reference to a model that is absent here is checked for being a key at all.
 */
export type ReferenceKeys = Readonly<
  Record<string, readonly { readonly name: string; readonly type: TypeData }[]>
>;
