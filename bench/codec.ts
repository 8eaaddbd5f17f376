import { isDeepStrictEqual } from 'node:util';
import { Packr } from 'msgpackr';
import { definitionData } from '../src/model/normalize.ts';
import { createRecordCodec } from '../src/records/record-codec.ts';
import type { Comparison } from './compare.ts';
import { compare } from './compare.ts';
import { createPlace, PlaceV1 } from './models.ts';

const operations = 20_000;

/**
 * The codec of records against msgpackr by itself, on the same objects. msgpackr writes names where the codec writes
 * numbers, and knows no schema; it is told to write plain maps, as anybody does whose bytes others shall read.
 */
export async function compareCodec(rounds: number): Promise<readonly Comparison[]> {
  const codec = createRecordCodec(definitionData(PlaceV1));
  const packr = new Packr({ useRecords: false, int64AsType: 'bigint' });
  const records = Array.from({ length: operations }, (_, n) => createPlace(n));
  // What an encoder answers may lie in a buffer that it uses again.
  const encoded = records.map((record) => Buffer.from(codec.encode(record, 1)));
  const packed = records.map((record) => Buffer.from(packr.pack(record)));
  for (const [n, record] of records.entries()) {
    const isSame =
      isDeepStrictEqual(codec.decode(encoded[n] as Buffer).record, record) &&
      isDeepStrictEqual(packr.unpack(packed[n] as Buffer), record);
    if (!isSame) throw new Error(`record ${n} does not come back as it was`);
  }
  const total = (list: readonly Buffer[]) => list.reduce((sum, { length }) => sum + length, 0);
  const demand = (bytes: number, expected: number) => {
    if (bytes !== expected) throw new Error(`${bytes} bytes came out instead of ${expected}`);
  };
  const [encodedBytes, packedBytes] = [total(encoded), total(packed)];

  const encode = await compare(
    {
      name: 'encode',
      operations,
      ours() {
        let bytes = 0;
        for (const record of records) bytes += codec.encode(record, 1).length;
        demand(bytes, encodedBytes);
      },
      bare() {
        let bytes = 0;
        for (const record of records) bytes += packr.pack(record).length;
        demand(bytes, packedBytes);
      },
    },
    rounds,
  );
  let sum = 0n;
  const expected = records.reduce((all, { id }) => all + id, 0n);
  const demandSum = () => {
    if (sum !== expected) throw new Error('other records came out');
    sum = 0n;
  };
  const decode = await compare(
    {
      name: 'decode',
      operations,
      ours() {
        for (const bytes of encoded) sum += codec.decode(bytes).record['id'] as bigint;
        demandSum();
      },
      bare() {
        for (const bytes of packed) sum += (packr.unpack(bytes) as { readonly id: bigint }).id;
        demandSum();
      },
    },
    rounds,
  );
  return [encode, decode];
}
