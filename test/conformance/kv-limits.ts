import { describe, expect, it } from 'vitest';
import { createVirtualClock } from '../rig/virtual-clock.ts';
import { codeOf, commitCode, k, put, read, textOf, useDatabase, v } from './kv-setup.ts';
import type { DriverUnderTest } from './kv-suite.ts';

export function describeLimits(driver: DriverUnderTest): void {
  describe('limits', () => {
    const use = useDatabase(driver);

    it('refuses keys and values that are too large, at once', async () => {
      const tx = use.db.createTransaction();
      expect(await codeOf(() => tx.set(Buffer.alloc(10_001, 1), v('')))).toBe(2102);
      expect(await codeOf(() => tx.set(k('a'), Buffer.alloc(100_001)))).toBe(2103);
      tx.set(k('a'), Buffer.alloc(100_000, 7));
      await tx.commit();
      const stored = await use.db.transact((reader) => reader.get(k('a')));
      expect(stored?.equals(Buffer.alloc(100_000, 7))).toBe(true);
    });

    it('refuses keys that belong to the database itself', async () => {
      const tx = use.db.createTransaction();
      expect(await codeOf(() => tx.set(Buffer.from([0xff]), v('')))).toBe(2004);
      expect(await codeOf(() => tx.clearRange(k('a'), Buffer.from([0xff, 0xff, 0x01])))).toBe(2004);
      tx.cancel();
    });

    it('counts what a transaction weighs and refuses more than 10 MB', async () => {
      const tx = use.db.createTransaction();
      expect(await tx.getApproximateSize()).toBe(0);
      for (let i = 0; i < 90; i++) tx.set(k(`a${i}`), Buffer.alloc(100_000));
      expect(await tx.getApproximateSize()).toBeGreaterThan(9_000_000);
      for (let i = 90; i < 110; i++) tx.set(k(`a${i}`), Buffer.alloc(100_000));
      expect(await commitCode(tx)).toBe(2101);
      tx.cancel();
      expect(await read(use.db, 'a0')).toBeUndefined();
    });

    it('refuses more than a transaction grants itself', async () => {
      const tx = use.db.createTransaction({ sizeLimitBytes: 1_000 });
      tx.set(k('a'), Buffer.alloc(2_000));
      expect(await commitCode(tx)).toBe(2101);
      tx.cancel();
      const small = use.db.createTransaction({ sizeLimitBytes: 1_000 });
      small.set(k('a'), Buffer.alloc(100));
      expect(await commitCode(small)).toBeUndefined();
    });

    it('counts reads too', async () => {
      await put(use.db, { a: '1', b: '1' });
      const tx = use.db.createTransaction();
      await tx.getRangeAll(k('a'), k('c'));
      expect(await tx.getApproximateSize()).toBeGreaterThanOrEqual(2 * k('a').length);
      tx.cancel();
    });

    const { openWithClock } = driver;
    if (openWithClock === undefined) return;

    it('lets no transaction grow older than five seconds', async () => {
      const clock = createVirtualClock();
      const opened = await openWithClock(clock);
      const { database } = opened;
      await put(database, { a: '1' });
      const [reader, writer, forgotten] = [0, 0, 0].map(() => database.createTransaction());
      await reader?.get(k('a'));
      await writer?.get(k('a'));
      await forgotten?.get(k('a'));
      writer?.set(k('b'), v('1'));
      clock.advance(4_900);
      expect(textOf(await reader?.get(k('a')))).toBe('1');
      clock.advance(200);
      expect(await codeOf(() => reader?.get(k('a')))).toBe(1007);
      expect(await codeOf(() => writer?.commit())).toBe(1007);
      clock.advance(20_000);
      expect(clock.pendingTimers).toBe(0);
      for (const tx of [reader, writer, forgotten]) tx?.cancel();
      await opened.dispose();
    });

    it('goes by the monotonic clock: a step of the wall clock ages nothing', async () => {
      const clock = createVirtualClock();
      const opened = await openWithClock(clock);
      const { database } = opened;
      await put(database, { a: '1' });
      const before = await database.transact((tx) => tx.getReadVersion());
      const tx = database.createTransaction();
      await tx.get(k('a'));
      clock.stepWall(3_600_000);
      await put(database, { b: '1' });
      clock.stepWall(-7_200_000);
      await put(database, { c: '1' });
      tx.set(k('d'), v('1'));
      expect(await commitCode(tx)).toBeUndefined();
      expect(tx.getCommittedVersion()).toBeGreaterThan(before);
      await opened.dispose();
    });

    it('ends a transaction at its own timeout, for good', async () => {
      const clock = createVirtualClock();
      const opened = await openWithClock(clock);
      const { database } = opened;
      const tx = database.createTransaction({ timeoutMs: 100 });
      await tx.get(k('a'));
      clock.advance(101);
      expect(await codeOf(() => tx.get(k('a')))).toBe(1031);
      await opened.dispose();
    });
  });
}
