import type { MigrationException } from '../errors.ts';
import type { Halt } from '../../machines/migration.ts';
import type { Transaction } from '../kv/kv.ts';
import type { StoredDefinition } from '../records/definitions.ts';
import { fenceFormat } from '../records/fence.ts';
import type { MigrationAuditEvent } from './audit.ts';
import { approvalSinceOf } from './approval.ts';
import { closeGate } from './close-gate.ts';
import {
  isHalfWay,
  otherTransform,
  othersInTheWay,
  ownState,
  ownTransformHash,
  targetChanged,
} from './hindrance.ts';
import type { LeaseGrant, LeaseHandle, LeaseRefused } from './lease.ts';
import { clearRanges } from './passes/ledger.ts';
import type { ModelPlan, StoredModel } from './plan.ts';
import { planModel, readStoredModel } from './plan.ts';
import { refuseMissingHandlers, refuseMissingStep, refuseMixedRecords } from './preflight.ts';
import type { HeldMigration, ModelMigration } from './runtime.ts';
import type { MigrationState, PlannedIndex } from './state.ts';
import { createState, isBegun, readState, writeState } from './state.ts';
import { termsOf } from './terms.ts';
import { auditEvent, recordInTransaction } from './transition.ts';

/** What one attempt to own a model's migration found. */
export type Acquisition =
  | { readonly type: 'granted'; readonly held: HeldMigration }
  | { readonly type: 'refused'; readonly refused: LeaseRefused }
  | NotAcquired;

export type NotAcquired =
  | { readonly type: 'nothingToDo' }
  /** The definition only has to be published. */
  | { readonly type: 'publish' }
  | { readonly type: 'halted'; readonly as: Halt; readonly error?: MigrationException };

interface Prepared {
  readonly type: 'granted';
  readonly state: MigrationState;
  readonly stored: StoredModel;
  readonly fence: Buffer;
  readonly events: readonly MigrationAuditEvent[];
}

/**
 * Acquires the lease and, in the same transaction, compares again and closes the gate (protocol 2): the plan that led
 * here may be out of date, and what another node finished meanwhile must not be done again.
 */
export async function acquireMigration(migration: ModelMigration): Promise<Acquisition> {
  const { runtime, model } = migration;
  let prepared: Prepared | undefined;
  const prepare = async (tx: Transaction, grant: LeaseGrant): Promise<void> => {
    const found = await prepareOwnership(tx, migration, grant);
    if (found.type !== 'granted') throw new NotToBeAcquired(found);
    prepared = found;
  };
  let lease: LeaseHandle | LeaseRefused;
  try {
    lease = await runtime.lease.acquire({
      modelId: model.id,
      migrationId: migration.migrationId,
      nodeId: runtime.nodeId,
      signal: migration.stop,
      prepare,
    });
    if (lease.refused === true) return { type: 'refused', refused: lease };
    if (prepared === undefined) prepared = await prepareUnder(lease, migration);
  } catch (error) {
    if (error instanceof NotToBeAcquired) return error.found;
    throw error;
  }
  const { state, stored, fence, events } = prepared;
  const { migrationId } = state;
  const logger = runtime.loggerFor({ model: model.name, migrationId, epoch: lease.epoch });
  const held: HeldMigration = { lease, logger, state, stored, fence, isFresh: true };
  runtime.events.committed(model, events);
  return { type: 'granted', held };
}

/** For a lease that decides who, and leaves the transaction to us. */
async function prepareUnder(lease: LeaseHandle, migration: ModelMigration): Promise<Prepared> {
  const { runtime } = migration;
  try {
    return await runtime.database.transact(async (tx) => {
      await lease.guard(tx);
      const found = await prepareOwnership(tx, migration, lease);
      if (found.type !== 'granted') throw new NotToBeAcquired(found);
      return found;
    });
  } catch (error) {
    await lease.release();
    throw error;
  }
}

/** Ends the transaction without the ownership. */
class NotToBeAcquired extends Error {
  readonly found: NotAcquired;

  constructor(found: NotAcquired) {
    super('there is nothing to own');
    this.name = 'NotToBeAcquired';
    this.found = found;
  }
}

