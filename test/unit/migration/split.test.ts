import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { KeyValueDatabase, Transaction } from '../../../src/kv/kv.ts';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import type { RangeRow } from '../../../src/migration/passes/ledger.ts';
import { createRange, readRanges, totalsOf, writeRange } from '../../../src/migration/passes/ledger.ts';
import { leastSplitRecords, splitRange } from '../../../src/migration/passes/split.ts';
import { createStoreKeys, rangeOf } from '../../../src/records/keys.ts';
import { behindRecord, setRecord } from '../../../src/records/record-rows.ts';
import { overriding } from '../../rig/overriding.ts';
import { drawSeed } from '../../rig/seed.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

const seed = drawSeed('ranges that are cut again and again');
const keys = createStoreKeys(['split']).model(1);
const slice = rangeOf(keys.records(1));

function keyOf(n: number): Buffer {
  const number = Buffer.alloc(5);
  number.writeUInt32BE(n);
  return Buffer.concat([slice.begin, number]);
}

/** Another process has moved `moved` of the records, `chunk` at a time; answers where its range was cut. */
async function cutRange(records: number, moved: number, chunk: number, changes: Partial<RangeRow>) {
  const database = openMemoryDatabase();
  onTestFinished(() => database.close());
  await database.transact((tx) => {
    for (let n = 0; n < records; n += 1) setRecord(tx, keyOf(n), Buffer.alloc(200, 1));
    writeRange(tx, keys, 'backfill', 0, {
      ...createRange(slice, records),
      claim: { session: 'mover', claimSeq: 1 },
      claimSeq: 1,
      cursor: moved === 0 ? null : keyOf(moved - 1).toString('base64'),
      recordsRead: moved,
      seq: moved / chunk,
      ...changes,
    });
    return Promise.resolve();
  });
  const cut = await database.transact(async (tx) => {
    const rows = await readRanges(tx, keys, 'backfill');
    const session = 'thief';
    return splitRange(tx, {
      keys,
      pass: 'backfill',
      rows,
      session,
      leastRecords: leastSplitRecords,
    });
  });
  if (cut === undefined) return undefined;
  const at = Buffer.from(cut.row.begin, 'base64');
  return at.subarray(slice.begin.length).readUInt32BE();
}

it('cuts at about the middle of what is left', async () => {
  const at = await cutRange(6_000, 1_000, 100, { recordsPerSecond: 100_000 });
  expect(at).toBeGreaterThan(3_000);
  expect(at).toBeLessThan(4_000);
});

it('leaves whole what is done sooner than it is cut', async () => {
  expect(await cutRange(1_200, 100, 50, { recordsPerSecond: 100_000 })).toBeUndefined();
});

it('leaves whole a small range whose pace is not known yet', async () => {
  expect(await cutRange(1_200, 0, 50, { recordsPerSecond: 0 })).toBeUndefined();
});

it('cuts few records that take long', async () => {
  const at = await cutRange(1_200, 100, 50, { recordsPerSecond: 100 });
  expect(at).toBeGreaterThan(500);
  expect(at).toBeLessThan(800);
});

it('cuts no closer than two chunks to a mover that is slow', async () => {
  expect(await cutRange(1_200, 800, 400, { recordsPerSecond: 10 })).toBeUndefined();
});

const session = 'thief';
const cutAll = (rows: readonly RangeRow[], database: KeyValueDatabase, leastRecords = leastSplitRecords) =>
  database.transact(async (tx) => {
    const cut = await splitRange(tx, { keys, pass: 'backfill', rows, session, leastRecords });
    if (cut !== undefined) writeRange(tx, keys, 'backfill', cut.number, cut.row);
    return cut;
  });
const readAll = (database: KeyValueDatabase) =>
  database.transact((tx) => readRanges(tx, keys, 'backfill', { snapshot: true }));
