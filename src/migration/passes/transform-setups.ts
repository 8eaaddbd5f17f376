import type { TransformSetup } from '../../records/transform-setup.ts';
import type { Backfill } from '../backfill-spec.ts';
import type { StoredModel } from '../plan.ts';
import type { ModelMigration } from '../runtime.ts';
import type { MigrationState } from '../state.ts';

/** What it takes to transform the records of each key space that has some. */
export function createTransformSetups(
  { runtime, model }: Pick<ModelMigration, 'runtime' | 'model'>,
  stored: StoredModel,
  state: MigrationState,
  spec: Backfill,
): readonly TransformSetup[] {
  const { data, keys, name, references } = model;
  const common = {
    modelName: name,
    module: spec.work.type === 'module' ? spec.work.url : undefined,
    stored: storedDefinitions(stored, state.targetSchemaId),
    target: { schemaId: state.targetSchemaId, version: data.version, data },
    references,
    targetPrefix: keys.records(state.targetKeySpace),
    indexes: state.indexes.flatMap(({ name: indexName, indexId, mode }) => {
      const index = data.indexes.find((candidate) => candidate.name === indexName);
      return index === undefined ? [] : [{ index, prefix: keys.index(indexId), mode }];
    }),
    onPoison: spec.onPoison,
  };
  return state.sourceKeySpaces.map((keySpace) => ({
    ...common,
    // Compiled once on each thread; the next owner has another one.
    id: runtime.random.id(),
    sourcePrefix: keys.records(keySpace),
    keyChanged: keySpace !== state.targetKeySpace,
    quarantinePrefix: keys.quarantineOf(state.migrationId, keySpace),
  }));
}

/**
 * Every definition that records may be under. Those that were published are read as the published one: it followed them
 * compatibly, writers of all of them kept its indexes, and what it renamed has its names. Those of a migration that was
 * given up are read as themselves.
 */
export function storedDefinitions(
  { fence, current, definitions }: StoredModel,
  targetSchemaId: number,
): TransformSetup['stored'] {
  return [...definitions.values()]
    .filter(({ schemaId }) => schemaId !== targetSchemaId)
    .map(({ schemaId, version, data }) =>
      fence.mixedSchemaIds.includes(schemaId)
        ? { schemaId, version, data }
        : { schemaId, version: current.version, data: current.data },
    );
}
