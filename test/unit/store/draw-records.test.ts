import { describe, expect, it } from 'vitest';
import type { KeyValueDatabase } from '../../../src/kv/kv.ts';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import { createSeededRandom } from '../../../src/ports/random.ts';
import { rangeOf } from '../../../src/records/keys.ts';
import { maxPartBytes, setPartCount, setRecord } from '../../../src/records/record-rows.ts';
import { drawRecords } from '../../../src/store/plan/draw-records.ts';
import { estimateSize } from '../../../src/store/plan/estimate.ts';
import { alphabetOf, keyBetween } from '../../../src/store/plan/key-interpolation.ts';
import { createReader } from '../../../src/store/plan/reader.ts';
import { drawSeed } from '../../rig/seed.ts';

const seed = drawSeed('drawn records');
const prefix = Buffer.from([7, 1]);
const range = rangeOf(prefix);

async function write(database: KeyValueDatabase, keys: readonly Buffer[], bytes = 60): Promise<void> {
  for (let at = 0; at < keys.length; at += 500) {
    await database.transact((tx) => {
      for (const key of keys.slice(at, at + 500)) {
        const value = Buffer.alloc(bytes, 1);
        setPartCount(value);
        setRecord(tx, Buffer.concat([prefix, key]), value);
      }
      return Promise.resolve();
    });
  }
}

async function draw(database: KeyValueDatabase, count: number): Promise<Buffer[]> {
  const reader = createReader(database, undefined);
  const size = await estimateSize(reader, [range]);
  const keys: Buffer[] = [];
  const random = createSeededRandom(seed);
  for await (const records of drawRecords(reader, { range, size, count, random })) {
    for (const { key, value } of records) {
      expect(value.length).toBeGreaterThanOrEqual(60);
      keys.push(key.subarray(prefix.length));
    }
  }
  expect(new Set(keys.map((key) => key.toString('hex'))).size).toBe(keys.length);
  return keys;
}

const text = (value: string) => Buffer.concat([Buffer.of(2), Buffer.from(value), Buffer.of(0)]);
const numbered = (count: number) =>
  Array.from({ length: count }, (_, n) => text(`c${String(n).padStart(6, '0')}`));

describe('records drawn from many', () => {
  it.each<[what: string, keys: () => Buffer[], rankOf: (key: Buffer) => number]>([
    ['of digits', () => numbered(4_000), (key) => Number(key.subarray(2, 8).toString()) / 4_000],
    [
      'of hexadecimal digits',
      () => {
        const random = createSeededRandom(5);
        const word = () =>
          Math.floor(random.fraction() * 2 ** 32)
            .toString(16)
            .padStart(8, '0');
        return Array.from({ length: 4_000 }, () => text(`${word()}-${word()}`));
      },
      (key) => Number.parseInt(key.subarray(1, 9).toString(), 16) / 2 ** 32,
    ],
    [
      'of integers',
      () =>
        Array.from({ length: 4_000 }, (_, n) => {
          const key = Buffer.alloc(4);
          key.writeUInt32BE(n);
          return key;
        }),
      (key) => key.readUInt32BE() / 4_000,
    ],
  ])('by keys %s are as many as asked for, from all over', async (_what, keys, rankOf) => {
    const database = openMemoryDatabase();
    await write(database, keys());
    const ranks = (await draw(database, 400)).map(rankOf);
    expect(ranks.length).toBe(400);
    // Each tenth has about 40: far from it is no chance.
    const tenths = Array.from(
      { length: 10 },
      (_, at) => ranks.filter((rank) => Math.floor(rank * 10) === at).length,
    );
    for (const some of tenths) expect(some).toBeGreaterThan(12);
    for (const some of tenths) expect(some).toBeLessThan(90);
    await database.close();
  });

  it('are whole where a place lies within a large record', async () => {
    const database = openMemoryDatabase();
    await write(database, numbered(20), 3 * maxPartBytes);
    const reader = createReader(database, undefined);
    const values: number[] = [];
    const size = { records: 1_000_000, bytes: 20 * 3 * maxPartBytes, isEstimate: true };
    const drawing = drawRecords(reader, { range, size, count: 12, random: createSeededRandom(seed) });
    for await (const records of drawing) values.push(...records.map(({ value }) => value.length));
    expect(values.length).toBeGreaterThan(6);
    expect(new Set(values)).toEqual(new Set([3 * maxPartBytes]));
    await database.close();
  });

  it('end early where there are fewer than was believed', async () => {
    const database = openMemoryDatabase();
    await write(database, numbered(30));
    const reader = createReader(database, undefined);
    let found = 0;
    const size = { records: 1_000_000, bytes: 3_000, isEstimate: true };
    const drawing = drawRecords(reader, { range, size, count: 100, random: createSeededRandom(seed) });
    for await (const records of drawing) found += records.length;
    expect(found).toBeGreaterThan(20);
    expect(found).toBeLessThanOrEqual(30);
    await database.close();
  });

  it('are none of none', async () => {
    const database = openMemoryDatabase();
    expect(await draw(database, 5)).toEqual([]);
    await database.close();
  });
});

describe('a key between two others', () => {
  const [first, last] = [text('c000000'), text('c009999')];
  const alphabet = alphabetOf([first, last, text('c001234'), text('c005678')]);

  it('is made of the bytes that occur, and lies between them, ends included', () => {
    expect(Buffer.from(alphabet).toString()).toBe('0123456789');
    for (const fraction of [0, 0.1, 0.5, 0.9, 1 - 2 ** -53]) {
      const key = keyBetween(first, last, alphabet, fraction);
      expect(key.compare(first)).toBeGreaterThanOrEqual(0);
      expect(key.compare(last)).toBeLessThanOrEqual(0);
    }
    expect(keyBetween(first, last, alphabet, 0.5).toString('latin1')).toContain('c004999');
  });

  it('is the one key where there is no other', () => {
    expect(keyBetween(first, first, alphabet, 0.7)).toEqual(first);
    expect(keyBetween(first, last, [], 0.7)).toEqual(first);
  });
});

describe('a reader', () => {
  it('commits nothing, whatever is done through it', async () => {
    const database = openMemoryDatabase();
    const reader = createReader(database, undefined);
    await reader.read((tx) => {
      tx.set(Buffer.from('a'), Buffer.from('b'));
      return Promise.resolve();
    });
    expect(await database.transact((tx) => tx.get(Buffer.from('a')))).toBeUndefined();
    await database.close();
  });
});
