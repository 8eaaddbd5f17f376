import type { TransformAnswer } from '../../../workers/transform.ts';
import { MigrationException } from '../../errors.ts';
import type { KeyValue, Transaction } from '../../kv/kv.ts';
import { packRecords } from '../../records/chunk-format.ts';
import type { VerifyChunk, VerifyResult, VerifySetup } from '../../records/chunk-verify.ts';
import { compileVerification } from '../../records/chunk-verify.ts';
import type { LookedUp } from '../../records/index-agreement.ts';
import { createIndexAgreement } from '../../records/index-agreement.ts';
import type { KeyRange, ModelKeys } from '../../records/keys.ts';
import { rangeOf } from '../../records/keys.ts';
import { getRecords, getRows } from '../../records/record-rows.ts';
import type { ModelMigration } from '../runtime.ts';
import type { MigrationState } from '../state.ts';
import type { RecordCheck } from '../verification.ts';
import { checkOf } from '../verification.ts';
import type { ChunkAddition, PreparedChunk } from './chunk.ts';
import { nothingAdded } from './chunk.ts';
import { createChunkRunner } from './chunk-runner.ts';
import { chunkLimits } from './controller.ts';
import { isDrawn, sampleOf } from './drawn.ts';
import type { IndexSum } from './ledger.ts';
import type { Pass } from './mover.ts';

/** Verification only reads: a chunk may be as large as one that is written. */
const targetBytes = chunkLimits.maxBytes;

/** What of a verification is decided before it begins. */
export interface VerificationPlan {
  /** The gate is open: records may change between two chunks, and have no new definition to meet. */
  readonly isLive: boolean;
  /** Above 0, to 1. */
  readonly sampleRatio: number;
  readonly seed: number;
  readonly check: RecordCheck | undefined;
}

/** Undefined where nothing is verified. */
export function verificationPlanOf(
  { runtime, model }: Pick<ModelMigration, 'runtime' | 'model'>,
  { kind }: MigrationState,
): VerificationPlan | undefined {
  const { verification } = runtime;
  if (verification === 'off') return undefined;
  const { sampleRatio, seed } = verification;
  return { isLive: kind === 'index', sampleRatio, seed, check: checkOf(verification, model.name) };
}

/** What is walked: all records, and all entries of each index. */
export function verifiedSlices(
  { model }: Pick<ModelMigration, 'model'>,
  state: MigrationState,
): readonly KeyRange[] {
  const records = rangeOf(model.keys.records(state.targetKeySpace));
  return [records, ...state.indexes.map(({ indexId }) => rangeOf(model.keys.index(indexId)))];
}

export function createAgreement({ model }: Pick<ModelMigration, 'model'>, state: MigrationState) {
  return createIndexAgreement({
    data: model.data,
    indexes: state.indexes,
    keys: model.keys,
    keySpace: state.targetKeySpace,
    references: model.references,
  });
}

/**
 * Checks that records read and validate under the new definition, and that index entries and records agree both ways
 * (protocol 12). Of all of them behind a closed gate, it adds up the entries that records demand and those that are
 * there. Of a sample, and where the gate is open, each is looked up in the transaction that reads the other side.
 */
