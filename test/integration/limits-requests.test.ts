import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RequestException } from '../../src/errors.ts';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { limits } from '../../src/limits.ts';
import { defineModel, int32, string } from '../../src/model/index.ts';
import { addGarbage, readGarbage, sweepGarbage } from '../../src/records/garbage.ts';
import type { ModelKeys } from '../../src/records/keys.ts';
import { rangeOf } from '../../src/records/keys.ts';
import { getRecord, setPartCount, setRecord } from '../../src/records/record-rows.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import type { CountingDatabase } from '../rig/counting-database.ts';
import { countTransactions } from '../rig/counting-database.ts';
import { openProgram } from '../rig/requests.ts';
import type { TestDatabase } from '../rig/test-database.ts';
import { createTestDatabase } from '../rig/test-database.ts';

const Note = defineModel({
  name: 'Note',
  version: '1.0',
  key: ['id'],
  properties: { id: int32({ number: 1, required: true }), text: string({ number: 2 }) },
});

let place: TestDatabase;
let keys: ModelKeys;
let database: CountingDatabase;
let store: FoundationDBDataStore<{ readonly 1: typeof Note }>;
beforeEach(async () => {
  place = createTestDatabase();
  keys = place.keys.model(1);
  database = countTransactions(place.database);
  store = await FoundationDBDataStore.open({
    database,
    subspace: place.subspace,
    dataModelsById: { 1: Note },
  });
});
afterEach(async () => {
  await store.close();
  await place.database.close();
});

const notes = () => store.model(Note);
const rowsUnder = (prefix: Buffer) =>
  place.database.transact((tx) => tx.getRangeAll(rangeOf(prefix).begin, rangeOf(prefix).end));

/** Adds notes with these texts, many in one transaction. */
async function add(texts: readonly (string | undefined)[], from = 0): Promise<void> {
  const together = 1_000;
  for (let at = 0; at < texts.length; at += together) {
    await store.transact(async (tx) => {
      for (const [n, text] of texts.slice(at, at + together).entries()) {
        await tx.model(Note).add({ id: from + at + n, text });
      }
    });
  }
}

describe('a page', () => {
  it('ends with the record that fills its bytes; with a byte less, one more comes with it', async () => {
    const { value } = limits.records.pageBytes;
    await add(Array.from({ length: 16 }, () => 'x'.repeat(60_000)));
    const before = await rowsUnder(keys.records(1));
    const bytes = before.reduce((sum, row) => sum + row.key.length + row.value.length, 0);
    await add(['x'.repeat(50)], 16);
    const all = await rowsUnder(keys.records(1));
    const small = all.at(-1) ?? { key: [], value: [] };
    // Texts of 256 to 65,535 bytes have two bytes of length more in front of them than one of 50.
    const left = value - bytes - (small.key.length + small.value.length - 50 + 1);
    await add(['behind'], 17);
    await notes().put({ id: 16, text: 'x'.repeat(left) });
    expect(lengthOf(await rowsUnder(keys.records(1)), 17)).toBe(value);
    expect((await notes().scan().page()).records).toHaveLength(17);
    await notes().put({ id: 16, text: 'x'.repeat(left - 1) });
    expect((await notes().scan().page()).records).toHaveLength(18);
  });

  const lengthOf = (rows: Awaited<ReturnType<typeof rowsUnder>>, count: number) =>
    rows.slice(0, count).reduce((sum, row) => sum + row.key.length + row.value.length, 0);

  it('has as many records as it may, and one more is refused', async () => {
    const { value } = limits.records.pageRecords;
    await add(Array.from({ length: value + 1 }, () => undefined));
    const page = await notes().scan({ pageSize: value }).page();
    expect(page.records).toHaveLength(value);
    expect(page.next).toBeDefined();
    expect(() => notes().scan({ pageSize: value + 1 })).toThrow(
      expect.objectContaining({ code: 'RECORD_INVALID' }),
    );
  });
});

