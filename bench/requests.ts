import { FoundationDBDataStore, openDatabase } from '../src/index.ts';
import { definitionData } from '../src/model/normalize.ts';
import { createKeyCodec } from '../src/records/key-codec.ts';
import { createStoreKeys, keyAfter, rangeOf } from '../src/records/keys.ts';
import { createRecordCodec } from '../src/records/record-codec.ts';
import type { Comparison } from './compare.ts';
import { compare } from './compare.ts';
import { benchSubspace, createPlace, placeModelId, PlaceV1 } from './models.ts';

const records = 20_000;
const operations = 2_000;
/** Writes that are under way at a time: one commit takes them together, as it would those of a busy server. */
const inFlight = 64;
const pageSize = 500;

/** Prime, so that a walk in such steps meets every record once before it meets one again. */
const stride = 7_919;

/**
 * A store's `get`, `put` and `scan` against the key-value port without it, on one directory. The bare side knows the key
 * and the bytes beforehand: no fence, no definition, no validation, no codec, and it hands out bytes, not records.
 */
export async function compareRequests(directory: string, rounds: number): Promise<readonly Comparison[]> {
  const database = await openDatabase(`embedded:${directory}`);
  const store = await FoundationDBDataStore.open({
    database,
    subspace: benchSubspace,
    dataModelsById: { [placeModelId]: PlaceV1 },
  });
  const places = store.model(PlaceV1);
  const data = definitionData(PlaceV1);
  const [codec, keyCodec] = [createRecordCodec(data), createKeyCodec(data, {})];
  const prefix = createStoreKeys(benchSubspace).model(placeModelId).records(1);
  const keyOf = (n: number) => Buffer.concat([prefix, keyCodec.encode(BigInt(n))]);
  for (let from = 0; from < records; from += 1_000) {
    await store.transact(async (tx) => {
      for (let n = from; n < from + 1_000; n += 1) await tx.model(PlaceV1).add(createPlace(n));
    });
  }
  const keys = Array.from({ length: records }, (_, n) => keyOf(n));
  const bytes = Array.from({ length: records }, (_, n) => codec.encode(createPlace(n), 1));
  const drawn = (round: number, n: number) => ((round * operations + n) * stride) % records;
  const demand = (holds: boolean, what: string) => {
    if (!holds) throw new Error(`a benchmark came to another result: ${what}`);
  };
  const of = <T>(list: readonly T[], n: number) => list[n] as T;

  const get = await compare(
    {
      name: 'get',
      operations,
      async ours(round) {
        for (let n = 0; n < operations; n += 1) {
          const at = drawn(round, n);
          demand((await places.get(BigInt(at)))?.id === BigInt(at), 'get');
        }
      },
      async bare(round) {
        for (let n = 0; n < operations; n += 1) {
          const at = drawn(round, n);
          const found = await database.transact((tx) => tx.get(of(keys, at)));
          demand(found?.equals(of(bytes, at)) === true, 'a bare get');
        }
      },
    },
    rounds,
  );

  const concurrently = async (write: (n: number) => Promise<unknown>) => {
    let next = 0;
    const worker = async () => {
      while (next < operations) await write(next++);
    };
    await Promise.all(Array.from({ length: inFlight }, worker));
  };
  const putRounds = Math.max(3, Math.floor(rounds / 2));
  const put = await compare(
    {
      name: `put, ${inFlight} in flight`,
      operations,
      ours: (round) => concurrently((n) => places.put(createPlace(drawn(round, n)))),
      bare: (round) =>
        concurrently((n) => {
          const at = drawn(round, n);
          return database.transact((tx) => Promise.resolve(tx.set(of(keys, at), of(bytes, at))));
        }),
    },
    putRounds,
  );

  const scan = await compare(
    {
      name: `scan, pages of ${pageSize}`,
      operations: records,
      async ours() {
        let n = 0;
        for await (const place of places.scan({ pageSize })) demand(place.id === BigInt(n++), 'scan');
        demand(n === records, 'scan');
      },
      async bare() {
        const { begin, end } = rangeOf(prefix);
        let n = 0;
        for (let from = begin; ;) {
          const rows = await database.transact((tx) => tx.getRangeAll(from, end, { limit: pageSize }));
          for (const { key } of rows) demand(key.equals(of(keys, n++)), 'a bare scan');
          const last = rows.at(-1);
          if (last === undefined) break;
          from = keyAfter(last.key);
        }
        demand(n === records, 'a bare scan');
      },
    },
    rounds,
  );

  // Whoever wrote last: the rows are the same bytes.
  const { begin, end } = rangeOf(prefix);
  for (let from = begin, n = 0; n < records;) {
    const rows = await database.transact((tx) => tx.getRangeAll(from, end, { limit: 5_000 }));
    for (const { value } of rows) demand(value.equals(of(bytes, n++)), 'put');
    from = keyAfter(rows.at(-1)?.key ?? end);
  }
  await store.close();
  await database.close();
  return [get, put, scan];
}
