import type { KeyValue, KeyValueDatabase } from '../../src/kv/kv.ts';
import type { ReferenceKeys } from '../../src/model/data.ts';
import { readDefinition } from '../../src/records/definitions.ts';
import { readFence } from '../../src/records/fence.ts';
import { createIndexEncoder } from '../../src/records/index-entries.ts';
import type { KeyRange, ModelKeys } from '../../src/records/keys.ts';
import { keyAfter, rangeOf } from '../../src/records/keys.ts';
import { behindRecord, getRecords } from '../../src/records/record-rows.ts';
import { createRecordCodec } from '../../src/records/record-codec.ts';

type Database = Pick<KeyValueDatabase, 'transact'>;

/** One transaction reads this many rows: far below its 5 s and 10 MB. */
const rowsAtATime = 5_000;

/** Every row in a range, read in as many transactions as it takes: for databases that nobody writes to meanwhile. */
export async function readRows(database: Database, { begin, end }: KeyRange): Promise<KeyValue[]> {
  const rows: KeyValue[] = [];
  for (let from = begin; ;) {
    const some = await database.transact((tx) =>
      tx.getRangeAll(from, end, { limit: rowsAtATime, targetBytes: 5_000_000, snapshot: true }),
    );
    rows.push(...some);
    const last = some.at(-1);
    if (last === undefined) return rows;
    from = keyAfter(last.key);
  }
}

/** Every record in a range, whole. */
export async function readRecords(database: Database, { begin, end }: KeyRange): Promise<KeyValue[]> {
  const records: KeyValue[] = [];
  for (let from = begin; ;) {
    const { rows, atEnd } = await database.transact((tx) =>
      getRecords(tx, from, end, { limit: rowsAtATime, targetBytes: 4_000_000, snapshot: true }),
    );
    records.push(...rows);
    const last = rows.at(-1);
    if (last === undefined || atEnd) return records;
    from = behindRecord(last.key);
  }
}

/** Everything under a prefix as text: equal before and after means that nothing was written. */
export async function dump(database: Database, prefix: Uint8Array): Promise<string[]> {
  return (await readRows(database, rangeOf(prefix))).map(textOf);
}

/** Entries of one index: those that its records demand, and those that are there. Sorted, as text. */
export interface RecomputedIndex {
  readonly name: string;
  readonly state: 'building' | 'ready';
  readonly expected: readonly string[];
  readonly actual: readonly string[];
}

/**
 * Computes the entries of every index of a model anew, from its records and its published definition alone.
 * `expect(expected).toEqual(actual)` for each of them.
 */
export async function recomputeIndexes(
  database: Database,
  keys: ModelKeys,
  references: ReferenceKeys = {},
): Promise<RecomputedIndex[]> {
  const { fence, definition } = await database.transact(async (tx) => {
    const found = await readFence(tx, keys);
    if (found === undefined) throw new Error('the model was never published');
    return { fence: found, definition: await readDefinition(tx, keys, found.schemaId) };
  });
  if (definition === undefined) throw new Error(`definition ${fence.schemaId} is gone`);
  const { data } = definition;
  const codec = createRecordCodec(data);
  const prefix = keys.records(fence.keySpace);
  const records = (await readRecords(database, rangeOf(prefix))).map(({ key, value }) => ({
    primaryKey: key.subarray(prefix.length),
    record: codec.decode(value).record,
  }));
  const recomputed: RecomputedIndex[] = [];
  for (const { name, indexId, state } of definition.indexes) {
    const index = data.indexes.find((candidate) => candidate.name === name);
    if (index === undefined) throw new Error(`there is no index ${name}`);
    const encoder = createIndexEncoder(data, index, references);
    const indexPrefix = keys.index(indexId);
    const expected = records.flatMap(({ record, primaryKey }) =>
      encoder
        .entries(record, primaryKey)
        .map(({ key, value }) => textOf({ key: Buffer.concat([indexPrefix, key]), value })),
    );
    const actual = (await readRows(database, rangeOf(indexPrefix))).map(textOf);
    recomputed.push({ name, state, expected: expected.toSorted(), actual: actual.toSorted() });
  }
  return recomputed;
}

function textOf({ key, value }: { readonly key: Buffer; readonly value: Buffer }): string {
  return `${key.toString('hex')} = ${value.toString('hex')}`;
}
