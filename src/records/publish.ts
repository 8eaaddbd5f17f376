import type { Transaction } from '../kv/kv.ts';
import type { StoredDefinition, StoredIndex } from './definitions.ts';
import { writeDefinition } from './definitions.ts';
import type { Fence } from './fence.ts';
import { writeFence } from './fence.ts';
import type { ConfiguredModel } from './configured-model.ts';
import { addGarbage } from './garbage.ts';
import { rangeOf } from './keys.ts';

/** What stands in the database for a model after a publication. */
export interface Publication {
  readonly fence: Fence;
  readonly definition: StoredDefinition;
}

/** A model as the database has it. */
interface PublishedModel {
  readonly fence: Fence;
  readonly current: StoredDefinition;
  readonly definitions: ReadonlyMap<number, StoredDefinition>;
}

/**
 * Publishes a model that the database does not know yet, with all its indexes ready: there are no records to fill them
 * from. The caller reads the fence in the same transaction first, so that only one program does it.
 */
export async function publishNew(
  tx: Transaction,
  model: Pick<ConfiguredModel, 'data' | 'hash' | 'keys'>,
): Promise<Publication> {
  const { data, hash, keys } = model;
  const indexes = data.indexes.map(({ name }, at) => ({ name, indexId: at + 1, state: 'ready' as const }));
  const definition: StoredDefinition = {
    schemaId: 1,
    hash,
    version: data.version,
    lineage: 1,
    published: true,
    data,
    indexes,
  };
  const fence: Fence = {
    schemaEpoch: 1,
    lineage: 1,
    keySpace: 1,
    schemaId: definition.schemaId,
    state: 'ready',
    target: null,
    mixedSchemaIds: [],
    mixedKeySpaces: [],
    nextSchemaId: 2,
    nextIndexId: indexes.length + 1,
    nextKeySpace: 2,
  };
  writeDefinition(tx, keys, definition);
  await writeFence(tx, keys, fence);
  return { fence, definition };
}

/**
 * Publishes a definition that follows the published one compatibly: no record changes. Indexes that are new, or whose
 * entries changed, get ids of their own and are being built from now on: every writer in flight conflicts, and each
 * later one maintains them. Where there are no records they are ready at once.
 *
 * @param refill names of the indexes whose entries have to be written anew
 */
export async function publishChange(
  tx: Transaction,
  model: Pick<ConfiguredModel, 'data' | 'hash' | 'keys'>,
  stored: PublishedModel,
  refill: readonly string[],
): Promise<Publication> {
  const { keys } = model;
  const publication = await foreseeChange(tx, model, stored, refill);
  const { fence, definition } = publication;
  const ids = new Set(definition.indexes.map(({ indexId }) => indexId));
  const left = stored.current.indexes.filter(({ indexId }) => !ids.has(indexId));
  await addGarbage(
    tx,
    keys,
    left.map(({ indexId }) => ({ indexId, keySpace: 0 })),
  );
  writeDefinition(tx, keys, definition);
  await writeFence(tx, keys, fence);
  return publication;
}

/** The same without writing it: what will stand in the database. */
export async function foreseeChange(
  tx: Pick<Transaction, 'getRangeAll'>,
  { data, hash, keys }: Pick<ConfiguredModel, 'data' | 'hash' | 'keys'>,
  { fence, current, definitions }: PublishedModel,
  refill: readonly string[],
): Promise<Publication> {
  const known = [...definitions.values()].find((other) => other.hash === hash && !other.published);
  const { begin, end } = rangeOf(keys.records(fence.keySpace));
  const isEmpty = (await tx.getRangeAll(begin, end, { limit: 1 })).length === 0;
  let nextIndexId = fence.nextIndexId;
  const indexes = data.indexes.map(({ name }): StoredIndex => {
    const kept = refill.includes(name) ? undefined : current.indexes.find((index) => index.name === name);
    return kept ?? { name, indexId: nextIndexId++, state: isEmpty ? 'ready' : 'building' };
  });
  const definition: StoredDefinition = {
    schemaId: known?.schemaId ?? fence.nextSchemaId,
    hash,
    version: data.version,
    lineage: current.lineage,
    published: true,
    data,
    indexes,
  };
  const published: Fence = {
    ...fence,
    schemaEpoch: fence.schemaEpoch + 1,
    schemaId: definition.schemaId,
    nextSchemaId: Math.max(fence.nextSchemaId, definition.schemaId + 1),
    nextIndexId,
  };
  return { fence: published, definition };
}

/**
 * Gives the indexes that are being built new ids, under which they are built from nothing: what lies under the old ones
 * is not to be trusted. Writers in flight conflict, as with a publication.
 */
export async function renewBuildingIndexes(
  tx: Transaction,
  keys: ConfiguredModel['keys'],
  { fence, current }: { readonly fence: Fence; readonly current: StoredDefinition },
): Promise<void> {
  let nextIndexId = fence.nextIndexId;
  const indexes = current.indexes.map((index) =>
    index.state === 'building' ? { ...index, indexId: nextIndexId++ } : index,
  );
  const left = current.indexes.filter(({ state }) => state === 'building');
  await addGarbage(
    tx,
    keys,
    left.map(({ indexId }) => ({ indexId, keySpace: 0 })),
  );
  writeDefinition(tx, keys, { ...current, indexes });
  await writeFence(tx, keys, { ...fence, schemaEpoch: fence.schemaEpoch + 1, nextIndexId });
}
