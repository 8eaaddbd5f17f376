import type { NotAcquired } from './acquire.ts';
import { haltOf } from './acquire.ts';
import { targetChanged } from './hindrance.ts';
import { planModel, readStoredModel } from './plan.ts';
import { migrationIdOf } from './read-status.ts';
import type { ModelMigration } from './runtime.ts';
import { readState } from './state.ts';
import { watchUntil } from './watch.ts';

/**
 * For a process that owns no migrations: waits until another has published, or until one stands still that only an
 * operator sets going again.
 */
export async function waitForOthers(
  migration: ModelMigration,
): Promise<NotAcquired | { readonly type: 'stopped' }> {
  const { runtime, configured, stop } = migration;
  const { keys } = configured;
  migration.reason ??= {
    code: 'lease',
    message: 'this process waits until another one has migrated it',
    sinceMs: runtime.clock.wallMs(),
  };
  const found = await watchUntil<NotAcquired>({
    database: runtime.database,
    clock: runtime.clock,
    keys: [keys.fence, keys.state],
    signal: stop,
    isAwaited: true,
    look: async (tx) => {
      const [stored, state] = await Promise.all([readStoredModel(tx, keys), readState(tx, keys)]);
      const plan = planModel(stored, configured);
      if (stored === undefined || plan.type === 'publish') return { type: 'publish' };
      if (plan.type === 'none') return { type: 'nothingToDo' };
      if (plan.type === 'targetChanged') {
        return {
          type: 'halted',
          as: 'failed',
          error: targetChanged(migration.model, plan.runningMigrationId),
        };
      }
      const halt = state?.migrationId === migrationIdOf(plan) ? haltOf(state) : undefined;
      return halt === undefined ? undefined : { type: 'halted', as: halt };
    },
  });
  return found ?? { type: 'stopped' };
}