export function createVerifyPass(
  migration: ModelMigration,
  state: MigrationState,
  { isLive, sampleRatio, seed, check }: VerificationPlan,
): Pass {
  const { runtime, model } = migration;
  const recordsPrefix = model.keys.records(state.targetKeySpace);
  const runner = createVerifyRunner(migration, state, check);
  const agreement = createAgreement(migration, state);
  const looksUp = isLive || sampleRatio < 1;

  const lookUp = async (
    tx: Transaction,
    isRecords: boolean,
    rows: readonly KeyValue[],
  ): Promise<LookedUp & { readonly lastRow: KeyValue | undefined }> => {
    const looked = await (isRecords ? agreement.ofRecords(tx, rows) : agreement.ofEntries(tx, rows));
    return { ...looked, lastRow: looked.rows < rows.length ? rows[looked.rows - 1] : undefined };
  };

  return {
    name: 'verify',
    touches: false,
    readsAhead: true,
    async prepare(begin, end, limit, signal): Promise<PreparedChunk> {
      const isRecords = begin.subarray(0, recordsPrefix.length).equals(recordsPrefix);
      const startedMs = runtime.clock.monotonicMs();
      const found = await runtime.database.transact(
        async (tx) => {
          const options = { snapshot: true, limit, targetBytes };
          const { rows, atEnd } = await (isRecords ? getRecords : getRows)(tx, begin, end, options);
          if (!looksUp) return { rows, atEnd, drawn: rows, looked: undefined };
          const drawn = rows.filter(({ key }) => isDrawn(key, sampleRatio, seed));
          const looked = await lookUp(tx, isRecords, drawn);
          const { lastRow } = looked;
          if (lastRow === undefined) return { rows, atEnd, drawn, looked };
          // It took too much for one transaction: the chunk ends with what was looked up.
          const cut = rows.slice(0, rows.indexOf(lastRow) + 1);
          return { rows: cut, atEnd: false, drawn: drawn.slice(0, looked.rows), looked };
        },
        { signal, priority: 'batch' },
      );
      const readMs = runtime.clock.monotonicMs() - startedMs;
      const { rows, drawn, looked } = found;
      const what = isRecords ? 'records' : { entriesOf: indexOf(model.keys, state, begin) };
      const validates = isRecords ? !isLive : !looksUp;
      const ran = validates
        ? await runner.run(
            () => ({ rows: packRecords(drawn, isRecords ? recordsPrefix.length : 0), what }),
            drawn.length,
          )
        : undefined;
      const addition = additionOf({ isRecords, checked: drawn.length, result: ran?.result, looked });
      const readBytes = rows.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
      return {
        lastKey: rows.at(-1)?.key,
        atEnd: found.atEnd,
        records: rows.length,
        readBytes,
        readMs,
        cpuMs: ran?.cpuMs ?? 0,
        mutations: 0,
        bytes: readBytes,
        apply: () => Promise.resolve(addition),
      };
    },
  };
}

function createVerifyRunner(
  migration: ModelMigration,
  state: MigrationState,
  check: RecordCheck | undefined,
) {
  const { runtime } = migration;
  const setup = createVerifySetup(migration, state);
  return createChunkRunner<VerifyChunk, VerifyResult>({
    clock: runtime.clock,
    pool: runtime.pool,
    inPlace: compileVerification(setup, check),
    // A function cannot cross to a thread.
    alwaysInPlace: check !== undefined,
    task: (chunk) => ({ task: { kind: 'verify', setup, chunk }, transfer: [chunk.rows] }),
    resultOf: verifiedBy,
  });
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

interface Verified {
  readonly isRecords: boolean;
  readonly checked: number;
  readonly result: VerifyResult | undefined;
  readonly looked: LookedUp | undefined;
}

function additionOf({ isRecords, checked, result, looked }: Verified): ChunkAddition {
  const disagreements = looked?.found ?? [];
  // Where records are validated, that tells what does not read.
  const unreadable = result === undefined ? disagreements.filter(({ kind }) => kind === 'record') : [];
  const findings = result?.findings ?? [];
  return {
    ...nothingAdded,
    recordsRead: isRecords ? checked : 0,
    findings: findings.length + unreadable.length,
    samples: [
      ...findings.map(({ keyBytes, message }) =>
        sampleOf({ kind: 'record', indexId: 0, primaryKey: keyBytes, problem: message }),
      ),
      ...unreadable.map(sampleOf),
      ...disagreements.filter(({ kind }) => kind !== 'record').map(sampleOf),
    ],
    sums:
      looked === undefined
        ? (result?.sums ?? []).map((sum) => ({ ...sum, wrong: 0 }))
        : lookedUpSums(isRecords, looked),
  };
}

function lookedUpSums(isRecords: boolean, { counts, found }: LookedUp): readonly IndexSum[] {
  return [...counts].map(([indexId, count]) => ({
    indexId,
    side: isRecords ? ('records' as const) : ('entries' as const),
    count,
    sum: '0'.repeat(16),
    wrong: found.filter((other) => other.kind !== 'record' && other.indexId === indexId).length,
  }));
}

function indexOf(keys: ModelKeys, { indexes }: MigrationState, key: Buffer): number {
  const found = indexes.find(({ indexId }) => {
    const prefix = keys.index(indexId);
    return key.subarray(0, prefix.length).equals(prefix);
  });
  if (found === undefined) throw new Error('a range lies in none of the indexes of the target');
  return found.indexId;
}
