import { MigrationException } from '../errors.ts';
import { isKeyChanged } from '../model/compare.ts';
import type { Reason } from '../model/compare.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { MigrationHandlers } from './handlers.ts';
import { hasHandler, isBackfill } from './handlers.ts';
import type { StoredModel } from './plan.ts';
import { pathTo } from './plan.ts';
import type { ModelMigration } from './runtime.ts';

/** What is refused before any lease is taken or key written. */

export interface NeedyModel {
  readonly target: ConfiguredModel;
  readonly handlers: MigrationHandlers;
  readonly reasons: readonly Reason[];
}

/**
 * A chain of versions that does not reach the configured one from the stored one.
 *
 * @throws MigrationException MIGRATION_STEP_MISSING with the path that was looked for
 */
export function refuseMissingStep(model: ConfiguredModel, { fence, current }: StoredModel): void {
  if (model.steps.length === 0 || fence.target !== null) return;
  if (pathTo(model, current.version) !== undefined) return;
  const reached = [current.version];
  for (;;) {
    const next = model.steps.find(({ from }) => from === reached.at(-1))?.model.data.version;
    if (next === undefined || reached.includes(next)) break;
    reached.push(next);
  }
  const path = `${reached.join(' -> ')} -> ? -> ${model.data.version}`;
  throw new MigrationException(
    'MIGRATION_STEP_MISSING',
    `${model.name} is stored at version ${current.version}, and its migrations lead no further than ` +
      `${path}: a step from ${reached.at(-1) ?? ''} is missing. Nothing was written.`,
    { details: { modelId: model.id, modelName: model.name, reached, wanted: model.data.version } },
  );
}

/** @throws MigrationException MIGRATION_HANDLER_MISSING with every reason of every such model at once */
export function refuseMissingHandlers(needy: readonly NeedyModel[]): void {
  const missing = needy.filter(({ handlers }) => !hasHandler(handlers));
  if (missing.length === 0) return;
  const models = missing.map(({ target, reasons }) => ({
    modelId: target.id,
    modelName: target.name,
    version: target.data.version,
    reasons,
  }));
  const texts = models.map(
    ({ modelName, reasons }) => `${modelName} (${reasons.map(({ message }) => message).join('; ')})`,
  );
  throw new MigrationException(
    'MIGRATION_HANDLER_MISSING',
    `There is no handler for models that need migration: ${texts.join(', ')}. Nothing was written.`,
    { details: { models } },
  );
}

/**
 * Records of a version that the transform was not made for must not reach it: a migration that was reset leaves some.
 *
 * @throws MigrationException MIGRATION_MIXED_RECORDS
 */
export function refuseMixedRecords(
  { model, handlers }: Pick<ModelMigration, 'model' | 'handlers'>,
  { fence, current, definitions }: StoredModel,
): void {
  if (!isBackfill(handlers.backfill)) return;
  const accepted = handlers.backfill.accepts ?? [current.version];
  const mixed = fence.mixedSchemaIds.flatMap((schemaId) => {
    const definition = definitions.get(schemaId);
    // Records that are of the target already are never transformed.
    return definition === undefined || definition.hash === model.hash ? [] : [definition.version];
  });
  const refused = [...new Set([current.version, ...mixed])].filter((version) => !accepted.includes(version));
  if (refused.length === 0) return;
  throw new MigrationException(
    'MIGRATION_MIXED_RECORDS',
    `${model.name} has records of version ${refused.join(' and ')}, which its transform does not accept ` +
      `(${accepted.join(', ')}). Declare them: backfill({ accepts: [...] }), and tell them apart by context.from.`,
    { details: { modelId: model.id, modelName: model.name, refused, accepted } },
  );
}

/**
 * References hold keys: they would all point nowhere.
 *
 * @param referencedBy names of the models that refer to it, not weakly, without itself
 * @throws MigrationException KEY_CHANGE_REFERENCED
 */
export function refuseReferencedKeyChange(
  model: ConfiguredModel,
  { current }: StoredModel,
  referencedBy: readonly string[],
): void {
  if (referencedBy.length === 0 || !isKeyChanged(current.data, model.data)) return;
  throw new MigrationException(
    'KEY_CHANGE_REFERENCED',
    `The key of ${model.name} would change, but ${referencedBy.join(', ')} refers to it. ` +
      'Move the records to a new model, or make the references weak.',
    { details: { modelId: model.id, modelName: model.name, referencedBy } },
  );
}
