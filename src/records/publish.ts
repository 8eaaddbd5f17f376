import type { Transaction } from '../kv/kv.ts';
import type { StoredDefinition } from './definitions.ts';
import { writeDefinition } from './definitions.ts';
import type { Fence } from './fence.ts';
import { writeFence } from './fence.ts';
import type { ConfiguredModel } from './configured-model.ts';

/** What stands in the database for a model after a publication. */
export interface Publication {
  readonly fence: Fence;
  readonly definition: StoredDefinition;
}

/**
 * Publishes a model that the database does not know yet, with all its indexes ready: there are no records to fill them
 * from. The caller reads the fence in the same transaction first, so that only one program does it.
 */
export function publishNew(
  tx: Transaction,
  model: Pick<ConfiguredModel, 'data' | 'hash' | 'keys'>,
): Publication {
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
    nextSchemaId: 2,
    nextIndexId: indexes.length + 1,
    nextKeySpace: 2,
  };
  writeDefinition(tx, keys, definition);
  writeFence(tx, keys, fence);
  return { fence, definition };
}
