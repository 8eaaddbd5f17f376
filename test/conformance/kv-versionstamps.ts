import { describe, expect, it } from 'vitest';
import { all, codeOf, k, nameOf, put, useDatabase, v } from './kv-setup.ts';
import type { DriverUnderTest } from './kv-suite.ts';

const stampBytes = 10;
const room = Buffer.alloc(stampBytes);

export function describeVersionstamps(driver: DriverUnderTest): void {
  describe('versionstamps and versions', () => {
    const use = useDatabase(driver);
    const keys = () => use.db.transact(async (tx) => (await tx.getRangeAll(...all())).map(({ key }) => key));

    it('puts the versionstamp of the commit into a key and into a value', async () => {
      const tx = use.db.createTransaction();
      const stampedKey = Buffer.concat([k('log/'), room, v('/end')]);
      tx.setVersionstampedKey(stampedKey, k('log/').length, v('1'));
      tx.setVersionstampedValue(k('value'), Buffer.concat([v('<'), room, v('>')]), 1);
      const asked = tx.getVersionstamp();
      await tx.commit();
      const stamp = await asked;
      expect(stamp).toHaveLength(stampBytes);
      expect(stamp.readBigUInt64BE()).toBe(tx.getCommittedVersion());
      expect((await keys()).map(nameOf)).toEqual([`log/${stamp.toString('latin1')}/end`, 'value']);
      const value = await use.db.transact((reader) => reader.get(k('value')));
      expect(value).toEqual(Buffer.concat([v('<'), stamp, v('>')]));
    });

    it('orders stamped keys by their commits, those of one batch too', async () => {
      const append = async (index: number) => {
        const tx = use.db.createTransaction();
        tx.setVersionstampedKey(Buffer.concat([k('log/'), room]), k('log/').length, v(String(index)));
        const stamp = tx.getVersionstamp();
        await tx.commit();
        return { index, stamp: (await stamp).toString('latin1') };
      };
      const appended = await Promise.all(Array.from({ length: 50 }, (_, index) => append(index)));
      appended.push(await append(50), await append(51));
      expect(new Set(appended.map(({ stamp }) => stamp)).size).toBe(52);
      const values = await use.db.transact(async (tx) =>
        (await tx.getRangeAll(...all())).map(({ value }) => Number(value.toString())),
      );
      const byStamp = appended.toSorted((x, y) => (x.stamp < y.stamp ? -1 : 1)).map(({ index }) => index);
      expect(values).toEqual(byStamp);
      expect(values.slice(50)).toEqual([50, 51]);
    });

    it('conflicts with a read of the place where the stamped key came to lie', async () => {
      const tx = use.db.createTransaction();
      await tx.getRangeAll(...all());
      await use.db.transact(async (other) =>
        other.setVersionstampedKey(Buffer.concat([k('log/'), room]), k('log/').length, v('1')),
      );
      tx.set(k('mine'), v('1'));
      expect(await codeOf(() => tx.commit())).toBe(1020);
      tx.cancel();
    });

    it('refuses to read what is known only after the commit', async () => {
      const tx = use.db.createTransaction();
      tx.setVersionstampedValue(k('value'), room, 0);
      expect(await codeOf(() => tx.get(k('value')))).toBe(1036);
      tx.cancel();
    });

    it('refuses an offset at which the stamp does not fit', async () => {
      const tx = use.db.createTransaction();
      expect(await codeOf(() => tx.setVersionstampedValue(k('a'), room, 1))).toBe(2000);
      expect(await codeOf(() => tx.setVersionstampedKey(room, -1, v('1')))).toBe(2000);
      tx.cancel();
    });

    it('gives versions that grow, and reads at the last one', async () => {
      let last = await use.db.transact((tx) => tx.getReadVersion());
      for (let round = 0; round < 5; round++) {
        const tx = use.db.createTransaction();
        expect(await tx.getReadVersion()).toBeGreaterThanOrEqual(last);
        tx.set(k('a'), v(String(round)));
        await tx.commit();
        expect(tx.getCommittedVersion()).toBeGreaterThan(last);
        last = tx.getCommittedVersion();
      }
      expect(await use.db.transact((tx) => tx.getReadVersion())).toBeGreaterThanOrEqual(last);
    });

    it('answers no versionstamp for a transaction that wrote nothing or did not commit', async () => {
      await put(use.db, { a: '1' });
      const reader = use.db.createTransaction();
      await reader.get(k('a'));
      const none = reader.getVersionstamp();
      await reader.commit();
      expect(await codeOf(() => none)).toBe(2021);
      const canceled = use.db.createTransaction();
      canceled.set(k('a'), v('2'));
      const never = canceled.getVersionstamp();
      canceled.cancel();
      expect(await codeOf(() => never)).toBe(1025);
    });
  });
}