describe('counting', () => {
  it('takes a transaction more once one has counted all that it may', async () => {
    const { value } = limits.records.countedRecords;
    const count = async (expected: number) =>
      database.during(async () => {
        expect(await notes().count()).toBe(expected);
      });
    await add(Array.from({ length: value - 1 }, () => undefined));
    expect(await count(value - 1)).toBe(1);
    // A full one does not know that it was the last.
    await add([undefined], value - 1);
    expect(await count(value)).toBe(2);
    await add([undefined], value);
    expect(await count(value + 1)).toBe(2);
  });
});

describe('a record', () => {
  it('lies in one row up to the size of a part, and in two with a byte more', async () => {
    const { value } = limits.records.partBytes;
    const rowsFor = async (size: number) => {
      const bytes = Buffer.alloc(size, 7);
      setPartCount(bytes);
      const key = Buffer.concat([keys.records(1), Buffer.from(`record of ${size}`)]);
      await place.database.transact(async (tx) => setRecord(tx, key, bytes));
      const found = await place.database.transact((tx) => getRecord(tx, key));
      expect(found?.equals(bytes)).toBe(true);
      return (await rowsUnder(key)).length;
    };
    expect(await rowsFor(value)).toBe(1);
    expect(await rowsFor(value + 1)).toBe(2);
  });
});

describe('sweeping', () => {
  it('clears as many rows as it may in a transaction, and one more in another', async () => {
    const { value } = limits.records.sweptRows;
    const sweeping = async (rows: number) => {
      await place.database.transact(async (tx) => {
        for (let n = 0; n < rows; n += 1) {
          tx.set(Buffer.concat([keys.index(5), Buffer.from(String(n))]), Buffer.alloc(0));
        }
        await addGarbage(tx, keys, [{ indexId: 5, keySpace: 0 }]);
      });
      const sizes: number[] = [];
      const spied: KeyValueDatabase = {
        ...database,
        transact: async (body, options) => {
          const before = (await rowsUnder(keys.index(5))).length;
          const result = await place.database.transact(body, options);
          sizes.push(before - (await rowsUnder(keys.index(5))).length);
          return result;
        },
      };
      await sweepGarbage(spied, keys, new AbortController().signal);
      expect(await place.database.transact((tx) => readGarbage(tx, keys))).toEqual([]);
      return sizes.filter((size) => size > 0);
    };
    expect(await sweeping(value)).toEqual([value]);
    expect(await sweeping(value + 1)).toEqual([value, 1]);
  });
});

describe('a list of audit events or of quarantined records', () => {
  it('may be asked for with as many as it may have, and one more is refused', async () => {
    const { value } = limits.store.listedEntries;
    const refused = { code: 'OPTION_INVALID' };
    expect(await store.migrationAuditEvents(1, value)).toEqual([]);
    await expect(store.migrationAuditEvents(1, value + 1)).rejects.toMatchObject(refused);
    expect(await store.quarantined(1, value)).toEqual([]);
    await expect(store.quarantined(1, value + 1)).rejects.toMatchObject(refused);
  });
});

describe('a closed gate', () => {
  it('sends callers away for as long as it may, and not for longer', async () => {
    const { value } = limits.store.retryAfterMs;
    const told = async (retryAfterMs: number) => {
      const Next = defineModel({ ...Note, version: '2.0' });
      const program = await openProgram({ 1: Note });
      const newer = program.beside({ 1: Next }, { estimate: () => ({ retryAfterMs }) });
      const error: unknown = await newer
        .model(Next)
        .get(1)
        .catch((thrown: unknown) => thrown);
      await program.database.close();
      if (!(error instanceof RequestException)) throw new Error('it was not refused');
      return error.details['retryAfterMs'];
    };
    expect(await told(value)).toBe(value);
    expect(await told(value + 1)).toBe(value);
  });
});
