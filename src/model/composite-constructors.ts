import { build, sizeLimits } from './build-property.ts';
import type { SizeLimits } from './build-property.ts';
import type { AnyEmbedded, AnyModel } from './define.ts';
import type { KeyOfTarget, RecordOf } from './infer.ts';
import type { ElementOptions, ElementType, KeyKind, OptionalOptions, Property } from './property.ts';
import type { ReferenceTarget, RequiredOptions, Self, ValueIn } from './property.ts';

/** The types of properties that are made of other types, or lead to other models. */

export interface ListConstraints<Element extends ElementType> extends SizeLimits {
  readonly of: Element;
}

export interface EmbeddedConstraints<M> {
  /** Made by `defineEmbedded` or `defineModel`, or `self` for the definition that this property stands in. */
  readonly model: M;
}

export interface ReferenceConstraints<Target> {
  /** The model referred to: a definition, a thunk, or a name, which is resolved when the store is opened. */
  readonly to: Target;
  /** Orders no migrations, and its target may be missing. Default false. */
  readonly weak?: boolean | undefined;
}

/** An array whose elements are all of one type. */
export function list<E extends ElementType>(
  options: ListConstraints<E> & RequiredOptions,
): Property<readonly ValueIn<E>[], true, 'list', false>;
export function list<E extends ElementType>(
  options: ListConstraints<E> & OptionalOptions,
): Property<readonly ValueIn<E>[], false, 'list', false>;
export function list<E extends ElementType>(
  options: ListConstraints<E> & ElementOptions,
): ElementType<readonly ValueIn<E>[], 'list'>;
export function list(options: ListConstraints<ElementType>) {
  return build(options, { kind: 'list', of: options.of.type, ...sizeLimits(options) });
}

export interface SetConstraints<Element extends ElementType> extends SizeLimits {
  /** Of a type that has an order. */
  readonly of: Element;
}

type Ordered = ElementType<unknown, KeyKind>;

/** A `Set` whose elements are all of one type that has an order; equal values are one element. */
export function set<E extends Ordered>(
  options: SetConstraints<E> & RequiredOptions,
): Property<ReadonlySet<ValueIn<E>>, true, 'set', false>;
export function set<E extends Ordered>(
  options: SetConstraints<E> & OptionalOptions,
): Property<ReadonlySet<ValueIn<E>>, false, 'set', false>;
export function set<E extends Ordered>(
  options: SetConstraints<E> & ElementOptions,
): ElementType<ReadonlySet<ValueIn<E>>, 'set'>;
export function set(options: SetConstraints<ElementType>) {
  return build(options, { kind: 'set', of: options.of.type, ...sizeLimits(options) });
}

export interface MapConstraints<Key extends ElementType, Value extends ElementType> extends SizeLimits {
  /** Of a type that has an order. */
  readonly key: Key;
  readonly of: Value;
}

/** A `Map` from values of a type that has an order; equal keys are one key. */
export function map<K extends Ordered, V extends ElementType>(
  options: MapConstraints<K, V> & RequiredOptions,
): Property<ReadonlyMap<ValueIn<K>, ValueIn<V>>, true, 'map', false>;
export function map<K extends Ordered, V extends ElementType>(
  options: MapConstraints<K, V> & OptionalOptions,
): Property<ReadonlyMap<ValueIn<K>, ValueIn<V>>, false, 'map', false>;
export function map<K extends Ordered, V extends ElementType>(
  options: MapConstraints<K, V> & ElementOptions,
): ElementType<ReadonlyMap<ValueIn<K>, ValueIn<V>>, 'map'>;
export function map(options: MapConstraints<ElementType, ElementType>) {
  const { key, of } = options;
  return build(options, { kind: 'map', key: key.type, of: of.type, ...sizeLimits(options) });
}

/** A case of a union: its number stays with it for ever. */
export interface UnionCase<Element extends ElementType = ElementType> {
  /** 0 to 2,147,483,647. */
  readonly number: number;
  readonly of: Element;
}

type UnionCases = Readonly<Record<string, UnionCase>>;

export interface UnionConstraints<Cases> {
  readonly cases: Cases;
  /** Numbers of former cases. */
  readonly reservedNumbers?: readonly number[] | undefined;
  /** Names of former cases. */
  readonly reservedNames?: readonly string[] | undefined;
}

/** `{ case, value }` of one of the cases. */
export type UnionValue<C extends UnionCases> = {
  [Name in keyof C & string]: { readonly case: Name; readonly value: ValueIn<C[Name]['of']> };
}[keyof C & string];

/** A value of one of several types, with the name of its case. */
export function union<const C extends UnionCases>(
  options: UnionConstraints<C> & RequiredOptions,
): Property<UnionValue<C>, true, 'union', false>;
export function union<const C extends UnionCases>(
  options: UnionConstraints<C> & OptionalOptions,
): Property<UnionValue<C>, false, 'union', false>;
export function union<const C extends UnionCases>(
  options: UnionConstraints<C> & ElementOptions,
): ElementType<UnionValue<C>, 'union'>;
export function union(options: UnionConstraints<UnionCases>) {
  const { reservedNumbers = [], reservedNames = [] } = options;
  const cases = Object.fromEntries(
    Object.entries(options.cases).map(([name, { number, of }]) => [name, { number, type: of.type }]),
  );
  return build(options, { kind: 'union', cases, reservedNumbers, reservedNames });
}

type Embeddable = AnyModel | AnyEmbedded | Self;
type RecordEmbedded<M extends Embeddable> = M extends AnyModel | AnyEmbedded ? RecordOf<M> : Self;

/** A record inside the record. */
export function embedded<M extends Embeddable>(
  options: EmbeddedConstraints<M> & RequiredOptions,
): Property<RecordEmbedded<M>, true, 'embedded', false>;
export function embedded<M extends Embeddable>(
  options: EmbeddedConstraints<M> & OptionalOptions,
): Property<RecordEmbedded<M>, false, 'embedded', false>;
export function embedded<M extends Embeddable>(
  options: EmbeddedConstraints<M> & ElementOptions,
): ElementType<RecordEmbedded<M>, 'embedded'>;
export function embedded(options: EmbeddedConstraints<Embeddable>) {
  return build(options, { kind: 'embedded', model: options.model });
}

/** The key of a record of another model, or of the same. */
export function reference<T extends ReferenceTarget>(
  options: ReferenceConstraints<T> & RequiredOptions,
): Property<KeyOfTarget<T>, true, 'reference', false>;
export function reference<T extends ReferenceTarget>(
  options: ReferenceConstraints<T> & OptionalOptions,
): Property<KeyOfTarget<T>, false, 'reference', false>;
export function reference<T extends ReferenceTarget>(
  options: ReferenceConstraints<T> & ElementOptions,
): ElementType<KeyOfTarget<T>, 'reference'>;
export function reference(options: ReferenceConstraints<ReferenceTarget>) {
  return build(options, { kind: 'reference', to: options.to, weak: options.weak ?? false });
}
