import { RequestException, StorageException } from '../errors.ts';
import type { Transaction } from '../kv/kv.ts';
import { metadataVersionKey } from '../kv/kv.ts';
import { limits } from '../limits.ts';
import { compareModels } from '../model/compare.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { StoredDefinition } from '../records/definitions.ts';
import { readDefinition, readDefinitions } from '../records/definitions.ts';
import type { Fence } from '../records/fence.ts';
import { fenceFormat } from '../records/fence.ts';
import { createModelView } from '../records/model-view.ts';
import type { RecordAccess } from '../records/record-access.ts';
import { createRecordAccess } from '../records/record-access.ts';
import type { FenceCache } from '../records/store-row.ts';

/** `details` of a `RequestException` with the code `MODEL_MIGRATING`. */
export interface ModelMigratingDetails {
  readonly modelId: number;
  readonly modelName: string;
  /** Null while the migration has not begun. */
  readonly migrationId: string | null;
  /** When to try again. Milliseconds, 100 to 30,000. */
  readonly retryAfterMs: number;
  /** Until the model is expected to be published. Milliseconds; null where nobody knows. */
  readonly etaMs: number | null;
}

/** What this process knows of how long a model's migration will take. */
export interface MigrationEstimate {
  readonly retryAfterMs?: number | undefined;
  readonly etaMs?: number | null | undefined;
}

export interface GateOptions {
  /** Default: nothing is known. */
  readonly estimate?: ((modelId: number) => MigrationEstimate | undefined) | undefined;
  /**
   * Asked for a model that would be refused as migrating: what its own migration may use in place of the refusal.
   * Default: nobody passes.
   */
  readonly admit?:
    | ((tx: Transaction, model: ConfiguredModel, fence: Fence) => Promise<RecordAccess | undefined>)
    | undefined;
  /** With `'metadataVersion'` the store row must say so before the first transaction. Default `'read'`. */
  readonly fenceCache?: FenceCache | undefined;
}

/**
 * Decides in each data transaction whether a model may be served, from the fence that the transaction reads. The read
 * conflicts: a transaction in flight when the fence turns does not commit.
 */
export interface Gate {
  /**
   * @throws RequestException MODEL_MIGRATING with `ModelMigratingDetails`, MODEL_SCHEMA_CHANGED
   * @throws StorageException STORAGE_CORRUPT when the model was never published: `open` does that before it returns
   */
  readGate(tx: Transaction, model: ConfiguredModel): Promise<RecordAccess>;
  /**
   * The same, with the first data read under way at the same time, by what was found behind the last fence; it is done
   * again if this transaction finds another one.
   */
  enter<T>(
    tx: Transaction,
    model: ConfiguredModel,
    firstRead: (access: RecordAccess) => Promise<T>,
  ): Promise<Entered<T>>;
}

export interface Entered<T> {
  readonly access: RecordAccess;
  readonly first: Promise<T>;
}

const retryAfterBounds = { defaultMs: 1_000, minMs: 100, maxMs: limits.store.retryAfterMs.value } as const;

/** What follows for this program from what lies behind one `schemaEpoch`. */
type Verdict =
  | { readonly type: 'serve'; readonly access: RecordAccess }
  | { readonly type: 'awaitsMigration' }
  | { readonly type: 'schemaChanged'; readonly storedVersion: string };

interface Known {
  readonly fence: Fence;
  /** As read: equal bytes need no parsing. */
  readonly fenceBytes: Buffer;
  readonly verdict: Verdict;
  /** The metadata version beside which the fence was read; undefined where nobody asked, or there is none yet. */
  readonly metadataVersion: Buffer | undefined;
}

/**
 * **A fence from memory.** With `fenceCache: 'metadataVersion'` every transaction that writes a fence changes the metadata
 * version, to a versionstamp that no other commit has. So wherever a snapshot shows the same metadata version it shows the
 * same fences: a transaction that finds the one beside which this process last read the fence has the fence as of its own
 * read version, as if it had read it. That is all that a transaction needs which only reads. One that writes must also
 * not commit over a fence that turned after its read version: it adds the read conflict that reading would have added.
 * The metadata version itself is read without a conflict, since everybody in the cluster may change it.
 */
