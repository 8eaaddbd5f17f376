import { ModelException } from '../errors.ts';
import { isModel } from './brand.ts';
import type {
  DefinitionData,
  EmbeddedData,
  IndexData,
  PropertiesData,
  PropertyData,
  TypeData,
} from './data.ts';
import type { AnyEmbedded, AnyModel, IndexOptions } from './define.ts';
import type { Property, ReferenceTarget, TypeSpec } from './property.ts';

/**
 * The normal form of a definition: other definitions by name, everything without an order sorted. Two programs that
 * say the same in another order have the same normal form.
 *
 * @throws ModelException MODEL_INVALID when a thunk of a reference gives no model.
 */
export function definitionData(definition: AnyModel): DefinitionData {
  const embedded = new Map<string, EmbeddedData>();
  const properties = propertiesData(definition, embedded);
  return {
    name: definition.name,
    version: definition.version,
    key: [...definition.key],
    ...properties,
    indexes: definition.indexes.map(indexData).sort((left, right) => order(left.name, right.name)),
    embedded: Object.fromEntries([...embedded].sort(([left], [right]) => order(left, right))),
  };
}

/** Also collects the definitions embedded in it, each once. */
function propertiesData(owner: AnyEmbedded, embedded: Map<string, EmbeddedData>): PropertiesData {
  return {
    properties: Object.entries(owner.properties)
      .map(([name, property]) => propertyData(name, property, owner, embedded))
      .sort((left, right) => left.number - right.number),
    reservedNumbers: sorted(owner.reservedNumbers),
    reservedNames: sorted(owner.reservedNames),
  };
}

function propertyData(
  name: string,
  property: Property,
  owner: AnyEmbedded,
  embedded: Map<string, EmbeddedData>,
): PropertyData {
  const { number, required, alternativeNames, default: given } = property;
  const type = typeData(property.type, `${owner.name}.${name}`, owner, embedded);
  return {
    name,
    number,
    type,
    required,
    ...(given === undefined ? {} : { default: given }),
    alternativeNames: sorted(alternativeNames),
  };
}

function typeData(
  type: TypeSpec,
  path: string,
  owner: AnyEmbedded,
  embedded: Map<string, EmbeddedData>,
): TypeData {
  switch (type.kind) {
    case 'enum':
      return {
        kind: 'enum',
        cases: Object.fromEntries(Object.entries(type.cases).sort(([, left], [, right]) => left - right)),
        reservedNumbers: sorted(type.reservedNumbers),
        reservedNames: sorted(type.reservedNames),
      };
    case 'list':
    case 'set':
      return { ...type, of: typeData(type.of, path, owner, embedded) };
    case 'map':
      return {
        ...type,
        key: typeData(type.key, path, owner, embedded),
        of: typeData(type.of, path, owner, embedded),
      };
    case 'union':
      return {
        kind: 'union',
        cases: Object.fromEntries(
          Object.entries(type.cases)
            .sort(([, left], [, right]) => left.number - right.number)
            .map(([name, { number, type: of }]) => [
              name,
              { number, type: typeData(of, path, owner, embedded) },
            ]),
        ),
        reservedNumbers: sorted(type.reservedNumbers),
        reservedNames: sorted(type.reservedNames),
      };
    case 'embedded': {
      const model = typeof type.model === 'symbol' ? owner : type.model;
      if (!embedded.has(model.name)) {
        // Its place is taken first, so that recursion ends.
        embedded.set(model.name, {
          name: model.name,
          properties: [],
          reservedNumbers: [],
          reservedNames: [],
        });
        embedded.set(model.name, { name: model.name, ...propertiesData(model, embedded) });
      }
      return { kind: 'embedded', model: model.name };
    }
    case 'reference':
      return { kind: 'reference', to: targetName(type.to, path), weak: type.weak };
    case 'string':
    case 'boolean':
    case 'int32':
    case 'int64':
    case 'float64':
    case 'timestamp':
    case 'date':
    case 'decimal':
    case 'bytes':
      return { ...type };
  }
}

function targetName(to: ReferenceTarget, path: string): string {
  if (typeof to === 'string') return to;
  if (isModel(to)) return to.name;
  let target: unknown;
  let cause: unknown;
  try {
    target = to();
  } catch (error) {
    cause = error;
  }
  if (isModel(target)) return target.name;
  throw new ModelException(
    'MODEL_INVALID',
    `The function in reference ${path} gives no model; refer to it by name if modules import each other.`,
    { details: { property: path }, cause },
  );
}

function indexData({ name, on, unique = false }: IndexOptions): IndexData {
  const parts = on.map((part) =>
    typeof part === 'string'
      ? { property: part, reversed: false }
      : { property: part.property, reversed: part.reversed ?? false },
  );
  return { name, on: parts, unique };
}

function sorted<T extends number | string>(values: readonly T[]): T[] {
  return [...new Set(values)].sort(order);
}

/** By code units, the same in every locale. */
function order<T extends number | string>(left: T, right: T): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