async function prepareOwnership(
  tx: Transaction,
  migration: ModelMigration,
  grant: LeaseGrant,
): Promise<Prepared | NotAcquired> {
  const { keys } = migration.configured;
  const [stored, state, touched] = await Promise.all([
    readStoredModel(tx, keys),
    readState(tx, keys),
    tx.get(keys.touched),
  ]);
  const plan = planModel(stored, migration.configured);
  if (stored === undefined || plan.type === 'publish') return { type: 'publish' };
  if (plan.type === 'none') return { type: 'nothingToDo' };
  if (plan.type === 'targetChanged') {
    return { type: 'halted', as: 'failed', error: targetChanged(migration.model, plan.runningMigrationId) };
  }
  migration.model = plan.target;
  migration.handlers = migration.handlersFor(plan.target, stored.current.version);
  const existing = ownState({ plan, state });
  const halt = existing === undefined ? undefined : haltOf(existing);
  if (halt !== undefined) return { type: 'halted', as: halt };
  const { handlers } = migration;
  const error = othersInTheWay({ plan, stored, state, handlers });
  if (error !== undefined) return { type: 'halted', as: 'failed', error };
  // What was there when the store was opened may have changed: other handlers are needed now, and there may be none.
  if (plan.type === 'migrate') {
    refuseMissingStep(migration.configured, stored);
    refuseMissingHandlers([{ target: plan.target, handlers, reasons: plan.reasons }]);
  }
  if (existing !== undefined && isHalfWay({ plan, stored, state })) {
    return goOn(tx, migration, { existing, stored, grant, isTouched: touched !== undefined });
  }
  return begin(tx, migration, plan, stored, existing, grant);
}

/** Where a crash, a takeover or an operator's resume left off. */
function goOn(
  tx: Transaction,
  migration: ModelMigration,
  {
    existing,
    stored,
    grant,
    isTouched,
  }: { existing: MigrationState; stored: StoredModel; grant: LeaseGrant; isTouched: boolean },
): Prepared | NotAcquired {
  const error = otherTransform(migration.model, migration.handlers, existing, isTouched);
  if (error !== undefined) return { type: 'halted', as: 'failed', error };
  const isStartTakenBack = migration.startToTakeBack === existing.revision;
  return granted(tx, migration, grant, stored, false, {
    ...existing,
    attempt: isStartTakenBack ? Math.max(0, existing.attempt - 1) : existing.attempt,
    transformHash: ownTransformHash(migration.handlers),
    revision: existing.revision + 1,
  });
}

async function begin(
  tx: Transaction,
  migration: ModelMigration,
  plan: Extract<ModelPlan, { type: 'migrate' | 'index' }>,
  stored: StoredModel,
  existing: MigrationState | undefined,
  grant: LeaseGrant,
): Promise<Prepared> {
  const { model } = migration;
  clearRanges(tx, model.keys);
  const isNew = existing === undefined || !isBegun(existing);
  const common = {
    migrationId: plan.migrationId,
    revision: (existing?.revision ?? 0) + 1,
    intentRevision: existing?.intentRevision ?? 0,
    transformHash: ownTransformHash(migration.handlers),
  };
  if (plan.type === 'index') {
    const { fence, current } = stored;
    const target = {
      targetSchemaId: current.schemaId,
      targetKeySpace: fence.keySpace,
      sourceKeySpaces: [fence.keySpace],
      indexes: buildingIndexes(current),
    };
    const state = createState({ ...common, ...target, kind: 'index', phase: 'Backfill' });
    return granted(tx, migration, grant, stored, isNew, state);
  }
  refuseMixedRecords(migration, stored);
  const closed = await closeGate(tx, model, stored, plan.migrationId, plan.indexes);
  const state = createState({ ...common, ...closed.target, kind: 'migration', phase: 'Expand' });
  return granted(tx, migration, grant, closed.stored, isNew, state);
}

function granted(
  tx: Transaction,
  migration: ModelMigration,
  { epoch, takeover, displacedSession }: LeaseGrant,
  stored: StoredModel,
  isNew: boolean,
  state: MigrationState,
): Prepared {
  if (displacedSession !== undefined) migration.runtime.sessions.presumeOver(displacedSession);
  const agreed: MigrationState = {
    ...state,
    terms: termsOf(migration),
    approvalSinceMs: approvalSinceOf(migration, state),
  };
  writeState(tx, migration.model.keys, agreed);
  const message = takeover ? 'taken over' : null;
  const events = [auditEvent(migration, agreed, epoch, { type: 'LeaseAcquired', message })];
  recordInTransaction(tx, migration, events, { started: isNew ? 1 : 0, takeovers: takeover ? 1 : 0 });
  return { type: 'granted', state: agreed, stored, fence: fenceFormat.encode(stored.fence), events };
}

function buildingIndexes({ indexes }: StoredDefinition): readonly PlannedIndex[] {
  return indexes
    .filter(({ state }) => state === 'building')
    .map(({ name, indexId }) => ({ name, indexId, mode: 'fill' }));
}

export function haltOf({ status }: MigrationState): Halt | undefined {
  switch (status) {
    case 'Paused':
      return 'paused';
    case 'Canceled':
      return 'canceled';
    case 'Failed':
      return 'failed';
    case 'Running':
    case 'Partial':
    case 'Retry':
      return undefined;
  }
}
