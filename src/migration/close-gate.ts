import type { Transaction } from '../kv/kv.ts';
import { isKeyChanged } from '../model/compare.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { StoredDefinition } from '../records/definitions.ts';
import { writeDefinition } from '../records/definitions.ts';
import type { Fence } from '../records/fence.ts';
import { writeFence } from '../records/fence.ts';
import type { StoredModel } from './plan.ts';
import type { MigrationState, PlannedIndex } from './state.ts';

/** What a migration is to make of its model: chosen when the gate closes, the same until it is published. */
export type MigrationTarget = Pick<
  MigrationState,
  'targetSchemaId' | 'targetKeySpace' | 'sourceKeySpaces' | 'indexes'
>;

export interface ClosedGate {
  readonly target: MigrationTarget;
  readonly stored: StoredModel;
}

/**
 * Turns the fence to `migrating`, in the transaction that acquires the lease: a writer in flight conflicts, each later
 * one is refused.
 *
 * @param refill names of the indexes whose entries cannot be kept
 */
export async function closeGate(
  tx: Transaction,
  model: ConfiguredModel,
  stored: StoredModel,
  migrationId: string,
  refill: readonly string[],
): Promise<ClosedGate> {
  const { target, definition, closed } = chooseTarget(model, stored, migrationId, refill);
  writeDefinition(tx, model.keys, definition);
  await writeFence(tx, model.keys, closed);
  return { target, stored: withTarget(stored, { definition, closed }) };
}

/** The same without writing it: what will stand in the database once the gate is closed. */
export function foreseeClosedGate(
  model: ConfiguredModel,
  stored: StoredModel,
  migrationId: string,
  refill: readonly string[],
): ClosedGate {
  const { target, ...chosen } = chooseTarget(model, stored, migrationId, refill);
  return { target, stored: withTarget(stored, chosen) };
}

interface ChosenTarget {
  readonly target: MigrationTarget;
  readonly definition: StoredDefinition;
  readonly closed: Fence;
}

function withTarget(
  { current, definitions }: StoredModel,
  { definition, closed }: Pick<ChosenTarget, 'definition' | 'closed'>,
): StoredModel {
  const known = new Map([...definitions, [definition.schemaId, definition]]);
  return { fence: closed, current, definitions: known };
}

/** The target gets its schema id: the same for the same definition, so that its records are known again. */
function chooseTarget(
  model: ConfiguredModel,
  stored: StoredModel,
  migrationId: string,
  refill: readonly string[],
): ChosenTarget {
  const { fence, current, definitions } = stored;
  const known = [...definitions.values()].find(({ hash, published }) => hash === model.hash && !published);
  const schemaId = known?.schemaId ?? fence.nextSchemaId;
  const sourceKeySpaces = [fence.keySpace, ...fence.mixedKeySpaces];
  const movesKeys = isKeyChanged(current.data, model.data) || fence.mixedKeySpaces.length > 0;
  const keySpace = movesKeys ? fence.nextKeySpace : fence.keySpace;
  // Entries of records of a given-up target are not known well enough to be patched.
  const keepsEntries = !movesKeys && fence.mixedSchemaIds.length === 0;
  const indexes = planIndexes(model, current, fence, keepsEntries ? refill : undefined);

  const definition: StoredDefinition = {
    schemaId,
    hash: model.hash,
    version: model.data.version,
    lineage: current.lineage + 1,
    published: false,
    data: model.data,
    indexes: indexes.map(({ name, indexId, mode }) => ({
      name,
      indexId,
      state: mode === 'fill' ? 'building' : 'ready',
    })),
  };
  const closed: Fence = {
    ...fence,
    schemaEpoch: fence.schemaEpoch + 1,
    state: 'migrating',
    target: { migrationId, schemaId, keySpace },
    mixedSchemaIds: [...new Set([...fence.mixedSchemaIds, schemaId])],
    nextSchemaId: Math.max(fence.nextSchemaId, schemaId + 1),
    nextIndexId: fence.nextIndexId + indexes.filter(({ mode }) => mode === 'fill').length,
    nextKeySpace: movesKeys ? fence.nextKeySpace + 1 : fence.nextKeySpace,
  };
  return {
    target: { targetSchemaId: schemaId, targetKeySpace: keySpace, sourceKeySpaces, indexes },
    definition,
    closed,
  };
}

/** An index keeps its id, and is patched, only where the entries of a record that stays the same stay the same. */
function planIndexes(
  { data }: ConfiguredModel,
  current: StoredDefinition,
  { nextIndexId }: Fence,
  refill: readonly string[] | undefined,
): readonly PlannedIndex[] {
  let next = nextIndexId;
  return data.indexes.map(({ name, unique }) => {
    const stored = current.indexes.find((index) => index.name === name);
    const isKept = stored?.state === 'ready' && !unique && refill !== undefined && !refill.includes(name);
    return isKept
      ? { name, indexId: stored.indexId, mode: 'patch' }
      : { name, indexId: next++, mode: 'fill' };
  });
}
