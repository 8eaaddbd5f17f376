import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RequestException } from '../../../src/errors.ts';
import type { KeyValueDatabase } from '../../../src/kv/kv.ts';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import { limits } from '../../../src/limits.ts';
import { duplicatePair, duplicatesOf, notUnique } from '../../../src/migration/duplicates.ts';
import { writeIntent } from '../../../src/migration/intent.ts';
import { createRange, writeRange } from '../../../src/migration/passes/ledger.ts';
import type { UniqueDemand } from '../../../src/migration/passes/name-duplicates.ts';
import { nameDuplicates, withDuplicates } from '../../../src/migration/passes/name-duplicates.ts';
import type { Pass } from '../../../src/migration/passes/mover.ts';
import type { HeldMigration, ModelMigration } from '../../../src/migration/runtime.ts';
import { createStoreKeys, rangeOf } from '../../../src/records/keys.ts';
import { createVirtualClock } from '../../rig/virtual-clock.ts';

const keys = createStoreKeys(['limits']).model(1);
const records = rangeOf(keys.records(1));
const migrationId = 'City:1.0->2.0#0';
const { listedDuplicates, comparedRows, comparedMs } = limits.migration;

let database: KeyValueDatabase;
const clock = createVirtualClock();
const warnings: string[] = [];
beforeEach(async () => {
  database = openMemoryDatabase();
  warnings.length = 0;
  await database.transact(async (tx) => writeRange(tx, keys, 'backfill', 0, createRange(records, 1)));
});
afterEach(() => database.close());

const migration = () =>
  ({
    runtime: { database, clock },
    model: { name: 'City', keys },
    stop: new AbortController().signal,
  }) as unknown as ModelMigration;
const held = {
  lease: { lost: new AbortController().signal },
  logger: { warn: (_fields: object, message: string) => void warnings.push(message) },
  state: { migrationId },
} as unknown as HeldMigration;

const keyAt = (n: number) => Buffer.concat([records.begin, numbered(n)]);
const numbered = (n: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(n);
  return bytes;
};

/** A pass over so many records, each of which demands one row: all of them the same one, or none. */
function passOver(count: number, { alike = false, onPage = () => Promise.resolve() } = {}) {
  let read = 0;
  const demandUnique = async (_begin: Buffer, _end: Buffer, limit: number): Promise<UniqueDemand> => {
    await onPage();
    const some = Array.from({ length: Math.min(limit, count - read) }, (_, at) => read + at);
    read += some.length;
    const rows = some.map((n) => ({
      index: 'byName',
      entry: { key: keys.index(1), value: Buffer.concat([Buffer.of(0), numbered(n)]) },
      recordKey: numbered(n),
    }));
    return {
      rows: alike ? rows : [],
      records: some.length,
      lastKey: some.length === 0 ? undefined : keyAt(read - 1),
      atEnd: read === count,
    };
  };
  const pass = { name: 'backfill', demandUnique } as unknown as Pass;
  return { pass, read: () => read };
}

describe('listing duplicates', () => {
  it('lists as many pairs as it may, and none more', async () => {
    const listing = (pairs: number) =>
      nameDuplicates(migration(), held, passOver(pairs + 1, { alike: true }).pass);
    const { value } = listedDuplicates;
    const pairs = (count: number) =>
      Array.from({ length: count }, (_, n) => duplicatePair('byName', numbered(0), numbered(n + 1)));
    expect(await listing(value - 1)).toEqual({ pairs: pairs(value - 1), isComplete: true });
    expect((await listing(value)).pairs).toEqual(pairs(value));
    expect(await listing(value + 1)).toEqual({ pairs: pairs(value), isComplete: false });
  });

  it('compares as many rows as it may, and says that there may be others where there is one more', async () => {
    const compared = async (count: number) => {
      const { pass, read } = passOver(count);
      const { isComplete } = await nameDuplicates(migration(), held, pass);
      return { read: read(), isComplete };
    };
    const { value } = comparedRows;
    expect(await compared(value)).toEqual({ read: value, isComplete: true });
    expect(await compared(value + 1)).toEqual({ read: value, isComplete: false });
  });

  it('goes on for as long as it may, and not a millisecond later', async () => {
    const readIn = async (ms: number) => {
      const { pass, read } = passOver(1_000, {
        onPage: () => Promise.resolve(clock.advance(ms)),
      });
      const { isComplete } = await nameDuplicates(migration(), held, pass);
      return { read: read(), isComplete };
    };
    // Ten pages, the last of which begins at the bound or before it.
    expect(await readIn(Math.ceil(comparedMs.value / 9) - 1)).toEqual({ read: 1_000, isComplete: true });
    expect(await readIn(comparedMs.value - 1)).toEqual({ read: 200, isComplete: false });
    expect(await readIn(comparedMs.value)).toEqual({ read: 100, isComplete: false });
  });

  it('is ended by an operator', async () => {
    const { pass, read } = passOver(1_000, {
      onPage: async () => {
        await database.transact(async (tx) => {
          const word = { want: 'pause', by: 'test', reason: 'told to' } as const;
          writeIntent(tx, keys, { migrationId, id: 'word', ...word, revision: 1, atMs: 0 });
        });
      },
    });
    expect(await nameDuplicates(migration(), held, pass)).toEqual({ pairs: [], isComplete: false });
    expect(read()).toBe(100);
  });
});

describe('a failure for a duplicate', () => {
  const met = duplicatePair('byName', numbered(998), numbered(999));
  const failure = notUnique('City', [met]);

  it('names the pair that was met where the search does not come to it', async () => {
    const error = await withDuplicates(migration(), held, passOver(3, { alike: true }).pass, failure);
    expect(duplicatesOf(error)).toEqual([
      duplicatePair('byName', numbered(0), numbered(1)),
      duplicatePair('byName', numbered(0), numbered(2)),
      met,
    ]);
  });

  it('stays as it is where the search fails', async () => {
    const { pass } = passOver(3, { onPage: () => Promise.reject(new Error('no more')) });
    expect(await withDuplicates(migration(), held, pass, failure)).toBe(failure);
    expect(failure.message).toContain('perhaps others');
    expect(warnings).toHaveLength(1);
  });

  it('is the only one that is searched for', async () => {
    const other = new RequestException('KEY_TOO_LARGE', 'too large');
    const { pass, read } = passOver(3);
    expect(await withDuplicates(migration(), held, pass, other)).toBe(other);
    expect(read()).toBe(0);
  });
});
