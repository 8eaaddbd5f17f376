import { describe, expect, it } from 'vitest';
import type { KeyValueDatabase, Transaction } from '../../src/kv/kv.ts';
import { metadataVersionKey } from '../../src/kv/kv.ts';
import { codeOf, commitCode, k, read, useDatabase, v } from './kv-setup.ts';
import type { DriverUnderTest } from './kv-suite.ts';

export function describeMetadataVersion(driver: DriverUnderTest): void {
  describe('the metadata version', () => {
    const use = useDatabase(driver);
    const change = (tx: Transaction) => tx.setVersionstampedValue(metadataVersionKey, Buffer.alloc(10), 0);
    const changeNow = (db: KeyValueDatabase) => db.transact(async (tx) => change(tx));
    const current = (db: KeyValueDatabase) =>
      db.transact((tx) => tx.get(metadataVersionKey, { snapshot: true }));

    it('is the versionstamp of the last commit that changed it', async () => {
      const stamp = await use.db.transact(async (tx) => {
        change(tx);
        const promise = tx.getVersionstamp();
        return { promise };
      });
      const found = await current(use.db);
      expect(found).toHaveLength(10);
      expect(Buffer.compare(found ?? Buffer.alloc(0), await stamp.promise)).toBeGreaterThanOrEqual(0);
      await changeNow(use.db);
      expect(Buffer.compare((await current(use.db)) ?? Buffer.alloc(0), await stamp.promise)).toBe(1);
    });

    it('changes with what is written beside it, in one commit', async () => {
      await changeNow(use.db);
      const before = use.db.createTransaction();
      const version = await before.get(metadataVersionKey, { snapshot: true });
      await use.db.transact(async (tx) => {
        tx.set(k('a'), v('1'));
        change(tx);
      });
      expect(await before.get(k('a'))).toBeUndefined();
      expect(await before.get(metadataVersionKey, { snapshot: true })).toEqual(version);
      before.cancel();
      const after = use.db.createTransaction();
      expect(await after.get(metadataVersionKey, { snapshot: true })).not.toEqual(version);
      expect(await after.get(k('a'))).toEqual(v('1'));
      after.cancel();
    });

    it('conflicts with whoever read it normally, and not with a snapshot read', async () => {
      for (const [snapshot, code] of [
        [true, undefined],
        [false, 1020],
      ] as const) {
        const tx = use.db.createTransaction();
        await tx.get(metadataVersionKey, { snapshot });
        tx.set(k('a'), v('1'));
        await changeNow(use.db);
        expect(await commitCode(tx)).toBe(code);
        tx.cancel();
      }
    });

    it('is changed by several transactions that do not know of each other', async () => {
      const [one, other] = [use.db.createTransaction(), use.db.createTransaction()];
      await Promise.all([one.get(k('a')), other.get(k('b'))]);
      change(one);
      change(other);
      expect([await commitCode(one), await commitCode(other)]).toEqual([undefined, undefined]);
    });

    it('takes no other operation', async () => {
      const tx = use.db.createTransaction();
      expect(await codeOf(() => tx.set(metadataVersionKey, Buffer.alloc(10)))).toBe(2000);
      expect(await codeOf(() => tx.atomicOp('max', metadataVersionKey, Buffer.alloc(10)))).toBe(2000);
      expect(await codeOf(() => tx.clear(metadataVersionKey))).toBe(2004);
      const stamped = (value: Buffer, offset: number) =>
        codeOf(() => tx.setVersionstampedValue(metadataVersionKey, value, offset));
      expect(await stamped(Buffer.alloc(11), 0)).toBe(2000);
      expect(await stamped(Buffer.alloc(11), 1)).toBe(2000);
      expect(await stamped(Buffer.alloc(10, 1), 0)).toBe(2000);
      tx.cancel();
    });

    it('cannot be read once its own transaction has changed it', async () => {
      const tx = use.db.createTransaction();
      change(tx);
      expect(await codeOf(() => tx.get(metadataVersionKey, { snapshot: true }))).toBe(1036);
      tx.cancel();
    });

    it('is the only key of its kind, and lies in no range', async () => {
      const tx = use.db.createTransaction();
      for (const name of ['\xff', '\xff/metadataVersio', '\xff/metadataVersion2', '\xff\xff/status/json']) {
        const key = Buffer.from(name, 'latin1');
        expect(await codeOf(() => tx.get(key))).toBe(2004);
        expect(await codeOf(() => tx.setVersionstampedValue(key, Buffer.alloc(10), 0))).toBe(2004);
      }
      await changeNow(use.db);
      const end = Buffer.from([0xff]);
      const last = await tx.getRangeAll(k(''), end, { reverse: true, limit: 1 });
      expect(last.every(({ key }) => key[0] !== 0xff)).toBe(true);
      tx.cancel();
      expect(await read(use.db, 'a')).toBeUndefined();
    });
  });
}
