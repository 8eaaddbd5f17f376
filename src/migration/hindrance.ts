import { MigrationException } from '../errors.ts';
import { compareVersions } from '../model/names.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import { transformHash } from './backfill-spec.ts';
import type { MigrationHandlers } from './handlers.ts';
import { hasHandler, isBackfill } from './handlers.ts';
import type { ModelPlan, StoredModel } from './plan.ts';
import { isBegunInOnePass, targetVersionOf } from './plan.ts';
import type { MigrationState } from './state.ts';
import { adoptsTransform, isBegun, isHalted } from './state.ts';

/** What of a migration that others began keeps this program from its own. One place: owning and planning ask the same. */

/** A plan that moves something, and what is in the database beside it. */
export interface Standing {
  readonly plan: Extract<ModelPlan, { type: 'migrate' | 'index' }>;
  readonly stored: StoredModel;
  readonly state: MigrationState | undefined;
}

/** The persisted state, where it is about this plan and not left from another. */
export function ownState({ plan, state }: Pick<Standing, 'plan' | 'state'>): MigrationState | undefined {
  return state?.migrationId === plan.migrationId ? state : undefined;
}

/** Whether it was begun, and is to be gone on with. */
export function isHalfWay(standing: Standing): boolean {
  const { plan, stored } = standing;
  const own = ownState(standing);
  const isClosed =
    plan.type === 'index' ||
    (stored.fence.state === 'migrating' && stored.fence.target?.migrationId === plan.migrationId);
  return own !== undefined && isBegun(own) && isClosed;
}

/** @param handlers of this program, from the stored version to the plan's target */
export function othersInTheWay(
  standing: Standing & { readonly handlers: MigrationHandlers },
): MigrationException | undefined {
  const { plan, stored, state, handlers } = standing;
  if (plan.type !== 'migrate') return undefined;
  if (ownState(standing) === undefined && state !== undefined && isHalted(state)) {
    // Else two programs whose migrations fail before they change anything would take turns for ever.
    const isNewer = compareVersions(targetVersionOf(state.migrationId), plan.target.data.version) > 0;
    if (isNewer) return newerStandsStill(plan.target, state);
  }
  if (hasHandler(handlers) || !isBegunInOnePass(stored, plan.target)) return undefined;
  return stepsChanged(plan.target, plan.migrationId);
}

/** Where the program has another transform than whoever began, and records were moved by that one. */
export function otherTransform(
  model: ConfiguredModel,
  handlers: MigrationHandlers,
  existing: MigrationState,
  isTouched: boolean,
): MigrationException | undefined {
  const isOther =
    existing.transformHash !== ownTransformHash(handlers) && existing.transformHash !== adoptsTransform;
  if (!isOther || !isTouched || existing.kind !== 'migration') return undefined;
  return transformChanged(model, existing.migrationId);
}

/** Null for hand-written handlers. */
export function ownTransformHash({ backfill }: MigrationHandlers): string | null {
  return isBackfill(backfill) ? transformHash(backfill) : null;
}

function transformChanged(model: ConfiguredModel, runningMigrationId: string): MigrationException {
  return new MigrationException(
    'MIGRATION_TARGET_CHANGED',
    `${model.name} is half-way through ${runningMigrationId}, begun with another transform than this program has. ` +
      'Let the program that began it finish, or call resumeMigration from this one to go on with its transform; ' +
      'resetMigration begins anew.',
    { details: { modelId: model.id, modelName: model.name, runningMigrationId } },
  );
}

function newerStandsStill(
  model: ConfiguredModel,
  { migrationId, status }: MigrationState,
): MigrationException {
  return new MigrationException(
    'MIGRATION_TARGET_CHANGED',
    `${migrationId} leads to a newer version than this program has, and stands still: ${status}. ` +
      'Call resumeMigration from its own program, or resetMigration to give it up.',
    { details: { modelId: model.id, modelName: model.name, runningMigrationId: migrationId } },
  );
}

function stepsChanged(model: ConfiguredModel, runningMigrationId: string): MigrationException {
  return new MigrationException(
    'MIGRATION_TARGET_CHANGED',
    `${model.name} is half-way through ${runningMigrationId}, begun in one pass over steps that this program cannot ` +
      'take together. Let the program that began it finish, or call resetMigration from this one.',
    { details: { modelId: model.id, modelName: model.name, runningMigrationId } },
  );
}

export function targetChanged(model: ConfiguredModel, runningMigrationId: string): MigrationException {
  return new MigrationException(
    'MIGRATION_TARGET_CHANGED',
    `${model.name} is half-way through ${runningMigrationId}, begun to another definition than this program has. ` +
      'Let the program that began it finish, or call resetMigration from this one.',
    { details: { modelId: model.id, modelName: model.name, runningMigrationId } },
  );
}
