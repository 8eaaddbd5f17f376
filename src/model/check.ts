import type { AnyEmbedded, AnyModel, EmbeddedOptions, IndexOptions, ModelOptions } from './define.ts';
import { defaultableType, defaultProblem } from './check-default.ts';
import { isKeyKind } from './property.ts';
import type { Properties, Property, TypeSpec } from './property.ts';
import { typeProblems } from './check-type.ts';
import { duplicates, isPropertyNumber, nameProblems, versionPattern } from './names.ts';

/** What is wrong with a definition, each problem in words. Empty when nothing is. */

type AnyModelOptions = ModelOptions<string, Properties, readonly string[], readonly IndexOptions[]>;
type AnyEmbeddedOptions = EmbeddedOptions<string, Properties>;

/** The problems of what was passed to `defineModel`. */
export function modelProblems(options: AnyModelOptions): readonly string[] {
  const problems = [...embeddedProblems(options)];
  if (!versionPattern.test(options.version)) {
    problems.push('version must be major.minor or major.minor.patch, without leading zeros');
  }
  problems.push(...keyProblems(options), ...indexProblems(options));
  return problems;
}

/** The problems of what was passed to `defineEmbedded`. */
export function embeddedProblems(options: AnyEmbeddedOptions): readonly string[] {
  return [
    ...nameProblems('name', options.name),
    ...reservationProblems(options),
    ...identityProblems(options),
    ...Object.entries(options.properties).flatMap(([name, property]) => propertyProblems(name, property)),
    ...embeddedNameProblems(options),
  ];
}

function propertyProblems(name: string, property: Property): readonly string[] {
  const problems = nameProblems(`property "${name}"`, name);
  if (typeof property !== 'object' || property === null || !('type' in property)) {
    return [...problems, `property "${name}" must be made by string(), float64() or another type`];
  }
  if (property.number === undefined) {
    problems.push(`property "${name}" needs a number`);
  } else if (!isPropertyNumber(property.number)) {
    problems.push(`number of property "${name}" must be an integer from 1 to 536870911`);
  }
  for (const alternative of property.alternativeNames ?? []) {
    problems.push(...nameProblems(`alternative name "${alternative}" of property "${name}"`, alternative));
  }
  const ofType = typeProblems(`property "${name}"`, property.type);
  return [...problems, ...ofType, ...(ofType.length > 0 ? [] : defaultProblems(name, property))];
}

function defaultProblems(name: string, property: Property): string[] {
  if (!property.hasDefault) return [];
  const type = defaultableType(property.type);
  if (type === undefined) {
    return [`property "${name}" is of type ${property.type.kind}, which can have no default`];
  }
  const problem = defaultProblem(type, property.default);
  return problem === undefined ? [] : [`default of property "${name}" ${problem}`];
}

function reservationProblems({ reservedNumbers = [], reservedNames = [] }: AnyEmbeddedOptions): string[] {
  const problems = reservedNames.flatMap((name) => nameProblems(`reserved name "${name}"`, name));
  for (const number of reservedNumbers) {
    if (!isPropertyNumber(number)) problems.push('reserved numbers must be integers from 1 to 536870911');
  }
  problems.push(...duplicates(reservedNumbers).map((number) => `number ${number} is reserved twice`));
  problems.push(...duplicates(reservedNames).map((name) => `name "${name}" is reserved twice`));
  return problems;
}

