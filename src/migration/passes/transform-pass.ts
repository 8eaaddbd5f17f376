import type { TransformAnswer } from '../../../workers/transform.ts';
import { MigrationException } from '../../errors.ts';
import type { Transaction } from '../../kv/kv.ts';
import type { Transform } from '../../model/transform.ts';
import { MutationCursor, packRecords, readMutations } from '../../records/chunk-format.ts';
import { compileTransform } from '../../records/chunk-transform.ts';
import { getRecords, maxPartBytes, setRecord } from '../../records/record-rows.ts';
import type {
  ChunkFailure,
  ChunkInput,
  ChunkResult,
  FailedOrdinal,
  TransformSetup,
} from '../../records/transform-setup.ts';
import type { Backfill } from '../backfill-spec.ts';
import { duplicatePair, notUnique } from '../duplicates.ts';
import type { ChunkAddition, PreparedChunk } from './chunk.ts';
import { nothingAdded } from './chunk.ts';
import type { ChunkRunner } from './chunk-runner.ts';
import { createChunkRunner } from './chunk-runner.ts';
import { chunkLimits } from './controller.ts';
import { readRanges, totalsOf } from './ledger.ts';
import type { Pass } from './mover.ts';
import type { DemandedRow, UniqueDemand } from './name-duplicates.ts';
import type { MigrationRuntime, ModelMigration } from '../runtime.ts';
import { hasModule, inlineTransforms } from './transform-setups.ts';

/** Read at most; a record, its new form and its index entries count against the chunk's limit. */
const targetBytes = chunkLimits.maxBytes / 2;

/** How a setup's chunks are transformed, and where. */
export function createTransformRunner(
  runtime: Pick<MigrationRuntime, 'clock' | 'pool'>,
  setup: TransformSetup,
  inline: readonly (Transform | undefined)[] | undefined,
  onRan?: (cpuMs: number, isInPlace: boolean) => void,
): ChunkRunner<ChunkInput, ChunkResult> {
  // A user's module stays on its thread: it may block, or bring what this process must not load.
  const inPlace = hasModule(setup) ? undefined : compileTransform(setup, ...(inline ?? []));
  return createChunkRunner({
    clock: runtime.clock,
    pool: runtime.pool,
    inPlace,
    alwaysInPlace: inline !== undefined,
    task: (chunk) => ({ task: { kind: 'transform', setup, chunk }, transfer: [chunk.records] }),
    resultOf: transformedBy,
    onRan,
  });
}

function transformedBy(answer: TransformAnswer) {
  switch (answer.kind) {
    case 'transformed':
      return answer;
    case 'invalid':
      throw new MigrationException('TRANSFORM_INVALID', answer.message);
    case 'broken':
      throw new MigrationException('TRANSFORM_FAILED', answer.message);
    case 'verified':
    case 'checked':
      throw new MigrationException('TRANSFORM_FAILED', 'The worker answered another question.');
  }
}

/** Moves records: read ahead, transformed outside, written with cursor and counts in one short transaction. */
export function createTransformPass(
  migration: ModelMigration,
  setups: readonly TransformSetup[],
  spec: Backfill,
): Pass {
  const { runtime, model } = migration;
  const inline = inlineTransforms(spec);
  const sources = setups.map((setup) => ({
    setup,
    prefix: Buffer.from(setup.sourcePrefix),
    runner: createTransformRunner(runtime, setup, inline),
  }));

  const read = async (begin: Buffer, end: Buffer, limit: number, signal: AbortSignal) => {
    const source = sources.find(({ prefix }) => begin.subarray(0, prefix.length).equals(prefix));
    if (source === undefined) throw new Error('a range lies in none of the key spaces that hold records');
    const startedMs = runtime.clock.monotonicMs();
    const { rows, atEnd } = await runtime.database.transact(
      (tx) => getRecords(tx, begin, end, { snapshot: true, limit, targetBytes }),
      { signal, priority: 'batch' },
    );
    const readMs = runtime.clock.monotonicMs() - startedMs;
    const readBytes = rows.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
    const lastKey = rows.at(-1)?.key;
    const run = (failed?: readonly FailedOrdinal[]) =>
      source.runner.run(() => ({ records: packRecords(rows, source.prefix.length), failed }), rows.length);
    const { result, cpuMs } = rows.length === 0 ? { result: undefined, cpuMs: 0 } : await run();
    const keyOf = (ordinal: number) => rows[ordinal]?.key.subarray(source.prefix.length) ?? Buffer.alloc(0);
    return {
      setup: source.setup,
      records: rows.length,
      readBytes,
      readMs,
      cpuMs,
      lastKey,
      atEnd,
      keyOf,
      run,
      result,
    };
  };

  const prepare = async (
    begin: Buffer,
    end: Buffer,
    limit: number,
    signal: AbortSignal,
  ): Promise<PreparedChunk> => {
    const { setup, keyOf, run, ...first } = await read(begin, end, limit, signal);
    const { lastKey, atEnd, records, readBytes, readMs, cpuMs } = first;
    let { result } = first;
    refuseFailures(setup, result);
    return {
      lastKey,
      atEnd,
      records,
      readBytes,
      readMs,
      cpuMs,
      mutations: result?.mutationCount ?? 0,
      bytes: result?.mutationBytes ?? 0,
      async apply(tx): Promise<ChunkAddition> {
        const failed: FailedOrdinal[] = [];
        while (result !== undefined) {
          const taken = await takenRows(tx, result, setup);
          const [refused] = taken;
          if (refused === undefined) break;
          if (setup.onPoison === 'fail' && refused.unique !== undefined) {
            const { index, owner } = refused.unique;
            throw notUnique(setup.modelName, [duplicatePair(index, owner, keyOf(refused.ordinal))]);
          }
          failed.push(...taken.map(({ ordinal, code, message }) => ({ ordinal, code, message })));
          ({ result } = await run(failed));
          refuseFailures(setup, result);
        }
        if (result !== undefined) write(tx, result);
        const { read = 0, moved = 0, dropped = 0, quarantined = 0, bytes = 0 } = result?.counts ?? {};
        return { ...nothingAdded, recordsRead: read, moved, dropped, quarantined, bytes };
      },
    };
  };

  const demandUnique = async (
    begin: Buffer,
    end: Buffer,
    limit: number,
    signal: AbortSignal,
  ): Promise<UniqueDemand> => {
    const { setup, records, lastKey, atEnd, keyOf, result } = await read(begin, end, limit, signal);
    const mutations = result === undefined ? [] : [...readMutations(result.mutations)];
    const rows: DemandedRow[] = [];
    for (const mutation of mutations.sort(byOrdinal)) {
      const index = mutation.op === 'setIfAbsent' ? indexNameOf(setup, mutation.key) : undefined;
      if (mutation.op !== 'setIfAbsent' || index === undefined) continue;
      rows.push({ index, entry: mutation, recordKey: keyOf(mutation.ordinal) });
    }
    return { rows, records, lastKey, atEnd };
  };

  return {
    name: 'backfill',
    touches: true,
    readsAhead: true,
    prepare,
    demandUnique,
    async checkQuarantine() {
      const rows = await runtime.database.transact((tx) =>
        readRanges(tx, model.keys, 'backfill', { snapshot: true }),
      );
      const { quarantined } = totalsOf(rows);
      if (quarantined <= spec.maxQuarantined) return;
      throw new MigrationException(
        'QUARANTINE_FULL',
        `${quarantined} records of ${model.name} are in quarantine; maxQuarantined is ${spec.maxQuarantined}.`,
        { details: { modelId: model.id, quarantined, maxQuarantined: spec.maxQuarantined } },
      );
    },
  };
}

