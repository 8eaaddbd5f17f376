import type {
  DefinitionData,
  EmbeddedData,
  IndexData,
  PropertyData,
  TypeData,
} from '../../../src/model/data.ts';

interface DefinitionParts {
  readonly version?: string;
  readonly key?: readonly string[];
  readonly indexes?: readonly IndexData[];
  readonly embedded?: Readonly<Record<string, EmbeddedData>>;
  readonly reservedNumbers?: readonly number[];
}

/** A definition in normal form: `[name, number, type]`, with `'optional'` behind where it may be absent. */
export function definition(
  properties: readonly (readonly [string, number, TypeData, 'optional'?])[],
  { version = '1.0', key = ['id'], indexes = [], embedded = {}, reservedNumbers = [] }: DefinitionParts = {},
): DefinitionData {
  return {
    name: 'City',
    version,
    key,
    indexes,
    embedded,
    properties: properties.map(property).sort((left, right) => left.number - right.number),
    reservedNumbers,
    reservedNames: [],
  };
}

export function embeddedDefinition(
  name: string,
  properties: readonly (readonly [string, number, TypeData, 'optional'?])[],
): EmbeddedData {
  return { name, properties: properties.map(property), reservedNumbers: [], reservedNames: [] };
}

export function index(name: string, on: readonly string[], unique = false): IndexData {
  const component = (property: string) =>
    property.startsWith('-')
      ? { property: property.slice(1), reversed: true }
      : { property, reversed: false };
  return { name, on: on.map(component), unique };
}

function property([name, number, type, optional]: readonly [
  string,
  number,
  TypeData,
  'optional'?,
]): PropertyData {
  return { name, number, type, required: optional === undefined, alternativeNames: [] };
}