export function createGate({ estimate, admit, fenceCache = 'read' }: GateOptions = {}): Gate {
  /** The newest of each model. */
  const knownByModelId = new Map<number, Known>();

  const readKnown = async (tx: Transaction, model: ConfiguredModel): Promise<Known> => {
    const metadataVersion =
      fenceCache === 'metadataVersion' ? await tx.get(metadataVersionKey, { snapshot: true }) : undefined;
    const cached = knownByModelId.get(model.id);
    if (metadataVersion !== undefined && cached?.metadataVersion?.equals(metadataVersion) === true) {
      tx.addReadConflictKey(model.keys.fence);
      return cached;
    }
    const fenceBytes = await tx.get(model.keys.fence);
    if (fenceBytes === undefined) throw notPublished(model);
    const known = knownByModelId.get(model.id);
    if (known?.fenceBytes.equals(fenceBytes) === true) {
      return keepNewest(model, { ...known, metadataVersion });
    }
    const fence = fenceFormat.parse(fenceBytes);
    const isSameEpoch = known?.fence.schemaEpoch === fence.schemaEpoch;
    const verdict = isSameEpoch ? known.verdict : await judge(tx, model, fence);
    return keepNewest(model, { fence, fenceBytes, verdict, metadataVersion });
  };

  /** A transaction may read an older snapshot than another one that ended before it. */
  const keepNewest = (model: ConfiguredModel, found: Known): Known => {
    const newest = knownByModelId.get(model.id);
    if (newest === undefined || isNewer(found, newest)) knownByModelId.set(model.id, found);
    return found;
  };

  const migrating = (model: ConfiguredModel, fence: Fence): RequestException => {
    const known = estimate?.(model.id);
    const { defaultMs, minMs, maxMs } = retryAfterBounds;
    const details: ModelMigratingDetails = {
      modelId: model.id,
      modelName: model.name,
      migrationId: fence.target?.migrationId ?? null,
      retryAfterMs: Math.min(maxMs, Math.max(minMs, Math.round(known?.retryAfterMs ?? defaultMs))),
      etaMs: known?.etaMs ?? null,
    };
    const what = fence.state === 'migrating' ? 'is being migrated' : 'waits for its migration';
    return new RequestException(
      'MODEL_MIGRATING',
      `${model.name} ${what} and refuses requests until it is published; ` +
        `try again after ${details.retryAfterMs} ms.`,
      { details: { ...details } },
    );
  };

  const readGate = async (tx: Transaction, model: ConfiguredModel): Promise<RecordAccess> => {
    const { fence, verdict } = await readKnown(tx, model);
    if (fence.state === 'migrating' || verdict.type === 'awaitsMigration') {
      const admitted = await admit?.(tx, model, fence);
      if (admitted !== undefined) return admitted;
      throw migrating(model, fence);
    }
    if (verdict.type === 'schemaChanged') throw schemaChanged(model, verdict.storedVersion);
    return verdict.access;
  };

  return {
    readGate,
    async enter(tx, model, firstRead) {
      const verdict = knownByModelId.get(model.id)?.verdict;
      const expected = verdict?.type === 'serve' ? verdict.access : undefined;
      const early = expected === undefined ? undefined : firstRead(expected);
      // Nobody waits for it when the gate refuses.
      early?.catch(() => undefined);
      const access = await readGate(tx, model);
      return { access, first: early !== undefined && access === expected ? early : firstRead(access) };
    },
  };
}

function isNewer(found: Known, newest: Known): boolean {
  const difference = found.fence.schemaEpoch - newest.fence.schemaEpoch;
  if (difference !== 0) return difference > 0;
  const [left, right] = [found.metadataVersion, newest.metadataVersion];
  return right === undefined || (left !== undefined && Buffer.compare(left, right) >= 0);
}

/** Reads in the transaction that found the epoch, so that it acts on what belongs to its own snapshot. */
async function judge(tx: Transaction, model: ConfiguredModel, fence: Fence): Promise<Verdict> {
  const definition = await readDefinition(tx, model.keys, fence.schemaId);
  if (definition === undefined) throw definitionMissing(model, fence);
  const serve = (): Verdict => ({
    type: 'serve',
    access: createRecordAccess(createModelView(model, fence, definition)),
  });
  if (definition.hash === model.hash) return serve();
  const earlier = await earlierDefinitions(tx, model, definition);
  const comparison = compareModels({ current: definition, earlier }, model);
  switch (comparison.type) {
    case 'UpToDate':
    case 'OnlySafeAdds':
    case 'NewIndexesOnExistingProperties':
      return serve();
    case 'OlderProgram':
      if (comparison.compatible) return serve();
      return { type: 'schemaChanged', storedVersion: definition.version };
    case 'NewModel':
    case 'NeedsMigration':
      return { type: 'awaitsMigration' };
  }
}

async function earlierDefinitions(
  tx: Transaction,
  { keys }: ConfiguredModel,
  current: StoredDefinition,
): Promise<StoredDefinition[]> {
  const definitions = await readDefinitions(tx, keys);
  return [...definitions.values()].filter(
    ({ schemaId, published }) => published && schemaId !== current.schemaId,
  );
}

function schemaChanged(model: ConfiguredModel, storedVersion: string): RequestException {
  return new RequestException(
    'MODEL_SCHEMA_CHANGED',
    `${model.name} was migrated to version ${storedVersion}; this program has ${model.data.version}, ` +
      'which is not compatible with it.',
    {
      details: {
        modelId: model.id,
        modelName: model.name,
        storedVersion,
        configuredVersion: model.data.version,
      },
    },
  );
}

function notPublished(model: ConfiguredModel): StorageException {
  return new StorageException('STORAGE_CORRUPT', `${model.name} was opened, but its fence is gone.`, {
    details: { modelId: model.id, modelName: model.name },
  });
}

function definitionMissing(model: ConfiguredModel, { schemaId }: Fence): StorageException {
  return new StorageException(
    'STORAGE_CORRUPT',
    `The fence of ${model.name} names definition ${schemaId}, which is gone.`,
    { details: { modelId: model.id, modelName: model.name, schemaId } },
  );
}
