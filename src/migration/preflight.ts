import { MigrationException } from '../errors.ts';
import { isKeyChanged } from '../model/compare.ts';
import type { Reason } from '../model/compare.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import { hasHandler, isBackfill } from './handlers.ts';
import type { StoredModel } from './plan.ts';
import type { ModelMigration } from './runtime.ts';

/** What is refused before any lease is taken or key written. */

export interface NeedyModel {
  readonly migration: Pick<ModelMigration, 'model' | 'handlers'>;
  readonly reasons: readonly Reason[];
}

/** @throws MigrationException MIGRATION_HANDLER_MISSING with every reason of every such model at once */
export function refuseMissingHandlers(needy: readonly NeedyModel[]): void {
  const missing = needy.filter(({ migration }) => !hasHandler(migration.handlers));
  if (missing.length === 0) return;
  const models = missing.map(({ migration: { model }, reasons }) => ({
    modelId: model.id,
    modelName: model.name,
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
