import type { PublishResult } from '../../machines/migration.ts';
import { MigrationException } from '../errors.ts';
import type { Transaction } from '../kv/kv.ts';
import type { StoredDefinition } from '../records/definitions.ts';
import { writeDefinition } from '../records/definitions.ts';
import type { Fence } from '../records/fence.ts';
import { fenceFormat, writeFence } from '../records/fence.ts';
import { addGarbage } from '../records/garbage.ts';
import type { MigrationAuditEvent } from './audit.ts';
import { isStopping, readIntent } from './intent.ts';
import { clearRanges } from './passes/ledger.ts';
import type { HeldMigration, ModelMigration } from './runtime.ts';
import { readState } from './state.ts';
import { recordObedience } from './step-transitions.ts';
import { auditEvent, recordInTransaction } from './transition.ts';

/**
 * The end: definition, fence, state cleared and audit event in one transaction. It reads the intent: of an operator's
 * cancel and this, whichever commits first wins, and the other learns it from the database.
 *
 * @throws MigrationException LEASE_LOST
 */
export async function publishMigration(
  migration: ModelMigration,
  held: HeldMigration,
): Promise<PublishResult> {
  const { runtime, model } = migration;
  const { keys } = model;
  const expected = held.state.revision;
  let events: readonly MigrationAuditEvent[] = [];
  const result = await runtime.database.transact(async (tx): Promise<'published' | 'intent'> => {
    const [fenceBytes, state, intent] = await Promise.all([
      tx.get(keys.fence),
      readState(tx, keys),
      readIntent(tx, keys, held.state.migrationId),
      held.lease.guard(tx),
    ]);
    const { fence, definition } = publicationOf(held);
    const isApplied = state === undefined && fenceBytes?.equals(fenceFormat.encode(fence)) === true;
    if (isApplied && tx.afterUnknownResult) return 'published';
    const isSame = state?.migrationId === held.state.migrationId && state.revision === expected;
    if (!isSame || fenceBytes?.equals(held.fence) !== true) throw changed(held);
    if (isStopping(intent)) return 'intent';
    await write(tx, migration, held, fence, definition);
    events = [auditEvent(migration, state, held.lease.epoch, { type: 'Completed' })];
    recordInTransaction(tx, migration, events, { completed: 1 });
    return 'published';
  });
  if (result === 'intent') return recordObedience(migration, held);
  runtime.events.committed(model, events);
  return { type: 'completed' };
}

async function write(
  tx: Transaction,
  { model: { keys } }: ModelMigration,
  held: HeldMigration,
  fence: Fence,
  definition: StoredDefinition,
): Promise<void> {
  writeDefinition(tx, keys, definition);
  await writeFence(tx, keys, fence);
  for (const key of [keys.state, keys.intent, keys.touched]) tx.clear(key);
  // It was for this migration alone.
  tx.clear(keys.approval);
  clearRanges(tx, keys);
  await addGarbage(tx, keys, leftBehind(held, definition));
}

/** What is published: the same whenever it is computed, so that a repeat knows itself. */
export function publicationOf({ stored, state }: Pick<HeldMigration, 'stored' | 'state'>): {
  readonly fence: Fence;
  readonly definition: StoredDefinition;
} {
  const { fence, current, definitions } = stored;
  if (state.kind === 'index') {
    const built = new Set(state.indexes.map(({ indexId }) => indexId));
    return {
      fence: { ...fence, schemaEpoch: fence.schemaEpoch + 1 },
      definition: {
        ...current,
        indexes: current.indexes.map((index) =>
          built.has(index.indexId) ? { ...index, state: 'ready' as const } : index,
        ),
      },
    };
  }
  const target = definitions.get(state.targetSchemaId);
  if (target === undefined) throw new Error(`the target of ${state.migrationId} has no definition`);
  return {
    fence: {
      ...fence,
      schemaEpoch: fence.schemaEpoch + 1,
      lineage: target.lineage,
      keySpace: state.targetKeySpace,
      schemaId: target.schemaId,
      state: 'ready',
      target: null,
      mixedSchemaIds: [],
      mixedKeySpaces: [],
    },
    definition: {
      ...target,
      published: true,
      indexes: state.indexes.map(({ name, indexId }) => ({ name, indexId, state: 'ready' as const })),
    },
  };
}

function leftBehind({ stored, state }: HeldMigration, definition: StoredDefinition) {
  if (state.kind === 'index') return [];
  const kept = new Set(definition.indexes.map(({ indexId }) => indexId));
  return [
    ...stored.current.indexes
      .filter(({ indexId }) => !kept.has(indexId))
      .map(({ indexId }) => ({ indexId, keySpace: 0 })),
    ...state.sourceKeySpaces
      .filter((keySpace) => keySpace !== state.targetKeySpace)
      .map((keySpace) => ({ indexId: 0, keySpace })),
  ];
}

function changed({ lease, state }: HeldMigration): MigrationException {
  return new MigrationException(
    'LEASE_LOST',
    `${state.migrationId} was changed by somebody else before epoch ${lease.epoch} could publish it.`,
    { details: { migrationId: state.migrationId, epoch: lease.epoch } },
  );
}
