import type { TransformAnswer } from '../../../workers/transform.ts';
import { MigrationException } from '../../errors.ts';
import type { KeyValue, Transaction } from '../../kv/kv.ts';
import { packRecords } from '../../records/chunk-format.ts';
import type { VerifyChunk, VerifyResult, VerifySetup } from '../../records/chunk-verify.ts';
import { compileVerification } from '../../records/chunk-verify.ts';
import type { KeyRange } from '../../records/keys.ts';
import { rangeOf } from '../../records/keys.ts';
import { createMaintainedIndexes } from '../../records/maintained-index.ts';
import { createRecordCodec } from '../../records/record-codec.ts';
import { getRecords, getRows } from '../../records/record-rows.ts';
import type { ModelMigration } from '../runtime.ts';
import type { MigrationState } from '../state.ts';
import { createChunkRunner } from './chunk-runner.ts';
import { chunkLimits } from './controller.ts';
import type { LedgerTotals, RangeRow } from './ledger.ts';
import { maxSamples } from './ledger.ts';
import type { ChunkAddition, Pass, PreparedChunk } from './mover.ts';
import { addSums, nothingAdded } from './mover.ts';

/** Verification only reads: a chunk may be as large as one that is written. */
const targetBytes = chunkLimits.maxBytes;

/** What is walked: all records, and all entries of each index. */
export function verifiedSlices(
  { model }: Pick<ModelMigration, 'model'>,
  state: MigrationState,
  sampleRatio: number | undefined,
): readonly KeyRange[] {
  const records = rangeOf(model.keys.records(state.targetKeySpace));
  if (sampleRatio !== undefined) return [records];
  return [records, ...state.indexes.map(({ indexId }) => rangeOf(model.keys.index(indexId)))];
}

/**
 * Checks behind the gate that every record reads and validates under the new definition, and adds up the index entries
 * that they demand and those that are there (protocol 12).
 *
 * @param sampleRatio of the records, drawn by their keys; their entries are looked up. Undefined: all of them
 */
export function createVerifyPass(
  migration: ModelMigration,
  state: MigrationState,
  sampleRatio: number | undefined,
): Pass {
  const { runtime, model } = migration;
  const setup = createVerifySetup(migration, state);
  const recordsPrefix = model.keys.records(state.targetKeySpace);
  const runner = createChunkRunner<VerifyChunk, VerifyResult>({
    clock: runtime.clock,
    pool: runtime.pool,
    inPlace: compileVerification(setup),
    task: (chunk) => ({ task: { kind: 'verify', setup, chunk }, transfer: [chunk.rows] }),
    resultOf: verifiedBy,
  });
  const lookUp = createEntryLookUp(migration, state);

  return {
    name: 'verify',
    touches: false,
    readsAhead: true,
    async prepare(begin, end, limit, signal): Promise<PreparedChunk> {
      const isRecords = begin.subarray(0, recordsPrefix.length).equals(recordsPrefix);
      const { rows, missing } = await runtime.database.transact(
        async (tx) => {
          const options = { snapshot: true, limit, targetBytes };
          const read = isRecords ? getRecords : getRows;
          const { rows: all, atEnd } = await read(tx, begin, end, options);
          if (sampleRatio === undefined) return { rows: { all, checked: all, atEnd }, missing: [] };
          const checked = all.filter(({ key }) => isSampled(key, sampleRatio));
          return { rows: { all, checked, atEnd }, missing: await lookUp(tx, checked) };
        },
        { signal, priority: 'batch' },
      );
      const what = isRecords ? 'records' : { entriesOf: indexOf(model.keys, state, begin) };
      const prefixBytes = isRecords ? recordsPrefix.length : 0;
      const { read, findings, sums } = await runner.run(
        () => ({ rows: packRecords(rows.checked, prefixBytes), what }),
        rows.checked.length,
      );
      const bytes = rows.all.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
      const addition: ChunkAddition = {
        ...nothingAdded,
        recordsRead: read,
        findings: findings.length + missing.length,
        samples: [...findings.map(({ keyBytes }) => Buffer.from(keyBytes).toString('hex')), ...missing].slice(
          0,
          maxSamples,
        ),
        sums: sampleRatio === undefined ? sums : [],
      };
      return {
        lastKey: rows.all.at(-1)?.key,
        atEnd: rows.atEnd,
        records: rows.all.length,
        mutations: 0,
        bytes,
        apply: () => Promise.resolve(addition),
      };
    },
  };
}