function write(tx: Transaction, result: ChunkResult): void {
  const cursor = new MutationCursor(result.mutations);
  while (cursor.next()) {
    const { key } = cursor;
    if (cursor.op === 'clear') tx.clear(key);
    else {
      const { value } = cursor;
      if (value.length <= maxPartBytes) tx.set(key, value);
      else setRecord(tx, key, value);
    }
  }
}

/** In the order of the records: mutations come in that of their own keys. */
const byOrdinal = (one: { readonly ordinal: number }, other: { readonly ordinal: number }): number =>
  one.ordinal - other.ordinal;

/** A record that one of its rows is refused for; with whose it is, where that is one of a unique index. */
interface TakenRow extends FailedOrdinal {
  readonly unique?: { readonly index: string; readonly owner: Uint8Array };
}

/** Records whose row, which only one record may have, is another one's: in the database, or within the chunk. */
async function takenRows(tx: Transaction, result: ChunkResult, setup: TransformSetup): Promise<TakenRow[]> {
  if (result.conditional === 0) return [];
  const targetPrefix = Buffer.from(setup.targetPrefix);
  const seen = new Map<string, Buffer>();
  const failed = new Map<number, TakenRow>();
  for (const mutation of readMutations(result.mutations)) {
    if (mutation.op !== 'setIfAbsent') continue;
    const { ordinal, key, value } = mutation;
    const name = key.toString('latin1');
    const before = seen.get(name) ?? (await tx.get(key));
    const isRecord = key.subarray(0, targetPrefix.length).equals(targetPrefix);
    // The value of a unique entry is the key of its record: an equal one is its own. Equal records are two.
    if (before === undefined || (!isRecord && !seen.has(name) && before.equals(value))) seen.set(name, value);
    else
      failed.set(ordinal, isRecord ? duplicateKey(setup, ordinal) : takenEntry(setup, ordinal, key, before));
  }
  return [...failed.values()].sort(byOrdinal);
}

function duplicateKey({ modelName }: TransformSetup, ordinal: number): FailedOrdinal {
  return { ordinal, code: 'DUPLICATE_KEY', message: `Another record of ${modelName} has the same new key.` };
}

function takenEntry(setup: TransformSetup, ordinal: number, entry: Buffer, value: Buffer): TakenRow {
  const index = indexNameOf(setup, entry) ?? '';
  // A mark precedes the key.
  const owner = value.subarray(1);
  const message = `The record of ${setup.modelName} with key bytes ${owner.toString('hex')} has the same values of the unique index ${index}.`;
  return { ordinal, code: 'UNIQUE_VIOLATION', message, unique: { index, owner } };
}

function indexNameOf({ indexes }: TransformSetup, entry: Buffer): string | undefined {
  return indexes.find(({ prefix }) => entry.subarray(0, prefix.length).equals(prefix))?.index.name;
}

function refuseFailures(setup: TransformSetup, result: ChunkResult | undefined): void {
  const [first] = result?.failures ?? [];
  if (first === undefined || setup.onPoison === 'quarantine') return;
  throw poisonError(setup, first, result?.failures.length ?? 1);
}

function poisonError(setup: TransformSetup, failure: ChunkFailure, failures: number): MigrationException {
  const key = Buffer.from(failure.keyBytes).toString('hex');
  const message = `${setup.modelName}, record with key bytes ${key}: ${failure.message}`;
  const details = { model: setup.modelName, key, code: failure.code, failuresInChunk: failures };
  const code =
    failure.code in poisonCodes ? (failure.code as keyof typeof poisonCodes) : 'TRANSFORM_REJECTED';
  return new MigrationException(code, message, { details });
}

const poisonCodes = {
  TRANSFORM_FAILED: true,
  TRANSFORM_REJECTED: true,
  KEY_CHANGED: true,
  DUPLICATE_KEY: true,
} as const;
