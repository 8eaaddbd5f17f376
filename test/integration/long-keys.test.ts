import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bucketBytes } from '../../src/kv/embedded/long-keys.ts';
import { openEmbeddedDatabase } from '../../src/kv/embedded/open.ts';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { openMemoryDatabase } from '../../src/kv/memory/open.ts';
import { drawSeed } from '../rig/seed.ts';
import { createTemporaryDirectory } from '../rig/temporary-directory.ts';

const seed = drawSeed('long keys');
const directory = createTemporaryDirectory('long-keys');
let embedded: KeyValueDatabase;
let memory: KeyValueDatabase;

beforeAll(async () => {
  embedded = await openEmbeddedDatabase({ directory: directory.path });
  memory = openMemoryDatabase();
});
afterAll(async () => {
  await Promise.all([embedded.close(), memory.close()]);
  directory.remove();
});

/** Many that begin alike, around the length at which buckets begin, up to the longest there are. */
const keys = fc
  .tuple(
    fc.constantFrom('', 'a', 'b'),
    fc.constantFrom(0, 1, bucketBytes - 2, bucketBytes - 1, bucketBytes, bucketBytes + 1, 9_990),
    fc.string({ unit: fc.constantFrom('\0', '\u0001', 'm', '\u00fe'), maxLength: 4 }),
  )
  .map(([head, length, tail]) => Buffer.from(`${head}${'x'.repeat(length)}${tail}`, 'latin1'));

type Operation = (database: KeyValueDatabase) => Promise<unknown>;

const ordered = (one: Buffer, other: Buffer) => (one.compare(other) <= 0 ? [one, other] : [other, one]);

const operations: fc.Arbitrary<Operation> = fc.oneof(
  fc.tuple(keys, fc.nat(300)).map(([key, size]): Operation => async (database) => {
    await database.transact(async (tx) => tx.set(key, Buffer.alloc(size, 7)));
  }),
  keys.map((key): Operation => async (database) => {
    await database.transact(async (tx) => tx.clear(key));
  }),
  keys.map(
    (key): Operation =>
      (database) =>
        database.transact((tx) => tx.get(key)),
  ),
  fc.tuple(keys, keys).map(([one, other]): Operation => async (database) => {
    const [begin = one, end = other] = ordered(one, other);
    await database.transact(async (tx) => tx.clearRange(begin, end));
  }),
  fc
    .tuple(keys, keys, fc.boolean(), fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }))
    .map(([one, other, reverse, limit]): Operation => (database) => {
      const [begin = one, end = other] = ordered(one, other);
      return database.transact((tx) => tx.getRangeAll(begin, end, { reverse, limit }));
    }),
  fc.tuple(keys, keys).map(([one, other]): Operation => (database) => {
    const [begin = one, end = other] = ordered(one, other);
    return database.transact(async (tx) => [
      await tx.getEstimatedRangeSizeBytes(begin, end),
      await tx.getRangeSplitPoints(begin, end, 5_000),
    ]);
  }),
);

const everything = (database: KeyValueDatabase) =>
  database.transact((tx) => tx.getRangeAll(Buffer.alloc(0), Buffer.from([0xff])));

describe('keys of up to 10,000 bytes', () => {
  it('are kept by the embedded engine as by one that knows no limit, in the same order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(operations, { maxLength: 40 }), async (sequence) => {
        for (const database of [embedded, memory]) {
          await database.transact(async (tx) => tx.clearRange(Buffer.alloc(0), Buffer.from([0xff])));
        }
        for (const operation of sequence) {
          expect(await operation(embedded)).toEqual(await operation(memory));
        }
        expect(await everything(embedded)).toEqual(await everything(memory));
      }),
      { seed, numRuns: 60 },
    );
  });

  it('bound ranges whose size is estimated, where no long key lies', async () => {
    const own = createTemporaryDirectory('long-keys-estimate');
    const database = await openEmbeddedDatabase({ directory: own.path });
    await database.transact(async (tx) => tx.set(Buffer.from('m'), Buffer.alloc(10)));
    const [begin, end] = [Buffer.alloc(10_000, 0x61), Buffer.alloc(10_000, 0x7a)];
    await database.transact(async (tx) => {
      expect(await tx.getEstimatedRangeSizeBytes(begin, end)).toBeGreaterThan(0);
      expect(await tx.getRangeSplitPoints(begin, end, 5_000)).toEqual([begin, end]);
    });
    await database.close();
    own.remove();
  });

  it('conflict, and are read again after a restart', async () => {
    const own = createTemporaryDirectory('long-keys-restart');
    const key = Buffer.alloc(10_000, 0x61);
    const first = await openEmbeddedDatabase({ directory: own.path });
    await first.transact(async (tx) => tx.set(key, Buffer.from('1')));
    const [one, other] = [first.createTransaction(), first.createTransaction()];
    for (const tx of [one, other]) {
      await tx.get(key);
      tx.set(key, Buffer.from('2'));
    }
    await one.commit();
    await expect(other.commit()).rejects.toMatchObject({ code: 1020 });
    other.cancel();
    await first.close();
    const again = await openEmbeddedDatabase({ directory: own.path });
    expect((await again.transact((tx) => tx.get(key)))?.toString()).toBe('2');
    await again.close();
    own.remove();
  });
});
