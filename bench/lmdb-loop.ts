import { definitionData } from '../src/model/normalize.ts';
import { createIndexEncoder } from '../src/records/index-entries.ts';
import { createStoreKeys, keyAfter, rangeOf } from '../src/records/keys.ts';
import { createRecordCodec } from '../src/records/record-codec.ts';
import { openBare } from './bare-lmdb.ts';
import type { LoopOptions } from './loop.ts';
import { bytesPerTransaction, recordsPerTransaction, target } from './loop.ts';
import { benchSubspace, placeModelId, PlaceV1, PlaceV2 } from './models.ts';

/** The engine's files, opened without the engine: its keys have one byte before them, which LMDB asks for. */
const keyMark = Buffer.of(1);
const stored = (key: Uint8Array) => Buffer.concat([keyMark, key]);

/**
 * The loop of `loop.ts` without any key-value port: on LMDB's own tables, through the package `lmdb`, with the same
 * codecs, the same batches and the same durability, because a transaction's promise means that it is on the disk. No
 * snapshots that others may hold, no conflicts, no log for other processes: nobody else may have the directory open.
 *
 * @param measured called with the work itself: opening and closing are none of it
 */
export async function runLmdbLoop(
  directory: string,
  { spend, moved: tell }: LoopOptions,
  measured: (work: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const { environment, data } = openBare(directory);
  const keys = createStoreKeys(benchSubspace).model(placeModelId);
  const prefix = stored(keys.records(target.keySpace));
  const cursorKey = stored(Buffer.concat([keys.state, Buffer.from('lmdb')]));
  const indexPrefix = stored(keys.index(target.indexId));
  const [from, to] = [createRecordCodec(definitionData(PlaceV1)), createRecordCodec(definitionData(PlaceV2))];
  const wanted = definitionData(PlaceV2);
  const [index] = wanted.indexes;
  if (index === undefined) throw new Error('the model has no index');
  const encoder = createIndexEncoder(wanted, index);

  await measured(async () => {
    const { begin, end } = rangeOf(prefix);
    for (let start: Buffer | undefined = begin; start !== undefined;) {
      const cursor: Buffer = start;
      let records = 0;
      start = await environment.transaction((): Buffer | undefined => {
        let last: Buffer | undefined;
        // Whole before the first write: a cursor does not like its pages to change.
        const rows = takeBatch(data.getRange({ start: cursor, end, limit: recordsPerTransaction }));
        records = rows.length;
        for (const { key, value } of rows) {
          const { record, unknown } = from.decode(value);
          spend();
          const moved = { ...record, latitude: Number(record['latitude']) };
          void data.put(key, to.encode(moved, target.schemaId, unknown));
          for (const entry of encoder.entries(moved, key.subarray(prefix.length))) {
            void data.put(Buffer.concat([indexPrefix, entry.key]), entry.value);
          }
          last = key;
        }
        if (last === undefined) return undefined;
        void data.put(cursorKey, last);
        return keyAfter(last);
      });
      tell(records);
    }
  });
  await environment.close();
}

function takeBatch<Row extends { readonly key: Buffer; readonly value: Buffer }>(rows: Iterable<Row>): Row[] {
  const batch: Row[] = [];
  let bytes = 0;
  for (const row of rows) {
    batch.push(row);
    bytes += row.key.length + row.value.length;
    if (bytes >= bytesPerTransaction) break;
  }
  return batch;
}
