import type { DefinitionData, PropertyData, TypeData } from '../../../src/model/index.ts';

/** Makes compatible changes only; `choose` says for each possible one whether it is made. */
export function relaxed(data: DefinitionData, choose: () => boolean): DefinitionData {
  const properties = data.properties.map((property): PropertyData => {
    const isKey = data.key.includes(property.name);
    const isRenamed = !isKey && choose();
    const type = isKey ? property.type : relaxedType(property.type, choose);
    return {
      ...property,
      type,
      name: isRenamed ? `${property.name}New` : property.name,
      required: property.required && (isKey || !choose()),
      alternativeNames: isRenamed
        ? [...property.alternativeNames, property.name].sort()
        : property.alternativeNames,
    };
  });
  const names = new Map(data.properties.map(({ name }, at) => [name, properties[at]?.name ?? name]));
  const added: PropertyData = {
    name: 'added',
    number: 1_000,
    type: { kind: 'boolean' },
    required: false,
    alternativeNames: [],
  };
  const removed =
    choose() && data.indexes.length === 0
      ? properties.find(({ name }) => !data.key.includes(name))
      : undefined;
  return {
    ...data,
    properties: [...properties.filter((property) => property !== removed), ...(choose() ? [added] : [])],
    reservedNumbers: [...data.reservedNumbers, ...(removed ? [removed.number] : [])],
    reservedNames: [
      ...data.reservedNames,
      ...(removed ? [data.properties.find(({ number }) => number === removed.number)?.name ?? ''] : []),
    ],
    indexes: data.indexes.map((index) => ({
      ...index,
      on: index.on.map((part) => ({ ...part, property: names.get(part.property) ?? part.property })),
    })),
    embedded: Object.fromEntries(
      Object.entries(data.embedded).map(([name, owner]) => [
        name,
        {
          ...owner,
          properties: owner.properties.map((inner) => ({ ...inner, type: relaxedType(inner.type, choose) })),
        },
      ]),
    ),
  };
}

function relaxedType(type: TypeData, choose: () => boolean): TypeData {
  switch (type.kind) {
    case 'int32':
    case 'float64':
    case 'timestamp':
      return wider(type, choose, ['min', 'max']);
    case 'int64': {
      const { min, max } = wider({ min: toNumber(type.min), max: toNumber(type.max) }, choose, [
        'min',
        'max',
      ]);
      return {
        kind: 'int64',
        ...(min === undefined ? {} : { min: String(min) }),
        ...(max === undefined ? {} : { max: String(max) }),
      };
    }
    case 'string': {
      const { regex, ...rest } = wider(type, choose, ['minSize', 'maxSize']);
      return regex === undefined || choose() ? rest : { ...rest, regex };
    }
    case 'bytes':
      return wider(type, choose, ['minSize', 'maxSize']);
    case 'list':
      return { ...wider(type, choose, ['minSize', 'maxSize']), of: relaxedType(type.of, choose) };
    case 'enum':
      return choose() ? { ...type, cases: { ...type.cases, added: 100 } } : type;
    case 'reference':
      return { ...type, weak: type.weak || choose() };
    case 'set':
      return { ...wider(type, choose, ['minSize', 'maxSize']), of: relaxedType(type.of, choose) };
    case 'map':
      return { ...wider(type, choose, ['minSize', 'maxSize']), of: relaxedType(type.of, choose) };
    case 'union':
      return choose()
        ? { ...type, cases: { ...type.cases, added: { number: 100, type: { kind: 'boolean' } } } }
        : type;
    case 'date':
    case 'decimal': {
      const { min, ...without } = type;
      return min !== undefined && choose() ? without : type;
    }
    case 'boolean':
    case 'embedded':
      return type;
  }
}

function toNumber(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

/** The first of the limits lower by one, the second higher, or either of them gone. */
function wider<T extends object>(type: T, choose: () => boolean, [low, high]: readonly [string, string]): T {
  const entries = Object.entries(type).flatMap(([name, limit]: [string, unknown]) => {
    if ((name !== low && name !== high) || limit === undefined || !choose()) return [[name, limit]];
    if (choose()) return [];
    return [[name, Number(limit) + (name === low ? -1 : 1)]];
  });
  return Object.fromEntries(entries) as T;
}
