import { GodwitException } from '../errors.ts';
import type { KeyValue, Transaction } from '../kv/kv.ts';
import { limits } from '../limits.ts';
import type { DefinitionData, ReferenceKeys } from '../model/data.ts';
import type { StoredIndex } from './definitions.ts';
import { primaryKeyOfEntry } from './index-entries.ts';
import type { ModelKeys } from './keys.ts';
import type { MaintainedIndex } from './maintained-index.ts';
import { createMaintainedIndexes } from './maintained-index.ts';
import type { RecordCodec } from './record-codec.ts';
import { createRecordCodec } from './record-codec.ts';
import { maxPartBytes, sizeUpTo, withOtherParts } from './record-rows.ts';

/** A record, or one of its entries in an index, that is not as it should be. Never has a value of either. */
export interface Disagreement {
  /** `record`: it cannot be read. `missing`: an entry that it demands. `unexpected`: one that it does not. */
  readonly kind: 'record' | 'missing' | 'unexpected';
  /** 0 where it is about no index. */
  readonly indexId: number;
  /** Of the record. An entry's own key would tell its values. */
  readonly primaryKey: Uint8Array;
  readonly problem: string;
}

export interface LookedUp {
  readonly found: readonly Disagreement[];
  /** How many of the rows it came to, from the first: fewer than given where their records are large. */
  readonly rows: number;
  /** Entries that the records demand, by index id; of entries: those that were looked at. */
  readonly counts: ReadonlyMap<number, number>;
}

/**
 * Looks up, in one transaction and as of its read version, what records and index entries say of each other. What
 * agrees then stays so: whoever writes a record keeps its entries.
 */
export interface IndexAgreement {
  /** The entries that records demand. */
  ofRecords(tx: Transaction, records: readonly KeyValue[]): Promise<LookedUp>;
  /** The records that entries of one index lead to. */
  ofEntries(tx: Transaction, entries: readonly KeyValue[]): Promise<LookedUp>;
}

/** Rows looked up side by side. */
const rowsAtOnce = limits.migration.lookedUpRows.value;
/** Of records that entries lead to, in one transaction. */
const maxBytes = limits.migration.lookedUpBytes.value;
const maxRecordBytes = limits.records.recordBytes.value;
/** As many of the largest records as these are. */
const firstRows = Math.floor(maxBytes / maxRecordBytes);

interface Followed {
  readonly entry: KeyValue;
  readonly primaryKey: Uint8Array;
  readonly recordKey: Buffer;
  readonly first: Buffer | undefined;
}

export interface IndexAgreementOptions {
  readonly data: DefinitionData;
  readonly indexes: readonly Pick<StoredIndex, 'name' | 'indexId'>[];
  readonly keys: ModelKeys;
  readonly keySpace: number;
  readonly references: ReferenceKeys;
}

