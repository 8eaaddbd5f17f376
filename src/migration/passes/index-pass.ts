import { MigrationException, RequestException } from '../../errors.ts';
import type { Transaction } from '../../kv/kv.ts';
import { isUniqueEntry } from '../../records/index-entries.ts';
import type { MaintainedIndex } from '../../records/maintained-index.ts';
import { createMaintainedIndexes } from '../../records/maintained-index.ts';
import { createRecordCodec } from '../../records/record-codec.ts';
import { behindRecord, getRecords } from '../../records/record-rows.ts';
import { duplicatePair, notUnique } from '../duplicates.ts';
import type { ModelMigration } from '../runtime.ts';
import type { MigrationState } from '../state.ts';
import type { ChunkAddition, PreparedChunk } from './chunk.ts';
import { nothingAdded } from './chunk.ts';
import { chunkLimits } from './controller.ts';
import type { Pass } from './mover.ts';
import type { DemandedRow } from './name-duplicates.ts';

/** Read at most; entries come on top. */
const targetBytes = chunkLimits.maxBytes / 2;

/**
 * Fills indexes from records that stay as they are. Reads the records normally in the transaction that writes their
 * entries: the gate may be open, and writers keep what is being built up to date themselves (protocol 7).
 */
export function createIndexPass({ runtime, model }: ModelMigration, state: MigrationState): Pass {
  const codec = createRecordCodec(model.data);
  const prefix = model.keys.records(state.targetKeySpace);
  const building = state.indexes
    .filter(({ mode }) => mode === 'fill')
    .map(({ name, indexId }) => ({ name, indexId, state: 'building' as const }));
  const indexes = createMaintainedIndexes(model.data, building, model.keys, model.references);

  const fill = async (tx: Transaction, key: Buffer, value: Buffer): Promise<number> => {
    const primaryKey = key.subarray(prefix.length);
    const { record } = codec.decode(value);
    let bytes = 0;
    for (const index of indexes) {
      for (const entry of entriesOf(index, record, primaryKey, model.name)) {
        if (isUniqueEntry(entry)) {
          const owner = await tx.get(entry.key);
          if (owner !== undefined && !owner.equals(entry.value)) {
            // The value of a unique entry is a mark, then the key of its record.
            throw notUnique(model.name, [duplicatePair(index.name, owner.subarray(1), primaryKey)]);
          }
        }
        tx.set(entry.key, entry.value);
        bytes += entry.key.length + entry.value.length;
      }
    }
    return bytes;
  };

  const read = (begin: Buffer, end: Buffer, limit: number, signal: AbortSignal) =>
    runtime.database.transact((tx) => getRecords(tx, begin, end, { snapshot: true, limit, targetBytes }), {
      signal,
      priority: 'batch',
    });

  const uniqueRows = (recordKey: Buffer, value: Buffer): readonly DemandedRow[] => {
    const { record } = codec.decode(value);
    return indexes.flatMap((index) =>
      entriesOf(index, record, recordKey, model.name)
        .filter(isUniqueEntry)
        .map((entry) => ({ index: index.name, entry, recordKey })),
    );
  };

  return {
    name: 'index',
    touches: state.kind === 'migration',
    readsAhead: false,
    async prepare(begin, end, limit, signal): Promise<PreparedChunk> {
      const startedMs = runtime.clock.monotonicMs();
      const { rows, atEnd } = await read(begin, end, limit, signal);
      const readMs = runtime.clock.monotonicMs() - startedMs;
      const readBytes = rows.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
      const lastKey = rows.at(-1)?.key;
      return {
        lastKey,
        atEnd,
        records: rows.length,
        readBytes,
        readMs,
        cpuMs: 0,
        mutations: rows.length * indexes.length,
        bytes: readBytes,
        async apply(tx): Promise<ChunkAddition> {
          if (lastKey === undefined) return nothingAdded;
          let bytes = 0;
          const whole = { limit: Number.POSITIVE_INFINITY, targetBytes: Number.POSITIVE_INFINITY };
          const { rows: present } = await getRecords(tx, begin, behindRecord(lastKey), whole);
          for (const { key, value } of present) bytes += await fill(tx, key, value);
          return { ...nothingAdded, recordsRead: present.length, bytes };
        },
      };
    },
    async demandUnique(begin, end, limit, signal) {
      const { rows, atEnd } = await read(begin, end, limit, signal);
      const demanded = rows.flatMap(({ key, value }) => uniqueRows(key.subarray(prefix.length), value));
      return { rows: demanded, records: rows.length, lastKey: rows.at(-1)?.key, atEnd };
    },
  };
}

function entriesOf(
  index: MaintainedIndex,
  record: Readonly<Record<string, unknown>>,
  primaryKey: Buffer,
  modelName: string,
) {
  try {
    return index.entries(record, primaryKey);
  } catch (error) {
    if (!(error instanceof RequestException)) throw error;
    throw new MigrationException(
      'VERIFICATION_FAILED',
      `A record of ${modelName} has no entry in index ${index.name}: ${error.message}`,
      { details: { model: modelName, index: index.name, key: primaryKey.toString('hex') }, cause: error },
    );
  }
}
