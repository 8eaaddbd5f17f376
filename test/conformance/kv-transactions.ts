import { describe, expect, it } from 'vitest';
import { KeyValueError, type Transaction } from '../../src/kv/kv.ts';
import { all, codeOf, k, put, read, readAll, show, textOf, useDatabase, v } from './kv-setup.ts';
import type { DriverUnderTest } from './kv-suite.ts';

export function describeTransactions(driver: DriverUnderTest): void {
  describe('transactions', () => {
    const use = useDatabase(driver);

    it('keeps what was committed and nothing of what was not', async () => {
      await put(use.db, { a: '1' });
      const abandoned = use.db.createTransaction();
      abandoned.set(k('a'), v('2'));
      abandoned.set(k('b'), v('2'));
      abandoned.cancel();
      expect(await readAll(use.db)).toBe('a=1');
    });

    it('reads one snapshot, whatever others commit meanwhile', async () => {
      await put(use.db, { a: '1', b: '1' });
      const tx = use.db.createTransaction();
      expect(textOf(await tx.get(k('a')))).toBe('1');
      await put(use.db, { a: '2', b: '2', c: '2' });
      expect(textOf(await tx.get(k('b')))).toBe('1');
      expect(show(await tx.getRangeAll(...all()))).toBe('a=1 b=1');
      tx.cancel();
    });

    it('sees in a new transaction everything that was committed before', async () => {
      for (let round = 0; round < 20; round++) {
        await put(use.db, { a: String(round) });
        expect(await read(use.db, 'a')).toBe(String(round));
      }
    });

    it('reads its own writes, clears and cleared ranges', async () => {
      await put(use.db, { a: '1', b: '1', c: '1', d: '1' });
      const tx = use.db.createTransaction();
      tx.set(k('a'), v('2'));
      tx.clear(k('b'));
      tx.clearRange(k('c'), k('e'));
      tx.set(k('d'), v('2'));
      expect(textOf(await tx.get(k('a')))).toBe('2');
      expect(await tx.get(k('b'))).toBeUndefined();
      expect(await tx.get(k('c'))).toBeUndefined();
      expect(textOf(await tx.get(k('d')))).toBe('2');
      expect(textOf(await tx.get(k('d'), { snapshot: true }))).toBe('2');
      await tx.commit();
      expect(await readAll(use.db)).toBe('a=2 d=2');
    });

    it('lets the last of several writes to a key win', async () => {
      await use.db.transact(async (tx) => {
        tx.set(k('a'), v('1'));
        tx.clear(k('a'));
        tx.set(k('a'), v('2'));
        tx.set(k('b'), v('1'));
        tx.clearRange(k('a'), k('c'));
        tx.set(k('c'), v('1'));
      });
      expect(await readAll(use.db)).toBe('c=1');
    });

    it('keeps empty values and the empty key apart from absent ones', async () => {
      await put(use.db, { '': '', a: '' });
      expect(await read(use.db, '')).toBe('');
      expect(await read(use.db, 'a')).toBe('');
      expect(await read(use.db, 'b')).toBeUndefined();
    });

    it('hands out and takes in buffers that may be changed afterwards', async () => {
      const key = k('a');
      const value = v('before');
      await use.db.transact(async (tx) => {
        tx.set(key, value);
        value.fill(0);
        key.fill(0);
        (await tx.get(k('a')))?.fill(0);
      });
      const kept = await use.db.transact((tx) => tx.getRangeAll(...all()));
      await put(
        use.db,
        Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`z${i}`, 'x'.repeat(300)])),
      );
      await use.db.transact((tx) => tx.getRangeAll(...all()));
      expect(show(kept)).toBe('a=before');
    });

    it('refuses to be used after its commit began or its end', async () => {
      const tx = use.db.createTransaction();
      tx.set(k('a'), v('1'));
      const commit = tx.commit();
      expect(await codeOf(() => tx.set(k('b'), v('1')))).toBe(2017);
      expect(await codeOf(() => tx.get(k('a')))).toBe(2017);
      await commit;
      expect(await codeOf(() => tx.get(k('a')))).toBe(2017);
      const canceled = use.db.createTransaction();
      canceled.cancel();
      canceled.cancel();
      expect(await codeOf(() => canceled.get(k('a')))).toBe(1025);
      expect(await codeOf(() => canceled.commit())).toBe(1025);
    });

    it('tries again after a conflict, and tells the body which attempt it is', async () => {
      await put(use.db, { n: '0' });
      const attempts: number[] = [];
      const result = await use.db.transact(async (tx) => {
        attempts.push(tx.attempt);
        const before = textOf(await tx.get(k('n')));
        if (tx.attempt === 0) await put(use.db, { n: '5' });
        tx.set(k('n'), v(String(Number(before) + 1)));
        return before;
      });
      expect(attempts).toEqual([0, 1]);
      expect(result).toBe('5');
      expect(await read(use.db, 'n')).toBe('6');
    });

    it('loses no update when many add to one counter', async () => {
      const add = async (tx: Transaction) =>
        tx.set(k('n'), v(String(Number(textOf(await tx.get(k('n'))) ?? '0') + 1)));
      await Promise.all(Array.from({ length: 30 }, () => use.db.transact(add)));
      expect(await read(use.db, 'n')).toBe('30');
    });

    it('gives up at the granted number of retries', async () => {
      let runs = 0;
      const always = use.db.transact(
        async () => {
          runs++;
          throw new KeyValueError(1020);
        },
        { retryLimit: 2 },
      );
      expect(await codeOf(() => always)).toBe(1020);
      expect(runs).toBe(3);
    });

    it('throws on what the body throws, and what is not retryable, without another attempt', async () => {
      let runs = 0;
      const body = (error: Error) => async () => {
        runs++;
        throw error;
      };
      await expect(use.db.transact(body(new RangeError('mine')))).rejects.toThrow('mine');
      expect(await codeOf(() => use.db.transact(body(new KeyValueError(2101))))).toBe(2101);
      expect(runs).toBe(2);
    });

    it('remembers over the attempts that a result was unknown', async () => {
      const seen: boolean[] = [];
      await use.db.transact(async (tx) => {
        seen.push(tx.afterUnknownResult);
        if (tx.attempt < 2) throw new KeyValueError(tx.attempt === 0 ? 1021 : 1020);
      });
      expect(seen).toEqual([false, true, true]);
    });

    it('stops between attempts when its signal aborts', async () => {
      const controller = new AbortController();
      const body = async () => {
        controller.abort(new Error('enough'));
        throw new KeyValueError(1020);
      };
      await expect(use.db.transact(body, { signal: controller.signal })).rejects.toThrow('enough');
    });

    it('refuses everything once it is closed, and closes twice', async () => {
      const opened = await driver.open();
      const tx = opened.database.createTransaction();
      const write = opened.database.transact(async (inFlight) => inFlight.set(k('x'), v('1')));
      await write;
      await opened.database.close();
      await opened.database.close();
      expect(await codeOf(() => tx.get(k('x')))).toBe(1025);
      expect(await codeOf(() => opened.database.transact((late) => late.get(k('x'))))).toBe(1025);
      await opened.dispose();
    });
  });
}
