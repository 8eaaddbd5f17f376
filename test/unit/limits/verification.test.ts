import { describe, expect, it } from 'vitest';
import type { KeyValue, KeyValueDatabase, Transaction } from '../../../src/kv/kv.ts';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import { limits } from '../../../src/limits.ts';
import type { FindingSample } from '../../../src/migration/passes/ledger.ts';
import { addSamples } from '../../../src/migration/passes/ledger.ts';
import { nameDisagreements } from '../../../src/migration/passes/name-disagreements.ts';
import type { HeldMigration, ModelMigration } from '../../../src/migration/runtime.ts';
import type { VerificationReport } from '../../../src/migration/verification.ts';
import { readVerification, writeVerification } from '../../../src/migration/verification.ts';
import { createIndexAgreement } from '../../../src/records/index-agreement.ts';
import { createIndexEncoder } from '../../../src/records/index-entries.ts';
import { createKeyCodec } from '../../../src/records/key-codec.ts';
import { createStoreKeys, rangeOf } from '../../../src/records/keys.ts';
import { createRecordCodec } from '../../../src/records/record-codec.ts';
import { setRecord } from '../../../src/records/record-rows.ts';
import { definition, index } from '../records/definition.ts';
import { overriding } from '../../rig/overriding.ts';

const byName = index('byName', ['name']);
const data = definition(
  [
    ['id', 1, { kind: 'string' }],
    ['name', 2, { kind: 'string' }],
  ],
  { indexes: [byName] },
);
const keys = createStoreKeys(['limits']).model(1);
const codec = createRecordCodec(data);
const keyCodec = createKeyCodec(data, {});
const encoder = createIndexEncoder(data, byName);
const indexId = 3;
const sample = (key: string, problem = 'odd'): FindingSample => ({
  kind: 'record',
  indexId: 0,
  key,
  problem,
});

describe('findings that are kept', () => {
  it('are as many as may be of one kind, and one more is not kept', () => {
    const { value } = limits.migration.findingKeys;
    const some = (count: number) => Array.from({ length: count }, (_, n) => sample(String(n)));
    expect(addSamples([], some(value))).toHaveLength(value);
    expect(addSamples([], some(value + 1))).toEqual(some(value));
  });

  it('have keys and problems as long as they may be, and one more is cut', () => {
    const { findingKeyDigits, findingProblemLength } = limits.migration;
    const [key, problem] = ['a'.repeat(findingKeyDigits.value), 'b'.repeat(findingProblemLength.value)];
    expect(addSamples([], [sample(key, problem)])).toEqual([sample(key, problem)]);
    expect(addSamples([], [sample(`${key}a`, `${problem}b`)])).toEqual([sample(key, problem)]);
  });
});

describe('the keys of a report', () => {
  it('are kept where they are as many as it has room for, and shared out where they are one more', async () => {
    const { reportedKeys, findingKeys } = limits.migration;
    const first = Array.from({ length: findingKeys.value }, (_, n) => ({ key: String(n), problem: 'odd' }));
    const none = { count: 0, isComplete: true, first: [] };
    const kept = async (lists: number) => {
      const list = (at: number) => (at < lists ? { count: first.length, isComplete: true, first } : none);
      const report: VerificationReport = {
        migrationId: 'City:1.0->2.0#0',
        endedAtMs: 0,
        passed: false,
        sampleRatio: 1,
        seed: 0,
        records: { checked: 0, expected: null, findings: 0, first: [] },
        indexes: Array.from({ length: Math.ceil(lists / 2) }, (_, n) => ({
          name: `index ${n}`,
          demanded: 0,
          present: 0,
          missing: list(2 * n),
          unexpected: list(2 * n + 1),
        })),
      };
      const database = openMemoryDatabase();
      await database.transact(async (tx) => writeVerification(tx, keys, report));
      const read = await database.transact((tx) => readVerification(tx, keys));
      await database.close();
      const found = read?.indexes.flatMap(({ missing, unexpected }) => [missing, unexpected]) ?? [];
      return found.map((one) => one.first.length).filter((length) => length > 0);
    };
    const full = reportedKeys.value / findingKeys.value;
    expect(await kept(full)).toEqual(Array.from({ length: full }, () => findingKeys.value));
    const shared = Math.floor(reportedKeys.value / (full + 1));
    expect(await kept(full + 1)).toEqual(Array.from({ length: full + 1 }, () => shared));
  });
});

