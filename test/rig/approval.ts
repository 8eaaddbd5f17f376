import { expect } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationStatus } from '../../src/migration/status.ts';
import type { FoundationDBDataStore } from '../../src/store/store.ts';
import type { World } from './operators.ts';
import { toV2, TownV2, waitUntil } from './operators.ts';

/** A program that moves towns from 1.0 to 2.0, and asks an operator before Contract. */
export const manual = {
  dataModelsById: { 1: TownV2 },
  migrationHandler: backfill({ transform: toV2 }),
  migrationStartupBudgetMs: 0,
  continueMigrationsInBackground: true,
  migrationContractApproval: 'manual',
} as const;

/** Sees everything, and leads nothing. */
export const watching = { ...manual, migrationRole: 'wait', nodeId: 'operator' } as const;

const ended: ReadonlySet<MigrationStatus['state']> = new Set(['Idle', 'Failed', 'Canceled']);

/** Until a migration waits for an operator's word, whoever owns it. It is wrong where it ends without. */
export async function waitForApproval(
  store: Pick<FoundationDBDataStore, 'migrationStatus'>,
  modelId = 1,
): Promise<MigrationStatus> {
  let status: MigrationStatus | undefined;
  await waitUntil(`model ${modelId} waits for an approval`, async () => {
    status = await store.migrationStatus(modelId);
    return status.reason?.code === 'approval' || ended.has(status.state);
  });
  if (status === undefined) throw new Error('no status was read');
  expect(status).toMatchObject({ state: 'Waiting', reason: { code: 'approval' } });
  return status;
}

/** What lies in the approval's row of model 1. */
export const approvalRow = ({ database, keys }: Pick<World, 'database' | 'keys'>) =>
  database.transact((tx) => tx.get(keys.approval));

/** Phases of model 1 that were started, in order. */
export const startedPhases = ({ audit }: Pick<World, 'audit'>) =>
  audit.filter(({ type }) => type === 'PhaseStarted').map(({ phase }) => phase);
