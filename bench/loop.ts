import type { KeyValue } from '../src/kv/kv.ts';
import { chunkLimits } from '../src/migration/passes/controller.ts';
import { definitionData } from '../src/model/normalize.ts';
import { createIndexEncoder } from '../src/records/index-entries.ts';
import { createStoreKeys, keyAfter, rangeOf } from '../src/records/keys.ts';
import { createRecordCodec } from '../src/records/record-codec.ts';
import { benchSubspace, placeModelId, PlaceV1, PlaceV2 } from './models.ts';

/** What Godwit gives to a model's second definition and its first index: the loop's rows shall be the same bytes. */
export const target = { schemaId: 2, keySpace: 1, indexId: 1 } as const;
export const recordsPerTransaction = 1_000;
/** Large records: what the chunks of a backfill read at most as well (src/migration/passes/transform-pass.ts). */
export const bytesPerTransaction = chunkLimits.maxBytes / 2;

/** What the loop needs of a database: transactions that are tried again, and rows. */
export interface LoopDatabase {
  transact<T>(body: (tx: LoopTransaction) => Promise<T>): Promise<T>;
}

export interface LoopTransaction {
  getRangeAll(
    begin: Buffer,
    end: Buffer,
    options: { readonly snapshot: true; readonly limit: number; readonly targetBytes: number },
  ): Promise<readonly KeyValue[]>;
  set(key: Buffer, value: Buffer): void;
}

/** What is done with each record, and told after each commit. */
export interface LoopOptions {
  /** What converting costs besides. */
  readonly spend: () => void;
  readonly moved: (records: number) => void;
}

/**
 * The migration as somebody in a hurry writes it, and as fast as it gets on one thread: decodes, converts, encodes,
 * writes record and index entry, and keeps a cursor. It reads without conflicts and checks nothing: no ownership, no
 * operator, no value's limits, no count. One transaction at a time.
 */
export async function runLoop(database: LoopDatabase, { spend, moved: tell }: LoopOptions): Promise<void> {
  const keys = createStoreKeys(benchSubspace).model(placeModelId);
  const prefix = keys.records(target.keySpace);
  const cursorKey = Buffer.concat([keys.state, Buffer.from('loop')]);
  const indexPrefix = keys.index(target.indexId);
  const [stored, wanted] = [definitionData(PlaceV1), definitionData(PlaceV2)];
  const [index] = wanted.indexes;
  if (index === undefined) throw new Error('the model has no index');
  const from = createRecordCodec(stored);
  const to = createRecordCodec(wanted);
  const encoder = createIndexEncoder(wanted, index);
  const { end } = rangeOf(prefix);
  let { begin } = rangeOf(prefix);
  for (;;) {
    const cursor = begin;
    const { last, records } = await database.transact(async (tx) => {
      const rows = await tx.getRangeAll(cursor, end, {
        snapshot: true,
        limit: recordsPerTransaction,
        targetBytes: bytesPerTransaction,
      });
      for (const { key, value } of rows) {
        const { record, unknown } = from.decode(value);
        spend();
        const moved = { ...record, latitude: Number(record['latitude']) };
        tx.set(key, to.encode(moved, target.schemaId, unknown));
        for (const entry of encoder.entries(moved, key.subarray(prefix.length))) {
          tx.set(Buffer.concat([indexPrefix, entry.key]), entry.value);
        }
      }
      const lastKey = rows.at(-1)?.key;
      if (lastKey !== undefined) tx.set(cursorKey, lastKey);
      return { last: lastKey, records: rows.length };
    });
    tell(records);
    if (last === undefined) return;
    begin = keyAfter(last);
  }
}
