import type { Transaction } from '../kv/kv.ts';
import type { ModelComparison, Reason } from '../model/compare.ts';
import { compareModels } from '../model/compare.ts';
import type { ConfiguredModel, ConfiguredStep } from '../records/configured-model.ts';
import type { StoredDefinition } from '../records/definitions.ts';
import { readDefinitions } from '../records/definitions.ts';
import type { Fence } from '../records/fence.ts';
import { readFence } from '../records/fence.ts';
import type { ModelKeys } from '../records/keys.ts';
import { StorageException } from '../errors.ts';
import { readState } from './state.ts';

/** A model as the database has it. */
export interface StoredModel {
  readonly fence: Fence;
  /** The published definition. */
  readonly current: StoredDefinition;
  /** All of them, by schema id; also the target of a migration that has not ended. */
  readonly definitions: ReadonlyMap<number, StoredDefinition>;
  /** Target of the migration that was begun last, also of one that stands still and gave the gate back. */
  readonly begunSchemaId?: number | undefined;
}

/** What has to happen to a model before the program can serve it by its own definition. */
export type ModelPlan =
  /** Nothing: equal, or the program is older than the database and leads nothing. */
  | { readonly type: 'none'; readonly olderProgram: boolean }
  /** The definition is published as it is, new indexes as being built; no record changes. */
  | { readonly type: 'publish'; readonly comparison: ModelComparison; readonly target: ConfiguredModel }
  /** Entries of published indexes are filled while requests go on. */
  | {
      readonly type: 'index';
      readonly migrationId: string;
      readonly indexes: readonly string[];
      readonly target: ConfiguredModel;
    }
  | {
      readonly type: 'migrate';
      readonly migrationId: string;
      readonly reasons: readonly Reason[];
      /** Names of the indexes that are filled under a new id. */
      readonly indexes: readonly string[];
      /** The configured model, or the next one on the way to it. */
      readonly target: ConfiguredModel;
    }
  /** A migration to another definition is half-way done: only its own program, or a reset, leads out. */
  | { readonly type: 'targetChanged'; readonly runningMigrationId: string };

export async function readStoredModel(tx: Transaction, keys: ModelKeys): Promise<StoredModel | undefined> {
  const [fence, definitions, state] = await Promise.all([
    readFence(tx, keys),
    readDefinitions(tx, keys),
    readState(tx, keys),
  ]);
  if (fence === undefined) return undefined;
  const current = definitions.get(fence.schemaId);
  if (current === undefined) {
    throw new StorageException(
      'STORAGE_CORRUPT',
      `The fence names definition ${fence.schemaId}, which is gone.`,
      {
        details: { schemaId: fence.schemaId },
      },
    );
  }
  return { fence, current, definitions, begunSchemaId: fence.target?.schemaId ?? state?.targetSchemaId };
}

/** What is next for a model: of a chain of versions, the next step that has to be taken by itself. */
export function planModel(stored: StoredModel | undefined, model: ConfiguredModel): ModelPlan {
  const direct = planTarget(stored, model);
  if (stored === undefined || (direct.type !== 'migrate' && direct.type !== 'targetChanged')) return direct;
  const next = nextTarget(stored, model);
  return next === model ? direct : planTarget(stored, next);
}

function nextTarget(stored: StoredModel, model: ConfiguredModel): ConfiguredModel {
  const { current } = stored;
  // What was begun is gone on with, and what stands still stands in the way, until an operator or a reset ends it.
  const half = begunHash(stored);
  const begun = model.steps.find((step) => step.model.hash === half)?.model;
  if (begun !== undefined || half === model.hash) return begun ?? model;
  const path = pathTo(model, current.version);
  const [first] = path ?? [];
  if (path === undefined || first === undefined) return model;
  return canBeComposed(path) && path.every(({ composes }) => composes) ? model : first.model;
}

