import { createHash } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { bytes, defineModel, int32, string } from '../../src/model/index.ts';
import type { ModelKeys, Subspace } from '../../src/records/keys.ts';
import { rangeOf } from '../../src/records/keys.ts';
import { maxPartBytes } from '../../src/records/record-rows.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import type { StoreOptions } from '../../src/store/options.ts';
import { recomputeIndexes } from '../rig/recompute-index.ts';
import { createTestDatabase } from '../rig/test-database.ts';

const id = string({ number: 1, required: true });
const FileV1 = defineModel({
  name: 'File',
  version: '1.0',
  key: ['id'],
  properties: { id, size: int32({ number: 2, required: true }), body: bytes({ number: 3 }) },
  indexes: [{ name: 'bySize', on: ['size'] }],
});
const FileV2 = defineModel({
  ...FileV1,
  version: '2.0',
  properties: { ...FileV1.properties, kind: string({ number: 4, required: true }) },
  indexes: [
    { name: 'bySize', on: ['size'] },
    { name: 'byKind', on: ['kind', 'size'] },
  ],
});
const FileV3 = defineModel({ ...FileV2, version: '3.0', key: ['size', 'id'] });

let subspace: Subspace;
let keys: ModelKeys;
const stores: FoundationDBDataStore[] = [];
const open = async (database: KeyValueDatabase, options: Partial<StoreOptions>) => {
  const store = await FoundationDBDataStore.open({
    database,
    subspace,
    dataModelsById: { 1: FileV1 },
    migrationAuditEventReporter: () => undefined,
    ...options,
  });
  stores.push(store);
  return store;
};
afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()));
});

/** Bytes that no part could be mistaken in. */
const bodyOf = (size: number) => Uint8Array.from({ length: size }, (_, at) => (at * 31 + size) % 251);
const sizes = [0, 89_900, maxPartBytes, maxPartBytes * 2 - 40, maxPartBytes * 2 + 5, 500_000, 999_900];
const file = (size: number, name = `f${size}`) => ({ id: name, size, body: bodyOf(size) });

/** The matchers take their time with a million bytes. */
const shown = <R extends { readonly body?: Uint8Array | undefined }>(record: R | undefined) =>
  record === undefined
    ? undefined
    : {
        ...record,
        body: createHash('sha256')
          .update(record.body ?? '')
          .digest('hex'),
      };

const rowsOf = (database: KeyValueDatabase, prefix: Buffer) => {
  const { begin, end } = rangeOf(prefix);
  return database.transact((tx) => tx.getRangeAll(begin, end));
};

const openFilled = async () => {
  const place = createTestDatabase();
  const { database } = place;
  subspace = place.subspace;
  keys = place.keys.model(1);
  const store = await open(database, {});
  for (const size of sizes) await store.model(FileV1).add(file(size));
  return { database, store, files: store.model(FileV1) };
};

