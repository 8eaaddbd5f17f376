import type { ApprovalResult } from '../../machines/migration.ts';
import { needsApproval, readApproval } from './approval.ts';
import { isStopping, readIntent } from './intent.ts';
import type { HeldMigration, ModelMigration } from './runtime.ts';
import { obeyBeforeStart } from './step-transitions.ts';
import { watchUntil } from './watch.ts';

/**
 * Waits under the lease, which beats meanwhile, until an operator has approved what was verified. A pause or a cancel is
 * obeyed at once. It only waits: the transaction that starts Contract reads the approval itself.
 *
 * @throws MigrationException LEASE_LOST
 */
export async function awaitApproval(migration: ModelMigration, held: HeldMigration): Promise<ApprovalResult> {
  if (!needsApproval(migration, held.state)) return { type: 'approved' };
  const { runtime, model, stop } = migration;
  const { keys } = model;
  const { lease, state } = held;
  for (;;) {
    const found = await watchUntil<'approved' | 'stopping'>({
      database: runtime.database,
      clock: runtime.clock,
      keys: [keys.approval, keys.intent, keys.owner],
      signal: AbortSignal.any([stop, lease.lost]),
      isAwaited: true,
      look: async (tx) => {
        const [approval, intent] = await Promise.all([
          readApproval(tx, keys, state.migrationId),
          readIntent(tx, keys, state.migrationId),
          lease.guard(tx),
        ]);
        if (isStopping(intent)) return 'stopping';
        return approval === undefined ? undefined : 'approved';
      },
    });
    if (lease.lost.aborted) throw lease.lost.reason;
    if (found === undefined) return { type: 'stopped' };
    if (found === 'approved') return { type: 'approved' };
    const obeyed = await obeyBeforeStart(migration, held);
    if (obeyed !== undefined) return obeyed;
  }
}
