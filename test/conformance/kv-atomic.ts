import { describe, expect, it } from 'vitest';
import type { AtomicOperation } from '../../src/kv/kv.ts';
import { k, useDatabase } from './kv-setup.ts';
import type { DriverUnderTest } from './kv-suite.ts';

const hex = (text: string): Buffer => Buffer.from(text, 'hex');

/** Operation, value before (null: none), operand, value after (null: none). As FoundationDB documents them. */
const cases: readonly [AtomicOperation, string | null, string, string | null][] = [
  ['add', null, '0100', '0100'],
  ['add', '0100', '0100', '0200'],
  ['add', 'ff00', '0100', '0001'],
  ['add', 'ffff', '0100', '0000'],
  ['add', '01', '000001', '010001'],
  ['add', '010203', '01', '02'],
  ['add', '0500000000000000', 'ffffffffffffffff', '0400000000000000'],
  ['max', null, '0100', '0100'],
  ['max', '0200', '0100', '0200'],
  ['max', '0002', 'ff01', '0002'],
  ['max', 'ff01', '0002', '0002'],
  ['max', 'ffffff', '0100', 'ffff'],
  ['min', null, '0500', '0500'],
  ['min', '0200', '0100', '0100'],
  ['min', '0002', 'ff01', 'ff01'],
  ['min', '01', '0500', '0100'],
  ['byteMin', null, '05', '05'],
  ['byteMin', '0102', '0101ff', '0101ff'],
  ['byteMin', '01', '0101', '01'],
  ['byteMax', null, '05', '05'],
  ['byteMax', '0102', '0101ff', '0102'],
  ['byteMax', '01', '0101', '0101'],
  ['bitOr', null, '0f', '0f'],
  ['bitOr', 'f0', '0f', 'ff'],
  ['bitOr', 'f0', '0f0f', 'ff0f'],
  ['bitOr', 'f0f0', '0f', 'ff'],
  ['compareAndClear', '0102', '0102', null],
  ['compareAndClear', '0102', '01', '0102'],
  ['compareAndClear', null, '01', null],
];

export function describeAtomicOperations(driver: DriverUnderTest): void {
  describe('atomic operations', () => {
    const use = useDatabase(driver);
    const stored = async () => (await use.db.transact((tx) => tx.get(k('a'))))?.toString('hex') ?? null;

    it.each(cases)('%s makes of %s by %s: %s', async (operation, before, operand, after) => {
      const key = k('a');
      if (before !== null) await use.db.transact(async (tx) => tx.set(key, hex(before)));
      await use.db.transact(async (tx) => {
        tx.atomicOp(operation, key, hex(operand));
        expect((await tx.get(key, { snapshot: true }))?.toString('hex') ?? null).toBe(after);
      });
      expect(await stored()).toBe(after);
      // The same over an uncommitted value.
      await use.db.transact(async (tx) => {
        if (before === null) tx.clear(key);
        else tx.set(key, hex(before));
        tx.atomicOp(operation, key, hex(operand));
      });
      expect(await stored()).toBe(after);
    });

    it('applies to the newest value, not to the one that was read', async () => {
      const tx = use.db.createTransaction();
      await tx.getReadVersion();
      tx.atomicOp('add', k('a'), hex('01'));
      tx.atomicOp('add', k('a'), hex('01'));
      await use.db.transact(async (other) => other.set(k('a'), hex('05')));
      await tx.commit();
      expect(await stored()).toBe('07');
    });

    it('lets many add at once without a conflict', async () => {
      const transactions = Array.from({ length: 40 }, () => use.db.createTransaction());
      for (const tx of transactions) {
        await tx.getReadVersion();
        tx.atomicOp('add', k('a'), hex('0100'));
      }
      await Promise.all(transactions.map((tx) => tx.commit()));
      expect(await stored()).toBe('2800');
    });
  });
}