function createVerifySetup(
  { runtime, model }: ModelMigration,
  { targetSchemaId, indexes }: MigrationState,
): VerifySetup {
  return {
    id: runtime.random.id(),
    target: { schemaId: targetSchemaId, version: model.data.version, data: model.data },
    references: model.references,
    indexes: indexes.flatMap(({ name, indexId }) => {
      const index = model.data.indexes.find((candidate) => candidate.name === name);
      return index === undefined ? [] : [{ index, indexId, prefix: model.keys.index(indexId) }];
    }),
  };
}

function verifiedBy(answer: TransformAnswer) {
  if (answer.kind === 'verified') return answer;
  const message = 'message' in answer ? answer.message : 'The worker answered another question.';
  throw new MigrationException('VERIFICATION_FAILED', message);
}

function indexOf(keys: ModelMigration['model']['keys'], { indexes }: MigrationState, key: Buffer): number {
  const found = indexes.find(({ indexId }) => {
    const prefix = keys.index(indexId);
    return key.subarray(0, prefix.length).equals(prefix);
  });
  if (found === undefined) throw new Error('a range lies in none of the indexes of the target');
  return found.indexId;
}

/** Answers the keys, in hexadecimal digits, of records that lack an entry. */
function createEntryLookUp({ model }: ModelMigration, state: MigrationState) {
  const codec = createRecordCodec(model.data);
  const prefixBytes = model.keys.records(state.targetKeySpace).length;
  const stored = state.indexes.map(({ name, indexId }) => ({ name, indexId, state: 'ready' as const }));
  const indexes = createMaintainedIndexes(model.data, stored, model.keys, model.references);
  return async (tx: Transaction, rows: readonly KeyValue[]): Promise<string[]> => {
    const missing: string[] = [];
    for (const { key, value } of rows) {
      const primaryKey = key.subarray(prefixBytes);
      try {
        const { record } = codec.decode(value);
        const entries = indexes.flatMap((index) => index.entries(record, primaryKey));
        const found = await Promise.all(entries.map((entry) => tx.get(entry.key, { snapshot: true })));
        if (entries.every((entry, at) => found[at]?.equals(entry.value) === true)) continue;
      } catch {
        // What does not read is a finding of the record itself.
        continue;
      }
      missing.push(primaryKey.toString('hex'));
    }
    return missing;
  };
}

/** Drawn by the key, so that a repeated chunk draws the same records. */
function isSampled(key: Buffer, ratio: number): boolean {
  let hash = 0x811c9dc5;
  for (const byte of key) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0;
  return hash < ratio * 0x1_0000_0000;
}

/**
 * What a finished verification found, in words; undefined when everything is as it should be.
 *
 * @param expectedRecords undefined where nobody counted them: a hand-written handler, or only a sample was read
 */
export function verificationProblem(
  modelName: string,
  rows: readonly RangeRow[],
  { findings, samples, recordsRead }: LedgerTotals,
  indexes: MigrationState['indexes'],
  expectedRecords: number | undefined,
): MigrationException | undefined {
  const problems: string[] = [];
  if (findings > 0) problems.push(`${findings} records do not meet the new definition`);
  if (expectedRecords !== undefined && expectedRecords !== recordsRead) {
    problems.push(`${recordsRead} records are there, but ${expectedRecords} were moved`);
  }
  const sums = rows.reduce<RangeRow['sums']>((all, row) => addSums(all, row.sums), []);
  for (const { name, indexId } of indexes) {
    const side = (which: 'records' | 'entries') =>
      sums.find((sum) => sum.indexId === indexId && sum.side === which);
    const [demanded, present] = [side('records'), side('entries')];
    if (demanded === undefined || present === undefined) continue;
    if (demanded.count === present.count && demanded.sum === present.sum) continue;
    problems.push(
      `index ${name} has ${present.count} entries, where the records demand ${demanded.count}` +
        (demanded.count === present.count ? ' others' : ''),
    );
  }
  if (problems.length === 0) return undefined;
  const shown = samples.length === 0 ? '' : ` First keys: ${samples.join(', ')}.`;
  return new MigrationException(
    'VERIFICATION_FAILED',
    `Verification of ${modelName} failed: ${problems.join('; ')}.${shown}`,
    { details: { model: modelName, findings, samples, problems } },
  );
}
