import { GodwitException, MigrationException } from '../errors.ts';
import type { Transaction } from '../kv/kv.ts';
import { limits } from '../limits.ts';
import { isKeyChanged } from '../model/compare.ts';
import type { Mutation } from '../records/chunk-format.ts';
import { packRecords, readMutations } from '../records/chunk-format.ts';
import { compileTransform } from '../records/chunk-transform.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { StoredDefinition } from '../records/definitions.ts';
import { rangeOf } from '../records/keys.ts';
import { createModelView } from '../records/model-view.ts';
import type { QuarantineRow } from '../records/quarantine-row.ts';
import { decodeQuarantineRow } from '../records/quarantine-row.ts';
import { schemaIdOf } from '../records/record-codec.ts';
import { behindRecord, clearRecord, getRecords, partCountOf } from '../records/record-rows.ts';
import type { ChunkInput, ChunkResult, TransformSetup } from '../records/transform-setup.ts';
import { TupleReader } from '../records/tuple.ts';
import type { Backfill } from './backfill-spec.ts';
import { hasModule, inlineTransforms, legsOf } from './passes/transform-setups.ts';
import type { StoredModel } from './plan.ts';
import { readStoredModel } from './plan.ts';
import type { MigrationRuntime, TransformPool } from './runtime.ts';

/** A record that a migration set aside. */
export interface QuarantinedRecord {
  readonly migrationId: string;
  /** Bytes of the key it had, in hexadecimal digits. */
  readonly key: string;
  /** What it did not meet: TRANSFORM_FAILED, TRANSFORM_REJECTED, DUPLICATE_KEY, UNIQUE_VIOLATION and the like. */
  readonly code: string;
  readonly message: string;
}

export interface QuarantineRetry {
  readonly restored: number;
  /** Still there, with the reason of this try. */
  readonly left: readonly QuarantinedRecord[];
}

/** Rows read at once: each may be as large as a record. */
const pageRows = limits.migration.quarantineRows.value;
const pageBytes = limits.records.pageBytes.value;

interface FoundRow {
  /** The whole key of the row. */
  readonly key: Buffer;
  readonly migrationId: string;
  /** The key the record had. */
  readonly recordKey: Buffer;
  readonly row: QuarantineRow;
}

/** Records in quarantine, oldest migration first. @param limit 1 to 10,000 */
export async function listQuarantined(
  { database }: MigrationRuntime,
  model: ConfiguredModel,
  limit: number,
): Promise<readonly QuarantinedRecord[]> {
  const found: QuarantinedRecord[] = [];
  let from = rangeOf(model.keys.quarantine).begin;
  while (found.length < limit) {
    const page = await database.transact((tx) => readRows(tx, model, from, limit - found.length));
    found.push(...page.map(({ migrationId, recordKey, row }) => described(migrationId, recordKey, row)));
    const last = page.at(-1);
    if (last === undefined) break;
    from = behindRecord(last.key);
  }
  return found;
}

/**
 * Puts records in quarantine back through the transform that this program has now, each in a transaction of its own.
 * After the publication only: during a migration its own chunks have the word.
 *
 * @throws MigrationException MIGRATION_PENDING while the published definition is not this program's;
 *   TRANSFORM_INVALID where this program has no transform
 */
export async function retryQuarantined(
  runtime: MigrationRuntime,
  model: ConfiguredModel,
  specFor: (fromVersion: string) => Backfill | undefined,
): Promise<QuarantineRetry> {
  const { database } = runtime;
  const stored = await database.transact((tx) => readPublished(tx, model));
  const left: QuarantinedRecord[] = [];
  let restored = 0;
  let from = rangeOf(model.keys.quarantine).begin;
  for (;;) {
    const page = await database.transact((tx) => readRows(tx, model, from, pageRows));
    for (const found of page) {
      const failure = await retryRow(runtime, model, stored, specFor, found);
      if (failure === undefined) restored += 1;
      else left.push(described(found.migrationId, found.recordKey, failure));
    }
    const last = page.at(-1);
    if (last === undefined) return { restored, left };
    from = behindRecord(last.key);
  }
}

async function readRows(
  tx: Transaction,
  { keys }: ConfiguredModel,
  from: Buffer,
  limit: number,
): Promise<FoundRow[]> {
  const { end } = rangeOf(keys.quarantine);
  const options = { limit: Math.min(limit, pageRows), targetBytes: pageBytes, snapshot: true };
  const { rows } = await getRecords(tx, from, end, options);
  return rows.map(({ key, value }) => {
    const reader = new TupleReader(key.subarray(keys.quarantine.length));
    const migrationId = reader.readString();
    const prefix = keys.quarantineOf(migrationId, reader.readInteger());
    return { key, migrationId, recordKey: key.subarray(prefix.length), row: decodeQuarantineRow(value) };
  });
}

async function readPublished(tx: Transaction, model: ConfiguredModel): Promise<StoredModel> {
  const stored = await readStoredModel(tx, model.keys);
  if (stored?.fence.state === 'ready' && stored.current.hash === model.hash) return stored;
  throw new MigrationException(
    'MIGRATION_PENDING',
    `${model.name} is not published as this program has it; records leave quarantine after the publication.`,
    { details: { modelId: model.id, modelName: model.name } },
  );
}