export function createIndexAgreement(options: IndexAgreementOptions): IndexAgreement {
  const { data, keys, references } = options;
  const recordsPrefix = keys.records(options.keySpace);
  const codec = createRecordCodec(data);
  const stored = options.indexes.map((index) => ({ ...index, state: 'ready' as const }));
  const indexes = createMaintainedIndexes(data, stored, keys, references);

  const ofRecord = async (tx: Transaction, { key, value }: KeyValue, counts: Map<number, number>) => {
    const primaryKey = key.subarray(recordsPrefix.length);
    const found: Disagreement[] = [];
    const demanded = demandedBy(codec, indexes, value, primaryKey);
    if (typeof demanded === 'string') {
      return [{ kind: 'record' as const, indexId: 0, primaryKey, problem: demanded }];
    }
    for (const { indexId, entries } of demanded) {
      counts.set(indexId, (counts.get(indexId) ?? 0) + entries.length);
      const present = await Promise.all(entries.map((entry) => tx.get(entry.key, { snapshot: true })));
      entries.forEach((entry, at) => {
        const other = present[at];
        if (other?.equals(entry.value) === true) return;
        const problem = other === undefined ? 'has no entry' : 'another record has its entry';
        found.push({ kind: 'missing', indexId, primaryKey, problem });
      });
    }
    return found;
  };

  /** A row of an index, and the first row of the record that it leads to. */
  const follow = async (tx: Transaction, index: MaintainedIndex, entry: KeyValue): Promise<Followed> => {
    const primaryKey = primaryKeyOf(index, entry.key, entry.value);
    const recordKey = Buffer.concat([recordsPrefix, primaryKey]);
    const first = primaryKey.length === 0 ? undefined : await tx.get(recordKey, { snapshot: true });
    return { entry, primaryKey, recordKey, first };
  };

  const ofEntry = async (
    tx: Transaction,
    index: MaintainedIndex,
    { entry, primaryKey, recordKey, first }: Followed,
  ): Promise<Disagreement | undefined> => {
    const unexpected = (problem: string): Disagreement => ({
      kind: 'unexpected',
      indexId: index.indexId,
      primaryKey,
      problem,
    });
    if (primaryKey.length === 0) return unexpected('an entry that leads nowhere');
    if (first === undefined) return unexpected('there is no such record');
    const record = await withOtherParts(tx, recordKey, first, { snapshot: true });
    const demanded = demandedBy(codec, [index], record, Buffer.from(primaryKey));
    // What cannot be read is a finding of the record.
    if (typeof demanded === 'string') return undefined;
    const isDemanded = demanded.some(({ entries }) =>
      entries.some(({ key, value }) => key.equals(entry.key) && value.equals(entry.value)),
    );
    return isDemanded ? undefined : unexpected('the record has other values');
  };

  return {
    async ofRecords(tx, records) {
      const counts = new Map<number, number>();
      const found: Disagreement[] = [];
      for (let from = 0; from < records.length; from += rowsAtOnce) {
        const some = records.slice(from, from + rowsAtOnce);
        found.push(...(await Promise.all(some.map((record) => ofRecord(tx, record, counts)))).flat());
      }
      return { found, rows: records.length, counts };
    },
    async ofEntries(tx, entries) {
      const index = entries[0] === undefined ? undefined : indexOfKey(indexes, entries[0].key);
      if (index === undefined) return { found: [], rows: entries.length, counts: new Map() };
      const found: Disagreement[] = [];
      let rows = 0;
      let bytesLeft = maxBytes;
      // The first few fit whatever their records have. Those behind them are as many as is likely.
      for (let most = firstRows; rows < entries.length && most > 0;) {
        const some = entries.slice(rows, rows + most);
        const followed = await Promise.all(some.map((entry) => follow(tx, index, entry)));
        for (const { first } of followed) bytesLeft -= first?.length ?? 0;
        const end = followed.findIndex(({ first }) => {
          // One that is damaged may say that it is larger than any can be, and nobody would come past it.
          const rest = first === undefined ? 0 : Math.min(sizeUpTo(first), maxRecordBytes) - first.length;
          if (rest > bytesLeft) return true;
          bytesLeft -= rest;
          return false;
        });
        const fitting = end === -1 ? followed : followed.slice(0, end);
        const looked = await Promise.all(fitting.map((one) => ofEntry(tx, index, one)));
        found.push(...looked.filter((one) => one !== undefined));
        rows += fitting.length;
        if (end !== -1) break;
        const likely = Math.max(maxPartBytes, (maxBytes - bytesLeft) / rows);
        most = Math.min(rowsAtOnce, 2 * most, Math.floor(bytesLeft / likely));
      }
      return { found, rows, counts: new Map([[index.indexId, rows]]) };
    },
  };
}

/** The entries of a record in each index, or why there is no telling. */
function demandedBy(
  codec: RecordCodec,
  indexes: readonly MaintainedIndex[],
  bytes: Buffer,
  primaryKey: Buffer,
): string | readonly { indexId: number; entries: ReturnType<MaintainedIndex['entries']> }[] {
  try {
    const { record } = codec.decode(bytes);
    return indexes.map((index) => ({ indexId: index.indexId, entries: index.entries(record, primaryKey) }));
  } catch (error) {
    if (error instanceof GodwitException) return error.message;
    throw error;
  }
}

function primaryKeyOf({ prefix }: MaintainedIndex, key: Buffer, value: Buffer): Uint8Array {
  try {
    return primaryKeyOfEntry(key.subarray(prefix.length), value);
  } catch (error) {
    if (error instanceof TypeError) return new Uint8Array();
    throw error;
  }
}

function indexOfKey(indexes: readonly MaintainedIndex[], key: Buffer): MaintainedIndex {
  const found = indexes.find(({ prefix }) => key.subarray(0, prefix.length).equals(prefix));
  if (found === undefined) throw new Error('an entry lies in none of the indexes that are verified');
  return found;
}
