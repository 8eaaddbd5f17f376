import type { Transform } from '../../model/transform.ts';
import type { ConfiguredModel } from '../../records/configured-model.ts';
import type { TransformSetup } from '../../records/transform-setup.ts';
import type { Backfill } from '../backfill-spec.ts';
import type { StoredModel } from '../plan.ts';
import type { MigrationRuntime } from '../runtime.ts';
import type { MigrationState } from '../state.ts';

/** What it takes to transform the records of each key space that has some. */
export function createTransformSetups(
  { runtime, model }: { readonly runtime: Pick<MigrationRuntime, 'random'>; readonly model: ConfiguredModel },
  stored: StoredModel,
  state: MigrationState,
  spec: Backfill,
): readonly TransformSetup[] {
  const { data, keys, name, references } = model;
  const common = {
    modelName: name,
    ...legsOf(spec, state.targetSchemaId),
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

/** The modules of a backfill, and the definitions between them. */
export function legsOf({ work }: Backfill, targetSchemaId: number): Pick<TransformSetup, 'module' | 'via'> {
  if (work.type !== 'composed') return { module: moduleOf(work) };
  const last = work.legs.at(-1);
  return {
    module: last === undefined ? undefined : moduleOf(last.work),
    via: work.legs.slice(0, -1).map((leg) => ({
      // Never stored: any id will do that is none of the database's.
      target: { ...leg.target, schemaId: targetSchemaId },
      module: moduleOf(leg.work),
    })),
  };
}

const moduleOf = (work: Backfill['work']): string | undefined =>
  work.type === 'module' ? work.url : undefined;

/** Whether a user's module is among what a setup needs. */
export function hasModule({ module, via = [] }: TransformSetup): boolean {
  return [module, ...via.map((leg) => leg.module)].some((url) => url !== undefined);
}

/** Functions of a backfill that were given inline, of each leg; undefined where it runs on a thread. */
export function inlineTransforms({ work }: Backfill): readonly (Transform | undefined)[] | undefined {
  const works = work.type === 'composed' ? work.legs.map((leg) => leg.work) : [work];
  if (!works.some(({ type }) => type === 'inline')) return undefined;
  return works.map((one) => (one.type === 'inline' ? one.transform : undefined));
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