/** Names and numbers of one definition against each other. */
function identityProblems(options: AnyEmbeddedOptions): string[] {
  const { properties, reservedNumbers = [], reservedNames = [] } = options;
  const entries = Object.entries(properties);
  const problems: string[] = [];
  const byNumber = new Map<number, string>();
  const byAlternative = new Map<string, string>();
  for (const [name, { number, alternativeNames = [] }] of entries) {
    const other = byNumber.get(number);
    if (other !== undefined && number !== undefined) {
      problems.push(`properties "${other}" and "${name}" have the same number ${number}`);
    }
    byNumber.set(number, name);
    if (reservedNumbers.includes(number)) problems.push(`number ${number} of property "${name}" is reserved`);
    if (reservedNames.includes(name)) problems.push(`name of property "${name}" is reserved`);
    for (const alternative of alternativeNames) {
      const of = `alternative name "${alternative}" of property "${name}"`;
      const owner = byAlternative.get(alternative);
      if (Object.hasOwn(properties, alternative)) problems.push(`${of} is the name of a property`);
      if (reservedNames.includes(alternative)) problems.push(`${of} is reserved`);
      if (owner !== undefined) problems.push(`${of} is an alternative name of property "${owner}" already`);
      byAlternative.set(alternative, name);
    }
  }
  return problems;
}

function keyProblems({ key, properties }: AnyModelOptions): string[] {
  if (key.length === 0) return ['key must name at least one property'];
  const problems = duplicates(key).map((name) => `key names property "${name}" twice`);
  for (const name of new Set(key)) {
    const property = Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (property === undefined) {
      problems.push(`key names property "${name}", which is not there`);
      continue;
    }
    if (!property.required) problems.push(`key property "${name}" must be required`);
    if (!isKeyKind(property.kind)) {
      problems.push(`key property "${name}" is of type ${property.kind}, which cannot stand in a key`);
    }
  }
  return problems;
}

function indexProblems({ indexes = [], properties }: AnyModelOptions): string[] {
  const names = indexes.map((index) => index.name);
  const problems = duplicates(names).map((name) => `index "${name}" is defined twice`);
  for (const { name, on } of indexes) {
    const label = `index "${name}"`;
    problems.push(...nameProblems(label, name));
    if (on.length === 0) problems.push(`${label} must be on at least one property`);
    const parts = on.map((part) => (typeof part === 'string' ? part : part.property));
    problems.push(...duplicates(parts).map((part) => `${label} names property "${part}" twice`));
    let lists = 0;
    for (const part of new Set(parts)) {
      const property = Object.hasOwn(properties, part) ? properties[part] : undefined;
      if (property === undefined) {
        problems.push(`${label} names property "${part}", which is not there`);
        continue;
      }
      const type: TypeSpec = property.type;
      const isMany = type.kind === 'list' || type.kind === 'set';
      if (isMany) lists += 1;
      const element = isMany ? type.of : type;
      if (!isKeyKind(element.kind)) {
        const text = isMany ? `${type.kind} of ${element.kind}` : type.kind;
        problems.push(`${label} names property "${part}" of type ${text}, which cannot stand in an index`);
      }
    }
    if (lists > 1)
      problems.push(`${label} names ${lists} lists or sets; at most one property of an index is one`);
  }
  return problems;
}

/** Embedded definitions are stored by name: two different ones of one name in one model would be one. */
function embeddedNameProblems(options: AnyEmbeddedOptions): string[] {
  const problems: string[] = [];
  const byName = new Map<string, AnyEmbedded | AnyModel>();
  const visit = (type: TypeSpec): void => {
    if (type.kind === 'list' || type.kind === 'set') return visit(type.of);
    if (type.kind === 'map') {
      visit(type.key);
      return visit(type.of);
    }
    if (type.kind === 'union') {
      for (const { type: of } of Object.values(type.cases)) visit(of);
      return;
    }
    if (type.kind !== 'embedded' || typeof type.model === 'symbol') return;
    const { model } = type;
    const known = byName.get(model.name);
    if (known === model) return;
    if (known !== undefined || model.name === options.name) {
      problems.push(`two different definitions of the name "${model.name}" are embedded in it or are itself`);
      return;
    }
    byName.set(model.name, model);
    for (const property of Object.values(model.properties)) visit(property.type);
  };
  for (const property of Object.values(options.properties)) {
    // What is no property at all has been reported as such.
    if (property?.type !== undefined && typeProblems('', property.type).length === 0) visit(property.type);
  }
  return problems;
}
