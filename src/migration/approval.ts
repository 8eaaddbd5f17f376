import type { Transaction } from '../kv/kv.ts';
import type { ModelKeys } from '../records/keys.ts';
import { createRowFormat, isCount, isString } from '../records/row.ts';
import type { ModelMigration } from './runtime.ts';
import type { MigrationState } from './state.ts';
import { cutMessage } from './state.ts';

/** Whether Contract begins by itself once Verify has passed, or waits until an operator approves. */
export type ContractApproval = 'automatic' | 'manual';

/**
 * An operator's word that what was verified may be contracted and published. A row of its own, because only the owner writes
 * the state, and operators are on any node. It speaks of the verification that has passed: whatever verifies anew clears it
 * first, and so do a cancel, a reset and the publication.
 */
export interface Approval {
  readonly migrationId: string;
  /** Of the call that wrote it: how a call knows itself after an unknown result. */
  readonly id: string;
  readonly by: string;
  readonly reason: string;
  readonly atMs: number;
}

const approvalFormat = createRowFormat<Approval>('approval', {
  migrationId: isString,
  id: isString,
  by: isString,
  reason: isString,
  atMs: isCount,
});

/** The approval of this migration, if there is one: that of another one is nothing to it. */
export async function readApproval(
  tx: Transaction,
  keys: ModelKeys,
  migrationId: string,
): Promise<Approval | undefined> {
  const approval = approvalFormat.parseOptional(await tx.get(keys.approval));
  return approval?.migrationId === migrationId ? approval : undefined;
}

/** Texts are cut, as those of an intent. */
export function writeApproval(tx: Transaction, keys: ModelKeys, approval: Approval): void {
  const { by, reason } = approval;
  const written = { ...approval, by: cutMessage(by), reason: cutMessage(reason) };
  tx.set(keys.approval, approvalFormat.encode(written));
}

/** Verify has passed, and Contract has not: what an approval is about. */
export function isApprovable({ kind, phase, phaseCompleted }: MigrationState): boolean {
  if (kind !== 'migration') return false;
  return phase === 'Verify' ? phaseCompleted : phase === 'Contract' && !phaseCompleted;
}

/** Whether the owner of this process may begin Contract only with an approval. An added index has no Contract. */
export function needsApproval({ runtime }: ModelMigration, { kind }: MigrationState): boolean {
  return runtime.contractApproval === 'manual' && kind === 'migration';
}

/** What the state says of the approval once this process owns the migration, or has completed a phase of it. */
export function approvalSinceOf(migration: ModelMigration, state: MigrationState): number | undefined {
  if (!needsApproval(migration, state) || !isApprovable(state)) return undefined;
  return state.approvalSinceMs ?? migration.runtime.clock.wallMs();
}

/** For the audit, and the status while Contract runs. */
export function describeApproval({ by, reason }: Approval, { unverified }: MigrationState): string {
  return `approved by ${by}: ${reason}${unverified === true ? ' (nothing was verified)' : ''}`;
}
