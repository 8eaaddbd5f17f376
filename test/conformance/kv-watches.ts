import { describe, expect, it } from 'vitest';
import type { Watch } from '../../src/kv/kv.ts';
import { k, put, useDatabase, v } from './kv-setup.ts';
import type { DriverUnderTest } from './kv-suite.ts';

export function describeWatches(driver: DriverUnderTest): void {
  describe('watches', () => {
    const use = useDatabase(driver);
    const watch = (name: string): Promise<Watch> => use.db.transact(async (tx) => tx.watch(k(name)));
    /** What the watch has answered by now, given that everything before it has settled. */
    const answerOf = (watched: Watch): Promise<boolean | 'waiting'> =>
      Promise.race([
        watched.changed,
        new Promise<'waiting'>((resolve) => setImmediate(() => resolve('waiting'))),
      ]);

    it('fires when the value is set, changed or cleared', async () => {
      for (const change of ['created', 'changed', undefined]) {
        const watched = await watch('a');
        if (change === undefined) await use.db.transact(async (tx) => tx.clear(k('a')));
        else await put(use.db, { a: change });
        expect(await watched.changed).toBe(true);
      }
    });

    it('fires on a cleared range and on atomic operations', async () => {
      await put(use.db, { a: '1' });
      const cleared = await watch('a');
      await use.db.transact(async (tx) => tx.clearRange(k(''), k('z')));
      expect(await cleared.changed).toBe(true);
      const added = await watch('a');
      await use.db.transact(async (tx) => tx.atomicOp('add', k('a'), v('1')));
      expect(await added.changed).toBe(true);
    });

    it('stays quiet on other keys, and answers false when canceled', async () => {
      const watched = await watch('b');
      await put(use.db, { a: '1', c: '1' });
      expect(await answerOf(watched)).toBe('waiting');
      watched.cancel();
      watched.cancel();
      expect(await watched.changed).toBe(false);
    });

    it('fires at once when the value changed between the read and the commit', async () => {
      const tx = use.db.createTransaction();
      const watched = tx.watch(k('a'));
      await put(use.db, { a: '1' });
      await tx.commit();
      expect(await watched.changed).toBe(true);
    });

    it('compares with the value that its own transaction writes', async () => {
      const watched = await use.db.transact(async (tx) => {
        tx.set(k('a'), v('1'));
        return tx.watch(k('a'));
      });
      expect(await answerOf(watched)).toBe('waiting');
      await put(use.db, { a: '2' });
      expect(await watched.changed).toBe(true);
    });

    it('adds no conflict', async () => {
      const tx = use.db.createTransaction();
      const watched = tx.watch(k('a'));
      await put(use.db, { a: '1' });
      tx.set(k('b'), v('1'));
      await tx.commit();
      expect(await watched.changed).toBe(true);
    });

    it('answers false when its transaction is canceled', async () => {
      const tx = use.db.createTransaction();
      const watched = tx.watch(k('a'));
      tx.cancel();
      expect(await watched.changed).toBe(false);
    });

    it('tells every watcher of a key', async () => {
      const watched = await Promise.all(Array.from({ length: 10 }, () => watch('a')));
      await put(use.db, { a: '1' });
      expect(await Promise.all(watched.map(({ changed }) => changed))).toEqual(
        Array.from({ length: 10 }, () => true),
      );
    });

    it('compares with what the transaction saw when it asked, whatever it writes later', async () => {
      await put(use.db, { a: '1' });
      const watched = await use.db.transact(async (tx) => {
        const early = tx.watch(k('a'));
        tx.set(k('a'), v('2'));
        return early;
      });
      expect(await watched.changed).toBe(true);
    });

    it('tells each watcher of the next change after what it saw, whoever else watches the key', async () => {
      await put(use.db, { a: '1' });
      const [first, second] = [await watch('a'), await watch('a')];
      await put(use.db, { a: '2' });
      const [third, fourth] = [await watch('a'), await watch('a')];
      expect(await Promise.all([first.changed, second.changed])).toEqual([true, true]);
      third.cancel();
      await put(use.db, { a: '1' });
      expect([await third.changed, await fourth.changed]).toEqual([false, true]);
    });

    it('tells a watcher that joins with an older read', async () => {
      await put(use.db, { a: '1' });
      const old = use.db.createTransaction();
      const watched = old.watch(k('a'));
      await put(use.db, { a: '2' });
      const newer = await watch('a');
      await old.commit();
      expect(await watched.changed).toBe(true);
      expect(await answerOf(newer)).toBe('waiting');
      newer.cancel();
    });

    it('answers false when the database is closed', async () => {
      const opened = await driver.open();
      const watched = await opened.database.transact(async (tx) => tx.watch(k('a')));
      await opened.database.close();
      expect(await watched.changed).toBe(false);
      await opened.dispose();
    });
  });
}
