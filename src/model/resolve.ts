import { ModelException } from '../errors.ts';
import { isModel } from './brand.ts';
import { canonicalJson, hashOf } from './canonical.ts';
import type { DefinitionData, EmbeddedData, PropertiesData, ReferenceKeys, TypeData } from './data.ts';
import type { AnyModel } from './define.ts';
import type { AnyModels } from './infer.ts';
import { duplicates } from './names.ts';
import { definitionData } from './normalize.ts';

/** A registered model in all the forms that the store needs. */
export interface ResolvedModel {
  readonly id: number;
  readonly definition: AnyModel;
  readonly data: DefinitionData;
  /** Of `data`; see `hashOf`. */
  readonly hash: string;
}

/** All registered models together, their references resolved. */
export interface ResolvedModels {
  /** By id, ascending. */
  readonly models: readonly ResolvedModel[];
  readonly referenceKeys: ReferenceKeys;
}

/**
 * Brings the registered models to their normal form and resolves the names between them.
 *
 * @throws ModelException MODEL_INVALID for ids that are no positive integers, values that are no models, names
 *   that occur twice, embedded definitions that contradict the registered model of their name, and keys that
 *   contain themselves. MODEL_UNKNOWN for references, other than weak ones, to a model that is not registered.
 *   Both list every problem in `details.problems`.
 */
export function resolveModels(modelsById: AnyModels): ResolvedModels {
  const problems: string[] = [];
  const models: ResolvedModel[] = [];
  for (const [text, definition] of Object.entries(modelsById)) {
    const id = Number(text);
    if (!Number.isSafeInteger(id) || id < 1 || String(id) !== text) {
      problems.push(`model id "${text}" is no positive integer`);
    }
    if (!isModel(definition)) {
      problems.push(`model ${text} was not made by defineModel`);
      continue;
    }
    try {
      const data = definitionData(definition);
      models.push({ id, definition, data, hash: hashOf(data) });
    } catch (error) {
      if (!(error instanceof ModelException)) throw error;
      problems.push(error.message);
    }
  }
  models.sort((left, right) => left.id - right.id);

  const names = models.map(({ data }) => data.name);
  problems.push(...duplicates(names).map((name) => `two models have the name "${name}"`));
  const byName = new Map(models.map((model) => [model.data.name, model]));
  problems.push(...models.flatMap(({ data }) => embeddedProblems(data, byName)));
  problems.push(...recursiveKeyProblems(byName));
  if (problems.length > 0) {
    throw new ModelException('MODEL_INVALID', `The models do not fit together: ${problems.join('; ')}.`, {
      details: { problems },
    });
  }
  refuseUnknown(models, byName);
  const referenceKeys = Object.fromEntries(models.map(({ data }) => [data.name, keyShape(data)]));
  return { models, referenceKeys };
}

/** The names, types and order of the key properties of a definition. */
export function keyShape(data: DefinitionData): ReferenceKeys[string] {
  return data.key.map((name) => {
    const property = data.properties.find((candidate) => candidate.name === name);
    if (property === undefined) throw new RangeError(`${data.name} has no property "${name}"`);
    return { name, type: property.type };
  });
}

/** A reference somewhere in a definition. */
export interface ReferenceUse {
  /** `Owner.property`, the owner being the model or what is embedded in it. */
  readonly path: string;
  readonly to: string;
  readonly weak: boolean;
}

/** Every reference in a definition, also inside lists and embedded definitions. */
export function referencesOf(data: DefinitionData): readonly ReferenceUse[] {
  const uses: ReferenceUse[] = [];
  const visit = (type: TypeData, path: string): void => {
    if (type.kind === 'list' || type.kind === 'set' || type.kind === 'map') visit(type.of, path);
    if (type.kind === 'map') visit(type.key, path);
    if (type.kind === 'union') for (const of of Object.values(type.cases)) visit(of.type, path);
    if (type.kind === 'reference') uses.push({ path, to: type.to, weak: type.weak });
  };
  const owners: readonly EmbeddedData[] = [data, ...Object.values(data.embedded)];
  for (const { name, properties } of owners) {
    for (const property of properties) visit(property.type, `${name}.${property.name}`);
  }
  return uses;
}

function refuseUnknown(models: readonly ResolvedModel[], byName: ReadonlyMap<string, ResolvedModel>): void {
  const unknown = models
    .flatMap(({ data }) => referencesOf(data))
    .filter(({ to, weak }) => !weak && !byName.has(to));
  if (unknown.length === 0) return;
  const problems = [...new Set(unknown.map(({ path, to }) => `${path} refers to "${to}"`))];
  throw new ModelException(
    'MODEL_UNKNOWN',
    `References to models that are not registered: ${problems.join('; ')}.`,
    { details: { problems, models: [...new Set(unknown.map(({ to }) => to))] } },
  );
}

/** What is embedded and registered under one name must be one definition. */
function embeddedProblems(data: DefinitionData, byName: ReadonlyMap<string, ResolvedModel>): string[] {
  return Object.values(data.embedded).flatMap((embedded) => {
    const registered = byName.get(embedded.name)?.data;
    if (registered === undefined) return [];
    const content = ({ properties, reservedNumbers, reservedNames }: PropertiesData) =>
      canonicalJson([properties, reservedNumbers, reservedNames]);
    return content(registered) === content(embedded)
      ? []
      : [`${data.name} embeds another definition of "${embedded.name}" than the registered one`];
  });
}

/** A key that refers to itself, directly or through others, has no value. */
function recursiveKeyProblems(byName: ReadonlyMap<string, ResolvedModel>): string[] {
  const targets = (name: string): string[] => {
    const model = byName.get(name);
    if (model === undefined) return [];
    return keyShape(model.data).flatMap(({ type }) => (type.kind === 'reference' ? [type.to] : []));
  };
  return [...byName.keys()].flatMap((start) => {
    const seen = new Set<string>();
    const waiting = targets(start);
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      if (name === start) return [`the key of ${start} contains a reference to itself`];
      if (!seen.has(name)) waiting.push(...targets(name));
      seen.add(name);
    }
    return [];
  });
}
