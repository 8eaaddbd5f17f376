import { isBackfill } from '../migration/handlers.ts';
import { orderModels } from '../model/order.ts';
import { resolveModels } from '../model/resolve.ts';
import { createStoreKeys } from '../records/keys.ts';
import type { CoreParts } from './core.ts';
import { createHandlerLookup } from './model-handlers.ts';
import type { CheckedOptions } from './options.ts';
import { createVersionChains } from './version-chains.ts';

/** What a program is configured with, whatever database it meets. */
export type Program = Pick<
  CoreParts,
  'resolved' | 'models' | 'order' | 'keys' | 'handlersFor' | 'backfillFrom'
>;

/**
 * All that can be refused without a database.
 *
 * @throws ModelException OPTION_INVALID, MODEL_INVALID, MODEL_UNKNOWN
 * @throws MigrationException MIGRATION_CYCLE
 */
export function configureProgram(options: CheckedOptions): Program {
  const resolved = resolveModels(options.dataModelsById);
  const order = orderModels(resolved.models);
  const keys = createStoreKeys(options.subspace);
  const chains = createVersionChains(options, resolved, keys);
  const handlersOf = createHandlerLookup(
    options,
    resolved.models.map(({ data }) => data.name),
  );
  const handlersFor: Program['handlersFor'] = (model, target, fromVersion) =>
    chains.handlersFor(model, target, fromVersion) ?? handlersOf(model.name);
  const backfillFrom: Program['backfillFrom'] = (model, fromVersion) => {
    const { backfill } = handlersFor(model, model, fromVersion);
    return isBackfill(backfill) ? backfill : chains.backfillFrom(model, fromVersion);
  };
  return { resolved, models: chains.models, order, keys, handlersFor, backfillFrom };
}
