import { describe, expect, it } from 'vitest';
import type { KeyValueDatabase } from '../../../src/kv/kv.ts';
import { openMemoryDatabase } from '../../../src/kv/memory/open.ts';
import { limits } from '../../../src/limits.ts';
import { defineModel, string } from '../../../src/model/index.ts';
import { rangeOf } from '../../../src/records/keys.ts';
import { setRecord } from '../../../src/records/record-rows.ts';
import type { ChunkFailure, ChunkResult, TransformSetup } from '../../../src/records/transform-setup.ts';
import { readSlices } from '../../../src/store/plan/draw-records.ts';
import { estimateSize, readEnds } from '../../../src/store/plan/estimate.ts';
import { createReader } from '../../../src/store/plan/reader.ts';
import { shownValue } from '../../../src/store/plan/shown-value.ts';
import { Tally } from '../../../src/store/plan/tally.ts';
import { createMigrationRig, succeed } from '../../rig/migration.ts';
import { overriding, withTransactions } from '../../rig/overriding.ts';
import { planOf, planOn } from '../../rig/plan.ts';
import { backfill } from '../../../src/migration/backfill-spec.ts';

const range = rangeOf(Buffer.of(1));
const keyOf = (n: number) =>
  Buffer.concat([Buffer.of(1), Buffer.from(String(n).padStart(4, '0')), Buffer.of(0)]);

async function withRecords<T>(count: number, use: (database: KeyValueDatabase) => Promise<T>): Promise<T> {
  const database = openMemoryDatabase();
  await database.transact((tx) => {
    for (let n = 0; n < count; n += 1) setRecord(tx, keyOf(n), Buffer.from([1, 1, 1, 0x80]));
    return Promise.resolve();
  });
  try {
    return await use(database);
  } finally {
    await database.close();
  }
}

describe('records that a transform is tried on', () => {
  it('are as many as may be asked for, and one more is refused', async () => {
    const rig = createMigrationRig();
    const most = limits.plan.sampledRecords.value;
    const Empty = defineModel({
      name: 'Empty',
      version: '1.0',
      key: ['id'],
      properties: { id: string({ number: 1, required: true }) },
    });
    const plan = (sample: number) => planOn(rig, { 1: Empty }, { sample, migrationHandler: succeed });
    expect((await plan(most)).problems).toEqual([]);
    await expect(plan(most + 1)).rejects.toMatchObject({ code: 'OPTION_INVALID' });
    await rig.close();
  });
});

describe('what a key space is estimated from', () => {
  it('is counted where the database takes it for that much, and estimated for a byte more', async () => {
    const most = limits.plan.countedBytes.value;
    const sizeOf = (estimated: number) =>
      withRecords(250, (database) => {
        const cut = withTransactions(database, (tx) =>
          overriding(tx, { getEstimatedRangeSizeBytes: () => Promise.resolve(estimated) }),
        );
        return estimateSize(createReader(cut, undefined), [range]);
      });
    expect(await sizeOf(most)).toEqual({ records: 250, bytes: 250 * 10, isEstimate: false });
    expect(await sizeOf(most + 1)).toEqual({ records: most / 10, bytes: most + 1, isEstimate: true });
  });

  it('are all records where they are as many as are read at an end, and not where there is one more', async () => {
    const most = limits.plan.measuredRecords.value;
    const endsOf = (count: number) =>
      withRecords(count, (database) => database.transact((tx) => readEnds(tx, range)));
    const [at, past] = [await endsOf(most), await endsOf(most + 1)];
    expect([at.isAll, at.records.length]).toEqual([true, most]);
    expect([past.isAll, past.records.length]).toEqual([false, 2 * most]);
  });
});

describe('slices that a sample is drawn from', () => {
  it('are as many as there are parts up to their bound, and the last is larger where there is one more', async () => {
    const most = limits.plan.sampledSlices.value;
    const slicesOf = (parts: number) =>
      withRecords(parts, async (database) => {
        const points = Array.from({ length: parts - 1 }, (_, n) => keyOf(n + 1));
        const cut = withTransactions(database, (tx) =>
          overriding(tx, {
            getRangeSplitPoints: () => Promise.resolve([range.begin, ...points, range.end]),
          }),
        );
        const size = { records: parts, bytes: 1, isEstimate: true };
        return (await readSlices(createReader(cut, undefined), range, size)).slices;
      });
    const [at, past] = [await slicesOf(most), await slicesOf(most + 1)];
    expect(at.length).toBe(most);
    expect(at.at(-1)).toEqual({ first: keyOf(most - 1), last: keyOf(most - 1) });
    expect(past.length).toBe(most);
    expect(past.at(-1)).toEqual({ first: keyOf(most - 1), last: keyOf(most) });
  });
});