describe('looking up', () => {
  const agreement = createIndexAgreement({
    data,
    indexes: [{ name: 'byName', indexId }],
    keys,
    keySpace: 1,
    references: {},
  });

  /** A database of records whose names are so long, and their entries in order. */
  const fill = async (sizes: readonly number[]) => {
    const database = openMemoryDatabase();
    const entries: KeyValue[] = [];
    for (const [n, size] of sizes.entries()) {
      const record = { id: `id ${String(n).padStart(4, '0')}`, name: String(n).padStart(4, '0') };
      const primaryKey = keyCodec.encode(record.id);
      const value = codec.encode(record, 1);
      const [entry] = encoder.entries(record, primaryKey);
      if (entry === undefined) throw new Error('a record without an entry');
      entries.push({ key: Buffer.concat([keys.index(indexId), entry.key]), value: entry.value });
      // A record that nobody can decode is a finding of its own: what counts here is its size.
      const bytes = size === 0 ? value : Buffer.alloc(size, 0xff);
      if (size > 0) bytes[1] = Math.ceil(size / limits.records.partBytes.value);
      const recordKey = Buffer.concat([keys.records(1), primaryKey]);
      await database.transact(async (tx) => setRecord(tx, recordKey, bytes));
    }
    return { database, entries };
  };

  it('takes as many rows side by side as it may, and one more after them', async () => {
    const { value } = limits.migration.lookedUpRows;
    const { database } = await fill(Array.from({ length: value + 1 }, () => 0));
    const { begin, end } = rangeOf(keys.records(1));
    const records = await database.transact((tx) => tx.getRangeAll(begin, end));
    const sideBySide = async (count: number) => {
      let now = 0;
      let most = 0;
      const looked = await database.transact((tx) => {
        const watched = overriding(tx, {
          async get(...given) {
            now += 1;
            most = Math.max(most, now);
            const found = await tx.get(...given);
            now -= 1;
            return found;
          },
        });
        return agreement.ofRecords(watched, records.slice(0, count));
      });
      expect(looked.rows).toBe(count);
      return most;
    };
    expect(await sideBySide(value - 1)).toBe(value - 1);
    expect(await sideBySide(value)).toBe(value);
    expect(await sideBySide(value + 1)).toBe(value);
    await database.close();
  });

  /** How many entries it looks up whose records are so large, and how much it reads of these. */
  const lookUp = async (sizes: readonly number[]) => {
    const { database, entries } = await fill(sizes);
    let bytes = 0;
    const { rows } = await database.transact((tx) => {
      const counting = overriding(tx, {
        async get(...given) {
          const found = await tx.get(...given);
          bytes += found?.length ?? 0;
          return found;
        },
        async getRangeAll(...given) {
          const found = await tx.getRangeAll(...given);
          bytes += found.reduce((sum, { value }) => sum + value.length, 0);
          return found;
        },
      });
      return agreement.ofEntries(counting, entries);
    });
    await database.close();
    return { rows, bytes };
  };

  it('ends with the row that fills its bytes; where a byte less is left, that one comes with the next look', async () => {
    const { partBytes } = limits.records;
    const { value } = limits.migration.lookedUpBytes;
    const full = Math.floor(value / partBytes.value) - 1;
    const before = (bytes: number) => [
      ...Array.from({ length: full }, () => partBytes.value),
      bytes - full * partBytes.value,
    ];
    const rest = value - partBytes.value;
    expect(await lookUp([...before(rest), partBytes.value, 100])).toEqual({ rows: full + 2, bytes: value });
    expect((await lookUp([...before(rest + 1), partBytes.value, 100])).rows).toBe(full + 1);
  });

  it.each([
    ['as large as they may be', () => limits.records.recordBytes.value],
    [
      'as large as they may be, behind small ones',
      (n: number) => (n < 90 ? 100 : limits.records.recordBytes.value),
    ],
    ['now large, now small', (n: number) => (n % 3 === 0 ? limits.records.recordBytes.value : 100)],
  ])('reads no more than its bytes where records are %s', async (_what, sizeOf) => {
    const { value } = limits.migration.lookedUpBytes;
    const { rows, bytes } = await lookUp(Array.from({ length: 120 }, (_, n) => sizeOf(n)));
    expect(bytes).toBeLessThanOrEqual(value);
    expect(rows).toBeGreaterThanOrEqual(3);
    expect(rows).toBeLessThan(120);
  });
});

describe('naming what is missing from an index', () => {
  it('walks as many rows as it may, and says that there may be more where there is one more', async () => {
    const { value } = limits.migration.namedRows;
    const row = {
      key: Buffer.concat([keys.records(1), keyCodec.encode('a')]),
      value: codec.encode({ id: 'a', name: 'b' }, 1),
    };
    const walk = async (rows: number) => {
      let walked = 0;
      // So many rows take a while to write: this one answers with the same row again and again.
      const tx = {
        get: () => Promise.resolve(undefined),
        getRangeAll: (_begin: Uint8Array, _end: Uint8Array, { limit = 0 }: { limit?: number }) => {
          const some = Math.min(limit, rows - walked);
          walked += some;
          return Promise.resolve(Array.from({ length: some }, () => row));
        },
      } as unknown as Transaction;
      const database = {
        transact: <T>(body: (given: Transaction) => Promise<T>) => body(tx),
      } as unknown as KeyValueDatabase;
      const migration = {
        runtime: { database },
        model: { data, keys, references: {} },
        stop: new AbortController().signal,
      } as unknown as ModelMigration;
      const held = {
        lease: { lost: new AbortController().signal },
        state: { migrationId: 'City:1.0->2.0#0', targetKeySpace: 1 },
      } as unknown as HeldMigration;
      const { isComplete } = await nameDisagreements(migration, held, []);
      return { walked, isComplete };
    };
    expect(await walk(value - 1)).toEqual({ walked: value - 1, isComplete: true });
    // A full page does not know that it was the last.
    expect(await walk(value)).toEqual({ walked: value, isComplete: false });
    expect(await walk(value + 1)).toEqual({ walked: value, isComplete: false });
  });
});
