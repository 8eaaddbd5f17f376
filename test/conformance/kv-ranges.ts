import { describe, expect, it } from 'vitest';
import type { KeyValue, RangeOptions } from '../../src/kv/kv.ts';
import { all, codeOf, k, nameOf, put, show, useDatabase, v } from './kv-setup.ts';
import type { DriverUnderTest } from './kv-suite.ts';

const numbered = (count: number): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [String(i).padStart(4, '0'), `v${i}`]));

export function describeRanges(driver: DriverUnderTest): void {
  describe('ranges', () => {
    const use = useDatabase(driver);
    const scan = (options?: RangeOptions) =>
      use.db.transact(async (tx) => show(await tx.getRangeAll(...all(), options)));

    it('takes the begin and leaves the end, in the order of unsigned bytes', async () => {
      const names = [
        '',
        '\x00',
        '\x00\x00',
        '\x00\xff',
        '\x01',
        'a',
        'a\x00',
        'a\xff',
        'b',
        '\x7f',
        '\x80',
        '\xff',
        '\xff\xff',
      ];
      await use.db.transact(async (tx) => {
        for (const name of names.toReversed()) tx.set(k(name), v('1'));
      });
      const keys = await use.db.transact(async (tx) =>
        (await tx.getRangeAll(...all())).map(({ key }) => key),
      );
      expect(keys.map(nameOf)).toEqual(names.toSorted((x, y) => Buffer.compare(v(x), v(y))));
      const part = await use.db.transact((tx) => tx.getRangeAll(k('a'), k('a\xff')));
      expect(show(part)).toBe('a=1 a\x00=1');
    });

    it('reads backwards, a limited number, and up to a size', async () => {
      await put(use.db, { a: '1', b: '2', c: '3', d: '4' });
      expect(await scan({ reverse: true })).toBe('d=4 c=3 b=2 a=1');
      expect(await scan({ limit: 2 })).toBe('a=1 b=2');
      expect(await scan({ limit: 3, reverse: true })).toBe('d=4 c=3 b=2');
      const pairBytes = k('a').length + 1;
      expect(await scan({ targetBytes: pairBytes * 2 })).toBe('a=1 b=2');
      expect(await scan({ targetBytes: pairBytes + 1 })).toBe('a=1 b=2');
      expect(await scan({ targetBytes: 1, reverse: true })).toBe('d=4');
    });

    it('iterates over many pages the same way in both directions', async () => {
      await put(use.db, numbered(700));
      await use.db.transact(async (tx) => {
        for (const reverse of [false, true]) {
          for (const limit of [undefined, 1, 256, 257, 512, 699]) {
            const expected = await tx.getRangeAll(...all(), { reverse, limit });
            const seen: KeyValue[] = [];
            for await (const pair of tx.getRange(...all(), { reverse, limit })) seen.push(pair);
            expect(show(seen)).toBe(show(expected));
          }
        }
      });
    });

    it('lays own uncommitted writes over what is stored', async () => {
      await put(use.db, { a: '1', b: '1', c: '1', d: '1', e: '1' });
      const tx = use.db.createTransaction();
      tx.set(k('b'), v('2'));
      tx.set(k('bb'), v('2'));
      tx.clear(k('c'));
      tx.clearRange(k('d'), k('e'));
      tx.set(k('dd'), v('2'));
      tx.set(k('f'), v('2'));
      tx.set(k('0'), v('2'));
      tx.atomicOp('add', k('e'), Buffer.from([1]));
      tx.atomicOp('add', k('g'), v('7'));
      const merged = ['0=2', 'a=1', 'b=2', 'bb=2', 'dd=2', 'e=2', 'f=2', 'g=7'];
      const read = async (options: RangeOptions) => show(await tx.getRangeAll(...all(), options));
      expect(await read({})).toBe(merged.join(' '));
      expect(await read({ reverse: true })).toBe(merged.toReversed().join(' '));
      for (let limit = 1; limit <= merged.length; limit++) {
        expect(await read({ limit })).toBe(merged.slice(0, limit).join(' '));
        expect(await read({ limit, reverse: true })).toBe(merged.toReversed().slice(0, limit).join(' '));
      }
      expect(await read({ targetBytes: 1 })).toBe('0=2');
      expect(await read({ snapshot: true })).toBe(merged.join(' '));
      tx.cancel();
    });

    it('answers an empty range with nothing and refuses an inverted one', async () => {
      await put(use.db, { a: '1' });
      await use.db.transact(async (tx) => {
        expect(await tx.getRangeAll(k('a'), k('a'))).toEqual([]);
        expect(await codeOf(() => tx.getRangeAll(k('b'), k('a')))).toBe(2005);
        expect(await codeOf(() => tx.clearRange(k('b'), k('a')))).toBe(2005);
      });
    });

    it('estimates the size of a range and cuts it into slices at existing keys', async () => {
      const count = 1_000;
      await use.db.transact(async (tx) => {
        for (const name of Object.keys(numbered(count))) tx.set(k(name), Buffer.alloc(100));
      });
      await use.db.transact(async (tx) => {
        const bytes = count * (k('0000').length + 100);
        const estimate = await tx.getEstimatedRangeSizeBytes(...all());
        expect(Math.abs(estimate - bytes)).toBeLessThan(bytes * 0.2);
        const points = await tx.getRangeSplitPoints(...all(), bytes / 10);
        expect(points.at(0)).toEqual(all()[0]);
        expect(points.at(-1)).toEqual(all()[1]);
        expect(points.length).toBeGreaterThan(7);
        expect(points.length).toBeLessThan(15);
        expect(points.map((point) => point.toString('latin1'))).toEqual(
          points.map((point) => point.toString('latin1')).toSorted(),
        );
        for (const point of points.slice(1, -1)) expect(await tx.get(point)).toBeDefined();
      });
    });
  });
}