describe('reasons of failures', () => {
  it('are listed up to their bound, the most frequent first, and one more is counted', () => {
    const most = limits.plan.failureReasons.value;
    const setup = { target: { schemaId: 2 }, sourcePrefix: Buffer.of(1) } as unknown as TransformSetup;
    const countsOf = (reasons: number) => {
      const failures = Array.from({ length: reasons }, (_, n): ChunkFailure[] => {
        const failure = { ordinal: n, code: 'TRANSFORM_REJECTED', message: `reason ${n}` } as const;
        // The last one is the most frequent, the first the rarest.
        return Array.from({ length: n + 1 }, () => ({ ...failure, keyBytes: Buffer.of(n) }));
      }).flat();
      const tally = new Tally([]);
      const result = { failures, counts: { moved: 0, dropped: 0 } } as unknown as ChunkResult;
      tally.add(setup, [], result);
      return tally.counts();
    };
    const at = countsOf(most);
    expect(at.failures.length).toBe(most);
    expect(at.otherFailures).toBe(0);
    expect(at.failures[0]).toMatchObject({ reason: `reason ${most - 1}`, count: most });
    const past = countsOf(most + 1);
    expect(past.failures.length).toBe(most);
    expect(past.otherFailures).toBe(1);
  });
});

describe('records that are shown', () => {
  it('are as many as there is room for, and one more is counted alone', async () => {
    const rig = createMigrationRig();
    const most = limits.plan.shownRecords.value;
    const Word = (version: string) =>
      defineModel({
        name: 'Word',
        version,
        key: ['id'],
        properties: { id: string({ number: 1, required: true }) },
      });
    await rig.seed(
      Word('1.0'),
      Array.from({ length: most + 1 }, (_, n) => ({ id: String(n) })),
    );
    const sampleOf = async (sample: number) => {
      const migrationHandler = backfill({ unchanged: true });
      const report = await planOn(rig, { 1: Word('2.0') }, { sample, show: ['id'], migrationHandler });
      return planOf(report, 1).sample;
    };
    expect((await sampleOf(most))?.shown.length).toBe(most);
    const past = await sampleOf(most + 1);
    expect(past?.shown.length).toBe(most);
    expect(past?.sampled).toBe(most + 1);
    await rig.close();
  });
});

describe('values that are shown', () => {
  it('are as long as they may be, and cut where they are one longer', () => {
    const most = limits.plan.shownCharacters.value;
    expect(shownValue('x'.repeat(most))).toBe('x'.repeat(most));
    expect(shownValue('x'.repeat(most + 1))).toBe(`${'x'.repeat(most - 1)}…`);
    expect(shownValue(new Uint8Array(most / 2))).toBe('0'.repeat(most));
    expect(shownValue(new Uint8Array(most / 2 + 1))).toBe(`${'0'.repeat(most - 1)}…`);
  });

  it('have as many elements as they may, and a mark in place of one more', () => {
    const most = limits.plan.shownElements.value;
    const some = (count: number) => Array.from({ length: count }, (_, n) => n);
    expect(shownValue(some(most))).toEqual(some(most));
    expect(shownValue(some(most + 1))).toEqual([...some(most), '…']);
    expect(shownValue(new Set(some(most + 1)))).toEqual([...some(most), '…']);
    expect(shownValue(new Map(some(most).map((n) => [n, n])))).toEqual(some(most).map((n) => [n, n]));
    const object = Object.fromEntries(some(most + 1).map((n) => [`p${n}`, n]));
    expect(Object.keys(shownValue(object) as object)).toEqual([...some(most).map((n) => `p${n}`), '…']);
  });

  it('are what JSON has room for', () => {
    const given = {
      big: 2n ** 63n,
      none: null,
      odd: Number.NaN,
      at: new Date(0),
      deep: { set: new Set(['a']) },
    };
    const shown = shownValue({ ...given, absent: undefined });
    expect(shown).toEqual({
      big: '9223372036854775808',
      none: null,
      odd: 'NaN',
      at: '1970-01-01T00:00:00.000Z',
      deep: { set: ['a'] },
    });
    expect(JSON.parse(JSON.stringify(shown))).toEqual(shown);
  });
});
