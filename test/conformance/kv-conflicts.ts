import { describe, expect, it } from 'vitest';
import type { KeyValueTransaction } from '../../src/kv/kv.ts';
import { all, commitCode, k, put, readAll, useDatabase, v } from './kv-setup.ts';
import type { DriverUnderTest } from './kv-suite.ts';

type Action = (tx: KeyValueTransaction) => unknown;

export function describeConflicts(driver: DriverUnderTest): void {
  describe('conflicts', () => {
    const use = useDatabase(driver);

    /** Code of a commit whose reads happen before, and whose writes happen after, somebody else's commit. */
    const outcome = async (mine: Action, theirs: Action): Promise<number | undefined> => {
      await put(use.db, { a: '1', b: '1', c: '1', d: '1' });
      const tx = use.db.createTransaction();
      await tx.getReadVersion();
      await mine(tx);
      await use.db.transact(async (other) => void (await theirs(other as KeyValueTransaction)));
      tx.set(k('mine'), v('1'));
      const code = await commitCode(tx);
      tx.cancel();
      return code;
    };
    const cases: readonly [what: string, mine: Action, theirs: Action, code: number | undefined][] = [
      ['a key that was read and set', (tx) => tx.get(k('a')), (tx) => tx.set(k('a'), v('2')), 1020],
      [
        'a key that was read and set to the same',
        (tx) => tx.get(k('a')),
        (tx) => tx.set(k('a'), v('1')),
        1020,
      ],
      ['a key that was read as absent', (tx) => tx.get(k('x')), (tx) => tx.set(k('x'), v('2')), 1020],
      ['a key that was read and cleared', (tx) => tx.get(k('a')), (tx) => tx.clear(k('a')), 1020],
      [
        'a key in a range that was cleared',
        (tx) => tx.get(k('b')),
        (tx) => tx.clearRange(k('a'), k('c')),
        1020,
      ],
      ['an atomic operation', (tx) => tx.get(k('a')), (tx) => tx.atomicOp('add', k('a'), v('1')), 1020],
      [
        'a gap in a range that was read',
        (tx) => tx.getRangeAll(k('a'), k('d')),
        (tx) => tx.set(k('bb'), v('2')),
        1020,
      ],
      [
        'an empty range that was read',
        (tx) => tx.getRangeAll(k('x'), k('y')),
        (tx) => tx.set(k('xx'), v('2')),
        1020,
      ],
      ['another key', (tx) => tx.get(k('a')), (tx) => tx.set(k('b'), v('2')), undefined],
      [
        'the neighbours of a key',
        (tx) => tx.get(k('b')),
        (tx) => [tx.set(k('b\0'), v('2')), tx.set(k('a\xff'), v('2'))],
        undefined,
      ],
      [
        'the end of a range',
        (tx) => tx.getRangeAll(k('a'), k('c')),
        (tx) => tx.set(k('c'), v('2')),
        undefined,
      ],
      [
        'what lies behind a limit',
        (tx) => tx.getRangeAll(...all(), { limit: 2 }),
        (tx) => tx.set(k('c'), v('2')),
        undefined,
      ],
      [
        'what lies before a limit',
        (tx) => tx.getRangeAll(...all(), { limit: 2 }),
        (tx) => tx.set(k('b'), v('2')),
        1020,
      ],
      [
        'what lies before a limit read backwards',
        (tx) => tx.getRangeAll(...all(), { limit: 2, reverse: true }),
        (tx) => tx.set(k('b'), v('2')),
        undefined,
      ],
      [
        'what a backward read has seen',
        (tx) => tx.getRangeAll(...all(), { limit: 2, reverse: true }),
        (tx) => tx.set(k('cc'), v('2')),
        1020,
      ],
      [
        'a key read as a snapshot',
        (tx) => tx.get(k('a'), { snapshot: true }),
        (tx) => tx.set(k('a'), v('2')),
        undefined,
      ],
      [
        'a range read as a snapshot',
        (tx) => tx.getRangeAll(...all(), { snapshot: true }),
        (tx) => tx.set(k('a'), v('2')),
        undefined,
      ],
      ['a key only written', (tx) => tx.set(k('a'), v('3')), (tx) => tx.set(k('a'), v('2')), undefined],
      [
        'an added read conflict key',
        (tx) => tx.addReadConflictKey(k('a')),
        (tx) => tx.set(k('a'), v('2')),
        1020,
      ],
      [
        'an added read conflict range',
        (tx) => tx.addReadConflictRange(k('a'), k('c')),
        (tx) => tx.set(k('bb'), v('2')),
        1020,
      ],
      ['an added write conflict key', (tx) => tx.get(k('a')), (tx) => tx.addWriteConflictKey(k('a')), 1020],
      [
        'an added write conflict range',
        (tx) => tx.get(k('b')),
        (tx) => tx.addWriteConflictRange(k('a'), k('c')),
        1020,
      ],
      [
        'a write conflict range beside it',
        (tx) => tx.get(k('c')),
        (tx) => tx.addWriteConflictRange(k('a'), k('c')),
        undefined,
      ],
      ['another read of the same key', (tx) => tx.get(k('a')), (tx) => tx.get(k('a')), undefined],
      [
        'an added read conflict of another',
        (tx) => tx.get(k('a')),
        (tx) => tx.addReadConflictKey(k('a')),
        undefined,
      ],
    ];
    it.each(cases)('%s', async (_what, mine, theirs, code) => {
      expect(await outcome(mine, theirs)).toBe(code);
    });

    it('refuses write skew: two that read what the other writes cannot both commit', async () => {
      await put(use.db, { a: '1', b: '1' });
      const [left, right] = [use.db.createTransaction(), use.db.createTransaction()];
      await left.get(k('a'));
      await right.get(k('b'));
      left.set(k('b'), v('2'));
      right.set(k('a'), v('2'));
      const codes = await Promise.all([commitCode(left), commitCode(right)]);
      expect(new Set(codes)).toEqual(new Set([1020, undefined]));
      left.cancel();
      right.cancel();
    });

    it('checks commits that go together in one batch against each other', async () => {
      const competitors = Array.from({ length: 20 }, () => use.db.createTransaction());
      for (const tx of competitors) await tx.get(k('a'));
      competitors.forEach((tx, index) => tx.set(k('a'), v(String(index))));
      const codes = await Promise.all(competitors.map(commitCode));
      expect(codes.filter((code) => code === undefined)).toHaveLength(1);
      expect(codes.filter((code) => code === 1020)).toHaveLength(19);
      for (const tx of competitors) tx.cancel();
    });

    it('finds a conflict behind thousands of other commits', async () => {
      await put(use.db, { watched: '1', quiet: '1' });
      const [unlucky, lucky] = [use.db.createTransaction(), use.db.createTransaction()];
      await unlucky.get(k('watched'));
      await lucky.get(k('quiet'));
      await put(use.db, { watched: '2' });
      await Promise.all(
        Array.from({ length: 2_000 }, (_, i) => put(use.db, { [`other${i % 300}`]: String(i) })),
      );
      unlucky.set(k('mine'), v('1'));
      lucky.set(k('yours'), v('1'));
      expect(await commitCode(unlucky)).toBe(1020);
      expect(await commitCode(lucky)).toBeUndefined();
      for (const tx of [unlucky, lucky]) tx.cancel();
    });

    it('never refuses a transaction that wrote nothing, and gives it no version', async () => {
      await put(use.db, { a: '1' });
      const reader = use.db.createTransaction();
      await reader.get(k('a'));
      await put(use.db, { a: '2' });
      expect(await commitCode(reader)).toBeUndefined();
      expect(reader.getCommittedVersion()).toBe(-1n);
      expect(await readAll(use.db)).toBe('a=2');
    });
  });
}
