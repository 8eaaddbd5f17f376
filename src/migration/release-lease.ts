import { MigrationException } from '../errors.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { MigrationAuditEvent } from './audit.ts';
import type { LeaseExplanation } from './lease.ts';
import type { OperatorCall } from './operators.ts';
import type { OperatorRuntime } from './runtime.ts';
import { auditEvent, recordInTransaction } from './transition.ts';

/**
 * Ends the ownership of whoever has it, in one transaction with its audit event: nothing that one does commits from then
 * on, and whoever comes first is the next owner, the same process perhaps. Undefined when nobody held it.
 *
 * @throws MigrationException LEASE_NOT_RELEASABLE
 */
export async function releaseLease(
  runtime: OperatorRuntime,
  model: ConfiguredModel,
  { by, reason }: OperatorCall,
): Promise<LeaseExplanation | undefined> {
  const { lease } = runtime;
  if (lease.forceRelease === undefined) {
    throw new MigrationException(
      'LEASE_NOT_RELEASABLE',
      `The lease of ${model.name} is the application's own, and it has no forceRelease.`,
      { details: { modelId: model.id, modelName: model.name } },
    );
  }
  let events: readonly MigrationAuditEvent[] = [];
  const displaced = await lease.forceRelease({
    modelId: model.id,
    record: (tx, holder) => {
      const about = { migrationId: holder.migrationId, phase: 'Expand', attempt: 0 } as const;
      const message = `taken from ${holder.nodeId}: ${reason} (by ${by})`;
      events = [auditEvent({ runtime, model }, about, holder.epoch, { type: 'LeaseRejected', message })];
      recordInTransaction(tx, { runtime, model }, events, {});
    },
  });
  if (displaced !== undefined) runtime.events.committed(model, events);
  return displaced;
}
