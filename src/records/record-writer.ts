import { RequestException } from '../errors.ts';
import type { Transaction } from '../kv/kv.ts';
import type { DefinitionData, RecordData, ReferenceKeys } from '../model/data.ts';
import type { IndexEntry } from './index-entries.ts';
import { isUniqueEntry } from './index-entries.ts';
import type { KeyCodec } from './key-codec.ts';
import { createKeyCodec } from './key-codec.ts';
import type { ModelKeys } from './keys.ts';
import type { MaintainedIndex } from './maintained-index.ts';
import type { RecordCodec, UnknownValues } from './record-codec.ts';
import { checkRecordSize, createRecordCodec } from './record-codec.ts';
import { clearRecord, partCountOf, setRecord } from './record-rows.ts';

/** Where records are written to, and which definition they are written under. */
export interface RecordWriterOptions {
  readonly data: DefinitionData;
  readonly schemaId: number;
  readonly keySpace: number;
  readonly keys: ModelKeys;
  /** Maintained with every write; see `createMaintainedIndexes`. */
  readonly indexes: readonly MaintainedIndex[];
  readonly references: ReferenceKeys;
}

/**
 * Writes records of one definition together with their index entries. Knows nothing of fence and gate, and validates
 * nothing: requests do that before, a migration its own way.
 */
export interface RecordWriter {
  readonly data: DefinitionData;
  readonly schemaId: number;
  readonly codec: RecordCodec;
  readonly keyCodec: KeyCodec;
  readonly indexes: readonly MaintainedIndex[];
  /** All records begin with it. */
  readonly prefix: Buffer;
  /** The whole key of a record. */
  recordKey(primaryKey: Uint8Array): Buffer;
  /** @throws RequestException RECORD_TOO_LARGE */
  encode(record: RecordData, unknown?: UnknownValues): EncodedRecord;
  /**
   * Writes a record, and the difference between its index entries and those of `before`: the record that the same
   * entries were written for, by this definition's names. Whatever is refused is refused before anything is written.
   *
   * @throws RequestException UNIQUE_VIOLATION, RECORD_TOO_LARGE, KEY_TOO_LARGE, RECORD_UNREADABLE
   */
  write(tx: Transaction, record: EncodedRecord, before?: RecordBefore): Promise<void>;
  /** Clears a record with the index entries of `before`. */
  remove(tx: Transaction, primaryKey: Uint8Array, before: RecordBefore): Promise<void>;
}

/** What lies under the key of a record that is to be written or cleared. */
export interface RecordBefore {
  /** By the names of the writer's definition. */
  readonly record: RecordData;
  /** As stored: how many rows it takes. */
  readonly bytes: Uint8Array;
}

export interface EncodedRecord {
  readonly primaryKey: Buffer;
  readonly bytes: Buffer;
  /** By the names of the writer's definition: what index entries are made of. */
  readonly record: RecordData;
}

export function createRecordWriter(options: RecordWriterOptions): RecordWriter {
  const { data, schemaId, indexes } = options;
  const prefix = options.keys.records(options.keySpace);
  const codec = createRecordCodec(data);
  const keyCodec = createKeyCodec(data, options.references);
  const recordKey = (primaryKey: Uint8Array) => Buffer.concat([prefix, primaryKey]);
  return {
    data,
    schemaId,
    codec,
    keyCodec,
    indexes,
    prefix,
    recordKey,
    encode(record, unknown) {
      const bytes = codec.encode(record, schemaId, unknown);
      checkRecordSize(data.name, bytes);
      return { primaryKey: keyCodec.encodeFromRecord(record), bytes, record };
    },
    async write(tx, { primaryKey, bytes, record }, before) {
      checkRecordSize(data.name, bytes);
      const change = await entryChange(tx, data.name, indexes, primaryKey, before, record);
      // Clearing comes first: an entry may keep its key and change its value.
      for (const key of change.clear) tx.clear(key);
      for (const { key, value } of change.set) tx.set(key, value);
      setRecord(
        tx,
        recordKey(primaryKey),
        bytes,
        before === undefined ? undefined : partCountOf(before.bytes),
      );
    },
    async remove(tx, primaryKey, before) {
      const change = await entryChange(tx, data.name, indexes, primaryKey, before, undefined);
      for (const key of change.clear) tx.clear(key);
      clearRecord(tx, recordKey(primaryKey), partCountOf(before.bytes));
    },
  };
}

interface EntryChange {
  readonly set: readonly IndexEntry[];
  readonly clear: readonly Buffer[];
}

/** What a change of one record means for its index entries. Reads, but writes nothing. */
async function entryChange(
  tx: Transaction,
  model: string,
  indexes: readonly MaintainedIndex[],
  primaryKey: Uint8Array,
  before: RecordBefore | undefined,
  after: RecordData | undefined,
): Promise<EntryChange> {
  const set: IndexEntry[] = [];
  const clear: Buffer[] = [];
  const reads: Promise<void>[] = [];
  for (const index of indexes) {
    const isBuilding = index.state === 'building';
    const old = before === undefined ? [] : entriesBefore(index, before.record, primaryKey);
    const fresh = after === undefined ? [] : index.entries(after, primaryKey);
    // While an index is built nobody knows whether it has the entries of this record yet.
    for (const entry of isBuilding ? fresh : without(fresh, old)) {
      set.push(entry);
      if (isUniqueEntry(entry)) reads.push(refuseOtherOwner(tx, model, index, entry));
    }
    for (const entry of without(old, fresh)) {
      if (isBuilding && isUniqueEntry(entry)) reads.push(clearIfOwn(tx, entry, clear));
      else clear.push(entry.key);
    }
  }
  const results = await Promise.allSettled(reads);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  return { set, clear };
}

/**
 * While an index is built for a migration, a record may still be of the old definition, whose values need not be of the
 * types that its entries are made of: then it has none.
 */
function entriesBefore(
  index: MaintainedIndex,
  before: RecordData,
  primaryKey: Uint8Array,
): readonly IndexEntry[] {
  try {
    return index.entries(before, primaryKey);
  } catch (error) {
    const hasNone = error instanceof RequestException && error.code === 'RECORD_UNREADABLE';
    if (hasNone && index.state === 'building') return [];
    throw error;
  }
}

/** Entries that are not in `others`, by key and value. */
function without(entries: readonly IndexEntry[], others: readonly IndexEntry[]): readonly IndexEntry[] {
  if (others.length === 0) return entries;
  const values = new Map(others.map(({ key, value }) => [key.toString('latin1'), value]));
  return entries.filter(({ key, value }) => values.get(key.toString('latin1'))?.equals(value) !== true);
}

async function refuseOtherOwner(
  tx: Transaction,
  model: string,
  index: MaintainedIndex,
  entry: IndexEntry,
): Promise<void> {
  const owner = await tx.get(entry.key);
  if (owner === undefined || owner.equals(entry.value)) return;
  throw new RequestException(
    'UNIQUE_VIOLATION',
    `Another record of ${model} has the same values of the unique index ${index.name}.`,
    { details: { model, index: index.name } },
  );
}

/** While an index is built, two records may claim one entry and only one of them has it: the other clears nothing. */
async function clearIfOwn(tx: Transaction, entry: IndexEntry, clear: Buffer[]): Promise<void> {
  const owner = await tx.get(entry.key);
  if (owner?.equals(entry.value) === true) clear.push(entry.key);
}