/** Undefined when the record is back, else why not. */
async function retryRow(
  runtime: MigrationRuntime,
  model: ConfiguredModel,
  stored: StoredModel,
  specFor: (fromVersion: string) => Backfill | undefined,
  { key, recordKey, row }: FoundRow,
): Promise<Pick<QuarantineRow, 'code' | 'message'> | undefined> {
  const version = versionOf(stored, row.bytes);
  const spec = specFor(version);
  if (spec === undefined) {
    throw new MigrationException(
      'TRANSFORM_INVALID',
      `This program has no transform for ${model.name} ${version}.`,
    );
  }
  try {
    const moved = await transformed(runtime, model, stored, spec, recordKey, row);
    if ('code' in moved) return moved;
    await runtime.database.transact(async (tx) => {
      const [now, present] = await Promise.all([readPublished(tx, model), tx.get(key)]);
      // Restored by somebody else, or in an attempt of which nobody knew how it ended.
      if (present === undefined) return;
      if (moved.op === 'set' || moved.op === 'setIfAbsent') {
        const { writer } = createModelView(model, now.fence, now.current);
        if ((await tx.get(writer.recordKey(moved.key))) !== undefined) throw alreadyThere(model);
        const { record } = writer.codec.decode(moved.value);
        await writer.write(tx, { primaryKey: moved.key, bytes: moved.value, record });
      }
      clearRecord(tx, key, partCountOf(present));
    });
    return undefined;
  } catch (error) {
    if (error instanceof GodwitException) return { code: error.code, message: error.message };
    throw error;
  }
}

/** The mutation that writes the record under its new key, or clears it where the transform drops it. */
async function transformed(
  { pool, random }: MigrationRuntime,
  model: ConfiguredModel,
  stored: StoredModel,
  spec: Backfill,
  recordKey: Buffer,
  { bytes }: QuarantineRow,
): Promise<Mutation | Pick<QuarantineRow, 'code' | 'message'>> {
  const source = sourceOf(stored, schemaIdOf(bytes));
  const nowhere = Buffer.alloc(0);
  const setup: TransformSetup = {
    id: random.id(),
    modelName: model.name,
    ...legsOf(spec, stored.current.schemaId),
    stored: source === undefined ? [] : [{ ...source, schemaId: schemaIdOf(bytes) }],
    target: { schemaId: stored.current.schemaId, version: model.data.version, data: model.data },
    references: model.references,
    sourcePrefix: nowhere,
    targetPrefix: nowhere,
    keyChanged: source !== undefined && isKeyChanged(source.data, model.data),
    indexes: [],
    onPoison: 'fail',
    quarantinePrefix: nowhere,
  };
  const chunk: ChunkInput = { records: packRecords([{ key: recordKey, value: bytes }], 0) };
  const { failures, mutations } = hasModule(setup)
    ? await inPool(pool, setup, chunk)
    : compileTransform(setup, ...(inlineTransforms(spec) ?? []))(chunk);
  const [failure] = failures;
  if (failure !== undefined) return { code: failure.code, message: failure.message };
  const all = [...readMutations(mutations)];
  const mutation = all.find(({ op }) => op !== 'clear') ?? all[0];
  // It is of the target already, and its bytes are as they have to be.
  return mutation ?? { op: 'set', ordinal: 0, key: recordKey, value: Buffer.from(bytes) };
}

async function inPool(pool: TransformPool, setup: TransformSetup, chunk: ChunkInput): Promise<ChunkResult> {
  const answer = await pool.run({ kind: 'transform', setup, chunk }, [chunk.records]);
  if (answer.kind === 'transformed') return answer.result;
  const message = 'message' in answer ? answer.message : 'The worker answered another question.';
  throw new MigrationException('TRANSFORM_FAILED', message);
}

/** By which definition the record is read: the last one that was published in the lineage of its own. */
function sourceOf({ definitions }: StoredModel, schemaId: number): StoredDefinition | undefined {
  const own = definitions.get(schemaId);
  if (own?.published !== true) return own;
  const lineage = [...definitions.values()].filter(
    (other) => other.published && other.lineage === own.lineage,
  );
  return lineage.reduce((last, other) => (other.schemaId > last.schemaId ? other : last), own);
}

/** Empty for bytes that are none of any definition. */
function versionOf(stored: StoredModel, bytes: Uint8Array): string {
  try {
    return sourceOf(stored, schemaIdOf(bytes))?.version ?? '';
  } catch (error) {
    if (error instanceof GodwitException) return '';
    throw error;
  }
}

function described(
  migrationId: string,
  recordKey: Buffer,
  { code, message }: Pick<QuarantineRow, 'code' | 'message'>,
): QuarantinedRecord {
  return { migrationId, key: recordKey.toString('hex'), code, message };
}

function alreadyThere({ name }: ConfiguredModel): MigrationException {
  return new MigrationException('DUPLICATE_KEY', `Another record of ${name} has this key now.`);
}