describe('records larger than a value of the database', () => {
  it('come back whole, by key and by index, forwards and backwards, in pages of any size', async () => {
    const { files } = await openFilled();
    for (const size of sizes) expect(shown(await files.get(`f${size}`))).toEqual(shown(file(size)));
    const inOrder = sizes.toSorted((left, right) => left - right);
    for (const pageSize of [1, 2, 3, 500]) {
      for (const reverse of [false, true]) {
        const bySize = await files.scan({ by: 'bySize', pageSize, reverse }).toArray();
        expect(bySize.map(({ size }) => size)).toEqual(reverse ? inOrder.toReversed() : inOrder);
        const byKey = await files.scan({ pageSize, reverse }).toArray();
        const ids = sizes.map((size) => `f${size}`).sort();
        expect(byKey.map((found) => found.id)).toEqual(reverse ? ids.toReversed() : ids);
        expect(byKey.every((found) => found.body?.length === found.size)).toBe(true);
      }
    }
    expect(await files.count()).toBe(sizes.length);
  });

  it('leave nothing behind when they shrink, grow, and are deleted', async () => {
    const { database, files } = await openFilled();
    for (const size of sizes) await files.delete(`f${size}`);
    expect(await rowsOf(database, keys.records(1))).toEqual([]);
    for (const size of [999_000, 10, 200_000, 95_000, 0]) {
      await files.put(file(size, 'a'));
      expect(shown(await files.get('a'))).toEqual(shown(file(size, 'a')));
      const parts = Math.max(1, Math.ceil((size + 30) / maxPartBytes));
      expect((await rowsOf(database, keys.records(1))).length).toBe(parts);
    }
    await files.change('a', { body: bodyOf(300_000) });
    await files.change('a', { body: undefined });
    expect(await rowsOf(database, keys.records(1))).toHaveLength(1);
  });

  it('are refused above 1 MB, and nothing is written', async () => {
    const { files } = await openFilled();
    await expect(files.add(file(1_000_000, 'large'))).rejects.toMatchObject({ code: 'RECORD_TOO_LARGE' });
    expect(await files.get('large')).toBeUndefined();
  });

  it('are moved whole, in place, and into another key space', async () => {
    const { database, store } = await openFilled();
    await store.close();
    const second = await open(database, {
      dataModelsById: { 1: FileV2 },
      migrationHandler: { File: backfill({ transform: (record) => ({ ...record, kind: 'x' }) }) },
    });
    for (const size of sizes)
      expect(shown(await second.model(FileV2).get(`f${size}`))).toEqual(shown({ ...file(size), kind: 'x' }));
    for (const { expected, actual } of await recomputeIndexes(database, keys))
      expect(actual).toEqual(expected);
    await second.close();

    const third = await open(database, {
      dataModelsById: { 1: FileV3 },
      migrationHandler: { File: backfill({ unchanged: true }) },
    });
    const files = third.model(FileV3);
    for (const size of sizes) {
      expect(shown(await files.get({ size, id: `f${size}` }))).toEqual(shown({ ...file(size), kind: 'x' }));
    }
    expect(await files.count()).toBe(sizes.length);
    expect(await rowsOf(database, keys.records(1))).toEqual([]);
  });

  it('shrink when a transform makes them small', async () => {
    const { database, store } = await openFilled();
    await store.close();
    const second = await open(database, {
      dataModelsById: { 1: FileV2 },
      migrationHandler: {
        File: backfill({ transform: ({ id: name, size }) => ({ id: name, size, kind: 'x' }) }),
      },
    });
    expect(await rowsOf(database, keys.records(1))).toHaveLength(sizes.length);
    expect(await second.model(FileV2).count({ by: 'byKind', where: { kind: 'x' } })).toBe(sizes.length);
  });

  it('go into quarantine whole, and come back', async () => {
    const { database, store } = await openFilled();
    await store.close();
    let isMended = false;
    const options: Partial<StoreOptions> = {
      dataModelsById: { 1: FileV2 },
      migrationHandler: {
        File: backfill({
          onPoison: 'quarantine',
          transform: (record) => {
            if (!isMended && (record['size'] as number) > maxPartBytes) throw new Error('too large for me');
            return { ...record, kind: 'x' };
          },
        }),
      },
    };
    const second = await open(database, options);
    const large = sizes.filter((size) => size > maxPartBytes);
    expect(await second.quarantined(1)).toHaveLength(large.length);
    expect(await second.model(FileV2).count()).toBe(sizes.length - large.length);
    isMended = true;
    expect(await second.retryQuarantined(1)).toEqual({ restored: large.length, left: [] });
    for (const size of sizes)
      expect(shown(await second.model(FileV2).get(`f${size}`))).toEqual(shown({ ...file(size), kind: 'x' }));
    expect(await rowsOf(database, keys.quarantine)).toEqual([]);
    for (const { expected, actual } of await recomputeIndexes(database, keys))
      expect(actual).toEqual(expected);
  });
});
