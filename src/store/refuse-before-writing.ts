import { MigrationException } from '../errors.ts';
import type { MigrationHandlers } from '../migration/handlers.ts';
import { isBackfill } from '../migration/handlers.ts';
import { createTransformSetups } from '../migration/passes/transform-setups.ts';
import type { ModelPlan, StoredModel } from '../migration/plan.ts';
import { isBegunInOnePass, pathTo } from '../migration/plan.ts';
import {
  refuseMissingHandlers,
  refuseMissingStep,
  refuseMixedRecords,
  refuseReferencedKeyChange,
} from '../migration/preflight.ts';
import type { MigrationRuntime } from '../migration/runtime.ts';
import { createState } from '../migration/state.ts';
import type { Reason } from '../model/compare.ts';
import { compareModels } from '../model/compare.ts';
import { referencesOf } from '../model/resolve.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import { checkTransform, legSetups } from '../records/load-transform.ts';
import type { StoreCore } from './core.ts';

/** A model as `open` found it. */
export interface Survey {
  readonly model: ConfiguredModel;
  readonly stored: StoredModel | undefined;
  readonly plan: ModelPlan;
}

/** One migration that lies ahead of a model: of a chain of versions there are several. */
interface Ahead {
  readonly target: ConfiguredModel;
  /** What the database will hold when it begins. */
  readonly stored: StoredModel;
  readonly handlers: MigrationHandlers;
  readonly reasons: readonly Reason[];
}

/** All that can be known to go wrong, before a key is written: the database stays as it was. */
export async function refuseBeforeWriting(core: StoreCore, surveyed: readonly Survey[]): Promise<void> {
  const { models, runtime } = core;
  // Another process does it, with handlers of its own.
  if (runtime.role === 'wait') return;
  for (const { model, stored, plan } of surveyed) {
    if (plan.type === 'migrate' && stored !== undefined) refuseMissingStep(model, stored);
  }
  const ahead = surveyed.flatMap((one) => migrationsAhead(core, one));
  // Those that were begun in one pass fail by themselves where they cannot go on: an operator needs the store to reset.
  refuseMissingHandlers(ahead.filter(({ target, stored }) => !isBegunInOnePass(stored, target)));
  for (const { target, stored, handlers } of ahead) {
    refuseReferencedKeyChange(target, stored, referringTo(target, models));
    refuseMixedRecords({ model: target, handlers }, stored);
  }
  await Promise.all(ahead.map((one) => refuseUnfitTransform(runtime, one)));
}

function migrationsAhead(core: StoreCore, { model, stored, plan }: Survey): Ahead[] {
  if (plan.type !== 'migrate' || stored === undefined) return [];
  const { target, reasons } = plan;
  const first: Ahead = {
    target,
    stored,
    reasons,
    handlers: core.handlersFor(model, target, stored.current.version),
  };
  if (target === model) return [first];
  const ahead = [first];
  let before = publishedAs(stored, target);
  for (const step of pathTo(model, target.data.version) ?? []) {
    const comparison = compareModels({ current: before.current, earlier: [] }, step.model);
    if (comparison.type === 'NeedsMigration') {
      const handlers = core.handlersFor(model, step.model, before.current.version);
      ahead.push({ target: step.model, stored: before, handlers, reasons: comparison.reasons });
    }
    before = publishedAs(stored, step.model);
  }
  return ahead;
}

/** The database as it will be once a step of a chain is published. */
function publishedAs({ fence }: StoredModel, { data, hash }: ConfiguredModel): StoredModel {
  const current = {
    schemaId: 1,
    hash,
    version: data.version,
    lineage: 1,
    published: true,
    data,
    indexes: [],
  };
  const published = { ...fence, schemaId: 1, state: 'ready' as const, target: null, mixedSchemaIds: [] };
  return { fence: published, current, definitions: new Map([[1, current]]) };
}

function referringTo(model: ConfiguredModel, models: readonly ConfiguredModel[]): readonly string[] {
  return models
    .filter(({ name }) => name !== model.name)
    .filter(({ data }) => referencesOf(data).some(({ to, weak }) => to === model.name && !weak))
    .map(({ name }) => name);
}

/** Loads modules in a worker thread, where they will run. @throws MigrationException TRANSFORM_INVALID */
async function refuseUnfitTransform(
  runtime: MigrationRuntime,
  { target, stored, handlers }: Ahead,
): Promise<void> {
  if (!isBackfill(handlers.backfill)) return;
  const { fence } = stored;
  const state = createState({
    migrationId: '',
    kind: 'migration',
    revision: 0,
    phase: 'Expand',
    // Nothing is numbered yet: the records of a half-way migration to the same target have its schema id.
    targetSchemaId: fence.target?.schemaId ?? fence.nextSchemaId,
    targetKeySpace: fence.keySpace,
    sourceKeySpaces: [fence.keySpace],
    indexes: [],
    transformHash: null,
    intentRevision: 0,
  });
  const [setup] = createTransformSetups({ runtime, model: target }, stored, state, handlers.backfill);
  if (setup === undefined) return;
  const { work } = handlers.backfill;
  const works = work.type === 'composed' ? work.legs.map((leg) => leg.work) : [work];
  legSetups(setup).forEach((leg, at) => {
    const one = works[at];
    if (one?.type === 'inline' && one.definition !== undefined) checkTransform(leg, one.definition);
  });
  if (!works.some(({ type }) => type === 'module')) return;
  const answer = await runtime.pool.run({ kind: 'check', setup });
  if (answer.kind === 'checked') return;
  const message = 'message' in answer ? answer.message : 'The worker answered another question.';
  throw new MigrationException('TRANSFORM_INVALID', message, {
    details: { modelId: target.id, modelName: target.name },
  });
}
