import { ModelException } from '../errors.ts';
import type { Backfill } from '../migration/backfill-spec.ts';
import { areComposable, composeBackfills, runInOnePlace } from '../migration/backfill-spec.ts';
import type { MigrationHandlers } from '../migration/handlers.ts';
import { isBackfill } from '../migration/handlers.ts';
import { canBeComposed, pathTo } from '../migration/plan.ts';
import type { MigrationStep } from '../migration/step-spec.ts';
import { hashOf } from '../model/canonical.ts';
import { definitionData } from '../model/normalize.ts';
import type { ResolvedModel, ResolvedModels } from '../model/resolve.ts';
import type { ConfiguredModel, ConfiguredStep } from '../records/configured-model.ts';
import { createConfiguredModel } from '../records/configured-model.ts';
import type { StoreKeys } from '../records/keys.ts';
import type { CheckedOptions } from './options.ts';

/** The steps of one model, with the handlers of each. */
interface Chain {
  readonly steps: readonly (ConfiguredStep & { readonly handlers: MigrationHandlers })[];
}

export interface VersionChains {
  /** The registered models, with the ways that older databases take to them. */
  readonly models: readonly ConfiguredModel[];
  /** Of a step, or of several that are taken together; undefined for a model without a chain that leads there. */
  handlersFor(
    model: ConfiguredModel,
    target: ConfiguredModel,
    fromVersion: string,
  ): MigrationHandlers | undefined;
  /**
   * The whole way from a version as one transform, for records that were left behind on it, whether or not the steps were
   * taken together. Undefined where a step is written by hand, or they do not run in the same place.
   */
  backfillFrom(model: ConfiguredModel, fromVersion: string): Backfill | undefined;
}

/** @throws ModelException MODEL_UNKNOWN, OPTION_INVALID, MODEL_INVALID */
export function createVersionChains(
  { migrations = {}, composeMigrationSteps }: CheckedOptions,
  resolved: ResolvedModels,
  keys: StoreKeys,
): VersionChains {
  const given = new Map(Object.entries(migrations));
  const names = resolved.models.map(({ data }) => data.name);
  const unknown = [...given.keys()].filter((name) => !names.includes(name));
  if (unknown.length > 0) {
    throw new ModelException(
      'MODEL_UNKNOWN',
      `migrations names ${unknown.join(', ')}, which is no registered model; there are ${names.join(', ')}.`,
      { details: { option: 'migrations', models: unknown } },
    );
  }
  const chains = new Map<ConfiguredModel, Chain>();
  const models = resolved.models.map((model) => {
    const steps = given.get(model.data.name) ?? [];
    let chain: Chain = { steps: [] };
    const configured = createConfiguredModel(model, keys.model(model.id), resolved.referenceKeys, (self) => {
      chain = createChain(steps, model, self, keys, resolved, composeMigrationSteps);
      return chain.steps;
    });
    chains.set(configured, chain);
    return configured;
  });
  return {
    models,
    handlersFor(model, target, fromVersion) {
      const steps = chains.get(model)?.steps ?? [];
      const path = pathTo(model, fromVersion);
      // Such a way leads there at once only where it is taken in one pass, or was begun so.
      if (path !== undefined && target === model && canBeComposed(path)) {
        return composedHandlers(path, steps);
      }
      return steps.find((step) => step.model === target && step.from === fromVersion)?.handlers;
    },
    backfillFrom(model, fromVersion) {
      const steps = chains.get(model)?.steps ?? [];
      const path = pathTo(model, fromVersion) ?? [];
      const legs = legsOf(path, steps);
      const isWhole = legs.length > 0 && legs.length === path.length;
      return isWhole && runInOnePlace(legs.map((leg) => leg.backfill)) ? composeBackfills(legs) : undefined;
    },
  };
}

function createChain(
  steps: readonly MigrationStep[],
  model: ResolvedModel,
  configured: ConfiguredModel,
  keys: StoreKeys,
  { referenceKeys }: ResolvedModels,
  compose: boolean,
): Chain {
  const { name, version } = model.data;
  const byVersion = new Map<string, ConfiguredModel>([[version, configured]]);
  const modelOf = (step: MigrationStep): ConfiguredModel => {
    const known = byVersion.get(step.to);
    if (known !== undefined) return known;
    if (step.dataModel === undefined) {
      throw invalid(
        name,
        `the step from ${step.from} to ${step.to} needs the dataModel of version ${step.to}`,
      );
    }
    if (step.dataModel.name !== name) {
      throw invalid(name, `the step to ${step.to} has a dataModel of ${step.dataModel.name}`);
    }
    const data = definitionData(step.dataModel);
    const made = createConfiguredModel(
      { id: model.id, data, hash: hashOf(data) },
      keys.model(model.id),
      referenceKeys,
    );
    byVersion.set(step.to, made);
    return made;
  };
  const twice = steps.find(({ from }, at) => steps.findIndex((other) => other.from === from) !== at);
  if (twice !== undefined) throw invalid(name, `two steps begin at ${twice.from}`);
  return {
    steps: steps.map((step) => ({
      from: step.from,
      model: modelOf(step),
      isComposable: isBackfillAlone(step.handlers) && isComposableWithAll(step.handlers, steps),
      composes: compose,
      handlers: step.handlers,
    })),
  };
}

function isBackfillAlone({ expand, backfill, verify, contract }: MigrationHandlers): boolean {
  return [expand, verify, contract].every((handler) => handler === undefined) && isBackfill(backfill);
}

function isComposableWithAll({ backfill }: MigrationHandlers, steps: readonly MigrationStep[]): boolean {
  const all = [backfill, ...steps.map(({ handlers }) => handlers.backfill)].filter(isBackfill);
  return areComposable(all);
}

function composedHandlers(
  path: readonly ConfiguredStep[],
  steps: Chain['steps'],
): MigrationHandlers | undefined {
  const backfill = composeBackfills(legsOf(path, steps));
  return { expand: undefined, backfill, verify: undefined, contract: undefined };
}

function legsOf(path: readonly ConfiguredStep[], steps: Chain['steps']) {
  return path.flatMap((leg) => {
    const backfill = steps.find((step) => step.from === leg.from)?.handlers.backfill;
    const { data } = leg.model;
    return isBackfill(backfill) ? [{ backfill, target: { version: data.version, data } }] : [];
  });
}

function invalid(modelName: string, problem: string): ModelException {
  return new ModelException('OPTION_INVALID', `The migrations of ${modelName} are no chain: ${problem}.`, {
    details: { option: 'migrations', model: modelName },
  });
}