/** The steps from a version to the configured one, in order; undefined where one is missing. */
export function pathTo(model: ConfiguredModel, version: string): readonly ConfiguredStep[] | undefined {
  const path: ConfiguredStep[] = [];
  let at = version;
  while (at !== model.data.version) {
    const next = model.steps.find((step) => step.from === at && !path.includes(step));
    if (next === undefined) return undefined;
    path.push(next);
    at = next.model.data.version;
  }
  return path;
}

/** Whether these steps can be taken in one pass over the records. */
export function canBeComposed(path: readonly ConfiguredStep[]): boolean {
  return path.length > 1 && path.every(({ isComposable }) => isComposable);
}

/** Whether a migration is under way that takes several steps to the configured definition in one pass. */
export function isBegunInOnePass(stored: StoredModel, model: ConfiguredModel): boolean {
  return begunHash(stored) === model.hash && (pathTo(model, stored.current.version)?.length ?? 0) > 1;
}

function begunHash({ begunSchemaId, current, definitions }: StoredModel): string | undefined {
  return begunSchemaId === undefined || begunSchemaId === current.schemaId
    ? undefined
    : definitions.get(begunSchemaId)?.hash;
}

function planTarget(stored: StoredModel | undefined, model: ConfiguredModel): ModelPlan {
  if (stored === undefined) return { type: 'publish', comparison: { type: 'NewModel' }, target: model };
  const { fence, current, definitions } = stored;
  const earlier = [...definitions.values()].filter(
    ({ published, schemaId }) => published && schemaId !== current.schemaId,
  );
  const comparison = compareModels({ current, earlier }, model);
  const target = fence.target === null ? undefined : definitions.get(fence.target.schemaId);
  if (fence.state === 'migrating' && comparison.type !== 'OlderProgram' && comparison.type !== 'UpToDate') {
    // Without a target it was reset: whoever comes next begins anew, on mixed records.
    if (fence.target !== null && target?.hash !== model.hash) {
      return { type: 'targetChanged', runningMigrationId: fence.target.migrationId };
    }
  }
  const migrationId = migrationIdOf(current, model);
  switch (comparison.type) {
    case 'NewModel':
      return { type: 'publish', comparison, target: model };
    case 'OnlySafeAdds':
    case 'NewIndexesOnExistingProperties':
      if (fence.state === 'ready') return { type: 'publish', comparison, target: model };
      return { type: 'migrate', migrationId, reasons: [mixedRecords], indexes: [], target: model };
    case 'OlderProgram':
      return { type: 'none', olderProgram: true };
    case 'UpToDate': {
      if (fence.state === 'migrating') return { type: 'none', olderProgram: true };
      const building = current.indexes.filter(({ state }) => state === 'building').map(({ name }) => name);
      if (building.length === 0) return { type: 'none', olderProgram: false };
      return { type: 'index', migrationId, indexes: building, target: model };
    }
    case 'NeedsMigration':
      return {
        type: 'migrate',
        migrationId,
        reasons: comparison.reasons,
        indexes: comparison.indexes,
        target: model,
      };
  }
}

/** A reset left records of a definition that was never published: they have to be moved, whatever comes next. */
const mixedRecords: Reason = {
  code: 'mixedRecords',
  message: 'some records were moved to a definition that was given up',
};

/** `Name:1.0->2.0#<first 12 digits of the target's hash>`: the same for every node that is to do the same. */
function migrationIdOf(current: StoredDefinition, { name, data, hash }: ConfiguredModel): string {
  // While an index is being built its definition is the published one already.
  return `${name}:${current.version}->${data.version}#${idHash(hash)}`;
}

const idHash = (hash: string): string => hash.slice(0, 12);

/** The same migration, when a compatible definition was published meanwhile. */
export function leadingFrom(migrationId: string, before: string, now: string): string {
  return migrationId.replace(`:${before}->`, () => `:${now}->`);
}

export function leadsTo(migrationId: string, hash: string): boolean {
  return migrationId.endsWith(`#${idHash(hash)}`);
}

/** The version that a migration leads to. */
export function targetVersionOf(migrationId: string): string {
  return migrationId.slice(migrationId.lastIndexOf('->') + 2, migrationId.lastIndexOf('#'));
}
