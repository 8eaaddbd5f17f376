import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { KeyValueDatabase } from '../../../src/kv/kv.ts';
import { metadataVersionKey } from '../../../src/kv/kv.ts';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import { createStoreKeys } from '../../../src/records/keys.ts';
import type { FenceCache } from '../../../src/records/store-row.ts';
import { announceFence, ensureStoreRow, readStoreRow } from '../../../src/records/store-row.ts';

const keys = createStoreKeys(['test']);
let database: KeyValueDatabase;
beforeEach(() => {
  database = openMemoryDatabase();
});
afterEach(() => database.close());

const ensure = (fenceCache?: FenceCache) =>
  database.transact((tx) => ensureStoreRow(tx, keys, { id: () => 'one' }, fenceCache));
const read = () => database.transact((tx) => readStoreRow(tx, keys));
const metadataVersion = () => database.transact((tx) => tx.get(metadataVersionKey, { snapshot: true }));
const write = (row: unknown) =>
  database.transact(async (tx) => tx.set(keys.store, Buffer.from(JSON.stringify(row))));

describe('the row of a store', () => {
  it('is what every release reads, as long as nobody asks for more', async () => {
    expect(await ensure()).toEqual({ format: 1, databaseId: 'one' });
    expect(await read()).toEqual({ format: 1, databaseId: 'one' });
  });

  it('is raised by whoever caches fences, and lowered by nobody', async () => {
    await ensure();
    const raised = { format: 2, databaseId: 'one', fenceCache: 'metadataVersion' };
    expect(await ensure('metadataVersion')).toEqual(raised);
    const changed = await metadataVersion();
    expect(changed).toHaveLength(10);
    expect(await ensure('read')).toEqual(raised);
    expect(await ensure('metadataVersion')).toEqual(raised);
    expect(await metadataVersion()).toEqual(changed);
  });

  it('tells who writes a fence whether to change the metadata version', async () => {
    const announce = () => database.transact((tx) => announceFence(tx, keys));
    await announce();
    await ensure('read');
    await announce();
    expect(await metadataVersion()).toBeUndefined();
    await ensure('metadataVersion');
    const before = await metadataVersion();
    await announce();
    expect(await metadataVersion()).not.toEqual(before);
  });

  it('of a newer release is told from damage, whatever else it holds', async () => {
    await write({ format: 3, somethingNew: true });
    await expect(read()).rejects.toMatchObject({ code: 'STORAGE_FORMAT_NEWER', details: { format: 3 } });
    await write({ format: 1, databaseId: 'one', somethingNew: true });
    await expect(read()).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' });
    await write({ format: 2, databaseId: 'one', fenceCache: 'read' });
    await expect(read()).rejects.toMatchObject({ code: 'STORAGE_CORRUPT' });
  });
});