const taken = (row: RangeRow): RangeRow => ({
  ...row,
  claimSeq: 1,
  claim: { session: 'mover', claimSeq: 1 },
});
const bytesOf = (base64: string) => Buffer.from(base64, 'base64');
const numberAt = (base64: string) => {
  const key = Buffer.from(base64, 'base64');
  return key.equals(slice.end) ? Number.POSITIVE_INFINITY : key.subarray(slice.begin.length).readUInt32BE();
};

/** Time of the database, from commit to commit. */
function createTimedDatabase() {
  const clock = createVirtualClock();
  const database = openMemoryDatabase({ clock });
  onTestFinished(() => database.close());
  let ticks = 0;
  const pass = async (milliseconds: number) => {
    clock.advance(milliseconds);
    ticks += 1;
    await database.transact((tx) => Promise.resolve(tx.set(Buffer.from('tick'), Buffer.from(String(ticks)))));
  };
  return { database, pass };
}

describe('ranges that are cut again and again', () => {
  it('cover the same keys, disjoint, with the same weight and what was done of it, and none is too small', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          sizes: fc.array(fc.constantFrom(20, 90, 400, 1_000), { minLength: 1, maxLength: 4 }),
          moved: fc.integer({ min: 0, max: 3_000 }),
          chunk: fc.integer({ min: 1, max: 1_500 }),
          weight: fc.integer({ min: 1, max: 10_000_000 }),
          share: fc.double({ min: 0, max: 0.999, noNaN: true }),
          estimate: fc.record({
            records: fc.integer({ min: 0, max: 20_000 }),
            bytes: fc.integer({ min: 0, max: 10_000_000 }),
          }),
        }),
        async ({ sizes, moved, chunk, weight, share, estimate }) => {
          const records = 8_000;
          const { database, pass } = createTimedDatabase();
          const sizeOf = (n: number) => sizes[Math.floor((n * sizes.length) / records)] ?? 20;
          const row: RangeRow = {
            ...taken(createRange(slice, weight)),
            estimate,
            cursor: moved === 0 ? null : keyOf(moved - 1).toString('base64'),
            recordsRead: moved,
            seq: Math.ceil(moved / chunk),
            share: moved === 0 ? 0 : share,
          };
          await database.transact((tx) => {
            for (let n = 0; n < records; n += 1) setRecord(tx, keyOf(n), Buffer.alloc(sizeOf(n), 1));
            writeRange(tx, keys, 'backfill', 0, row);
            return Promise.resolve();
          });
          const before = totalsOf([row]);
          for (;;) {
            await pass(1_000);
            const rows = await readAll(database);
            if ((await cutAll(rows, database)) === undefined) break;
            await database.transact(async (tx) => {
              const now = await readRanges(tx, keys, 'backfill');
              now.forEach((each, number) => writeRange(tx, keys, 'backfill', number, taken(each)));
            });
          }
          const rows = await readAll(database);
          const after = totalsOf(rows);
          expect(rows.reduce((sum, each) => sum + each.weight, 0)).toBe(weight);
          expect(rows.reduce((sum, each) => sum + (each.estimate?.records ?? 0), 0)).toBe(estimate.records);
          expect(rows.reduce((sum, each) => sum + (each.estimate?.bytes ?? 0), 0)).toBe(estimate.bytes);
          expect(after.fraction).toBeCloseTo(before.fraction, 9);
          expect(after.fraction).toBeGreaterThanOrEqual(before.fraction);
          const inOrder = rows.toSorted((one, other) => numberAt(one.end) - numberAt(other.end));
          expect(inOrder.at(0)?.begin).toBe(slice.begin.toString('base64'));
          expect(inOrder.at(-1)?.end).toBe(slice.end.toString('base64'));
          inOrder.slice(1).forEach(({ begin }, at) => expect(begin).toBe(inOrder[at]?.end));
          if (rows.length === 1) return;
          for (const { begin, end, cursor } of rows) {
            const from = cursor === null ? (begin === row.begin ? 0 : numberAt(begin)) : moved;
            const to = Math.min(records, numberAt(end));
            const left = Array.from(
              { length: to - from },
              (_, at) => sizeOf(from + at) + slice.begin.length + 5,
            );
            const bytes = left.reduce((sum, size) => sum + size, 0);
            expect(left.length >= leastSplitRecords || bytes >= 1_000_000).toBe(true);
            // As the database estimates it: nobody else knows without reading it all.
            const first = cursor === null ? bytesOf(begin) : behindRecord(bytesOf(cursor));
            const estimated = await database.transact((tx) =>
              tx.getEstimatedRangeSizeBytes(first, bytesOf(end)),
            );
            expect(estimated).toBeGreaterThanOrEqual(64_000);
          }
        },
      ),
      { seed, numRuns: 25 },
    );
  });

  it('are cut once per second, each part of them, by the time of the database', async () => {
    const { database, pass } = createTimedDatabase();
    await database.transact((tx) => {
      for (let n = 0; n < 9_000; n += 1) setRecord(tx, keyOf(n), Buffer.alloc(200, 1));
      writeRange(tx, keys, 'backfill', 0, taken(createRange(slice, 100)));
      return Promise.resolve();
    });
    await pass(1);
    const first = await cutAll(await readAll(database), database);
    expect(first?.number).toBe(1);
    const claimed = async () => (await readAll(database)).map(taken);
    await pass(990);
    expect(await cutAll(await claimed(), database)).toBeUndefined();
    await pass(20);
    expect((await cutAll(await claimed(), database))?.number).toBe(2);
  });

  it('are not cut where they are done, free, or the own ones', async () => {
    const { database, pass } = createTimedDatabase();
    const range = createRange(slice, 100);
    await database.transact((tx) => {
      for (let n = 0; n < 9_000; n += 1) setRecord(tx, keyOf(n), Buffer.alloc(200, 1));
      return Promise.resolve();
    });
    for (const row of [
      { ...taken(range), done: true, share: 1 },
      range,
      { ...range, claimSeq: 1, claim: { session, claimSeq: 1 } },
    ]) {
      await database.transact((tx) => Promise.resolve(writeRange(tx, keys, 'backfill', 0, row)));
      await pass(1);
      expect(await cutAll([row], database)).toBeUndefined();
    }
  });

  it('are not cut where one part would have few records, of less than a megabyte', async () => {
    const { database } = createTimedDatabase();
    const row = taken(createRange(slice, 100));
    const add = (from: number, to: number, size: number) =>
      database.transact((tx) => {
        for (let n = from; n < to; n += 1) setRecord(tx, keyOf(n), Buffer.alloc(size, 1));
        writeRange(tx, keys, 'backfill', 0, row);
        return Promise.resolve();
      });
    /** By bytes, as a cluster proposes it: the middle is among the large ones. */
    const cut = () =>
      database.transact((tx) => {
        const proposing = overriding<Transaction>(tx, {
          getRangeSplitPoints: () => Promise.resolve([slice.begin, keyOf(3_010), slice.end]),
        });
        return splitRange(proposing, {
          keys,
          pass: 'backfill',
          rows: [row],
          session,
          leastRecords: leastSplitRecords,
        });
      });
    await add(0, 3_000, 80);
    await add(3_000, 3_050, 20_000);
    expect(await cut()).toBeUndefined();
    await add(3_050, 3_070, 20_000);
    expect(await cut()).toMatchObject({ number: 1, row: { begin: keyOf(3_010).toString('base64') } });
  });

  it('are cut where the one that seems to be the largest cannot be', async () => {
    const { database, pass } = createTimedDatabase();
    const middle = keyOf(9_000);
    const rows = [
      taken(createRange({ begin: slice.begin, end: middle }, 10)),
      taken(createRange({ begin: middle, end: slice.end }, 1_000)),
    ];
    await database.transact((tx) => {
      for (let n = 0; n < 9_010; n += 1) setRecord(tx, keyOf(n), Buffer.alloc(200, 1));
      rows.forEach((row, number) => writeRange(tx, keys, 'backfill', number, row));
      return Promise.resolve();
    });
    await pass(1);
    expect((await cutAll(rows, database))?.row.end).toBe(middle.toString('base64'));
  });
});
