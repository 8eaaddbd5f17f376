import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Transaction } from '../../src/kv/kv.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { readRanges, totalsOf } from '../../src/migration/passes/ledger.ts';
import { readStoredModel } from '../../src/migration/plan.ts';
import type { VerificationReport } from '../../src/migration/verification.ts';
import { rangeOf } from '../../src/records/keys.ts';
import type { StoreOptions } from '../../src/store/options.ts';
import type { MigrationRig } from '../rig/migration.ts';
import {
  CityV1,
  CityV2,
  cityId,
  cityOf,
  createLatch,
  createMigrationRig,
  toCityV2,
  typesOf,
} from '../rig/migration.ts';

let rig: MigrationRig;
beforeEach(() => {
  rig = createMigrationRig();
});
afterEach(() => rig.close());

const total = 300;
const cities = Array.from({ length: total }, (_, n) => cityOf(n));
const moves = { migrationHandler: { City: backfill({ transform: toCityV2 }) } } as const;
const keyBytesOf = (n: number) => Buffer.concat([Buffer.of(2), Buffer.from(cityId(n)), Buffer.of(0)]);
const keyOf = (n: number) => keyBytesOf(n).toString('hex');

interface Target {
  readonly records: Buffer;
  readonly byName: Buffer;
  readonly byLatitude: Buffer;
}

/** Where the migration that is under way writes. */
async function targetIn(tx: Transaction): Promise<Target> {
  const keys = rig.keysOf(1);
  const stored = await readStoredModel(tx, keys);
  const { schemaId = 0, keySpace = 0 } = stored?.fence.target ?? {};
  const indexes = stored?.definitions.get(schemaId)?.indexes ?? [];
  const prefixOf = (name: string) => keys.index(indexes.find((index) => index.name === name)?.indexId ?? 0);
  return { records: keys.records(keySpace), byName: prefixOf('byName'), byLatitude: prefixOf('byLatitude') };
}

type Hand = (tx: Transaction, target: Target) => Promise<void> | void;

const meddle = (hand: Hand) =>
  rig.database.transact(async (tx) => {
    await hand(tx, await targetIn(tx));
  });

/** Migrates as far as Verify, lets a hand meddle with the database, and goes on. */
async function verify(hand: Hand, options: Partial<StoreOptions> = {}) {
  await rig.seed(CityV1, cities);
  const all = { ...moves, ...options };
  await rig.openUntil(
    { 1: CityV2 },
    all,
    ({ type, phase }) => type === 'PhaseCompleted' && phase === 'Backfill',
  );
  await meddle(hand);
  return rig.open({ 1: CityV2 }, { ...all, continueMigrationsInBackground: true });
}

const rowsOf = (tx: Transaction, prefix: Buffer) => {
  const { begin, end } = rangeOf(prefix);
  return tx.getRangeAll(begin, end);
};

const entryOf = async (tx: Transaction, prefix: Buffer, n: number) => {
  const found = (await rowsOf(tx, prefix)).find(({ key }) => key.includes(keyBytesOf(n)));
  if (found === undefined) throw new Error(`city ${n} has no entry`);
  return found;
};

async function reportOf(store: {
  migrationVerification(modelId: number): Promise<VerificationReport | undefined>;
}) {
  const report = await store.migrationVerification(1);
  if (report === undefined) throw new Error('nothing was verified');
  return report;
}

/** Clears entries of the first cities, and adds some that no record demands. */
const spoil: Hand = async (tx, { byName, byLatitude }) => {
  for (const n of [4, 5]) tx.clear((await entryOf(tx, byLatitude, n)).key);
  const entry = await entryOf(tx, byName, 6);
  const other = Buffer.from(entry.key);
  // Another name of the same record.
  other[byName.length + 1] = 0x7a;
  tx.set(other, entry.value);
  tx.set(Buffer.concat([byName, Buffer.of(2, 65, 0), keyBytesOf(9_999)]), Buffer.of(3));
};

describe('the report of a verification', () => {
  it('counts records and entries, stays after the migration, and is told in the audit', async () => {
    const store = await verify(() => undefined);
    const none = { count: 0, isComplete: true, first: [] };
    const report = await reportOf(store);
    expect(report).toEqual({
      migrationId: expect.stringContaining('City:1.0->2.0#') as string,
      endedAtMs: expect.any(Number) as number,
      passed: true,
      sampleRatio: 1,
      seed: 0,
      records: { checked: total, expected: total, findings: 0, first: [] },
      indexes: [
        { name: 'byLatitude', demanded: total, present: total, missing: none, unexpected: none },
        { name: 'byName', demanded: total, present: total, missing: none, unexpected: none },
      ],
    });
    expect(rig.events.filter((event) => typesOf([event])[0] === 'Verify PhaseCompleted')).toMatchObject([
      { message: `records: ${total}, index entries: ${2 * total}; all in order` },
    ]);
    await store.close();
    expect(await reportOf(await rig.open({ 1: CityV2 }))).toEqual(report);
  });

  it('is none for a model that was never verified', async () => {
    const store = await rig.open({ 1: CityV1 });
    expect(await store.migrationVerification(1)).toBeUndefined();
    await expect(store.migrationVerification(2)).rejects.toMatchObject({ code: 'MODEL_UNKNOWN' });
  });

  it('names the records whose entries are missing, and those whose entries nothing demands', async () => {
    const store = await verify(spoil);
    const { passed, records, indexes } = await reportOf(store);
    expect({ passed, records }).toMatchObject({ passed: false, records: { findings: 0, checked: total } });
    const none = { count: 0, isComplete: true, first: [] };
    expect(indexes).toEqual([
      {
        name: 'byLatitude',
        demanded: total,
        present: total - 2,
        missing: {
          count: 2,
          isComplete: true,
          first: [4, 5].map((n) => ({ key: keyOf(n), problem: 'has no entry' })),
        },
        unexpected: none,
      },
      {
        name: 'byName',
        demanded: total,
        present: total + 2,
        missing: none,
        unexpected: {
          count: 2,
          isComplete: true,
          first: [
            { key: keyOf(9_999), problem: 'there is no such record' },
            { key: keyOf(6), problem: 'the record has other values' },
          ],
        },
      },
    ]);
    const { lastError } = await store.migrationStatus(1);
    expect(lastError?.message).toContain(`missing: 2, of ${keyOf(4)}, ${keyOf(5)}`);
    expect(lastError?.message).toContain(`not demanded by their records: 2, of ${keyOf(9_999)}, ${keyOf(6)}`);
    expect(lastError?.message).toContain('resetMigration');
    // Contract was not reached, nothing was published.
    expect(typesOf(rig.events)).not.toContain('Contract PhaseStarted');
    await expect(store.model(CityV2).count()).rejects.toMatchObject({ code: 'MODEL_MIGRATING' });
  });

  it('says what is wrong with a record, in no values', async () => {
    const store = await verify((tx, { records }) => {
      tx.set(Buffer.concat([records, keyBytesOf(7)]), Buffer.from('nonsense'));
    });
    const { records } = await reportOf(store);
    expect(records).toMatchObject({ findings: 1, first: [{ key: keyOf(7) }] });
    expect(records.first[0]?.problem).not.toBe('');
    expect(JSON.stringify(records)).not.toContain('nonsense');
  });

  it('lists 20 keys of a kind, and counts them all', async () => {
    const store = await verify(async (tx, { byLatitude }) => {
      for (const { key } of await rowsOf(tx, byLatitude)) tx.clear(key);
    });
    const { indexes } = await reportOf(store);
    expect(indexes[0]).toMatchObject({ demanded: total, present: 0, missing: { count: total } });
    expect(indexes[0]?.missing.first).toHaveLength(20);
  });

  it('is led out of by reset, which fills every index anew', async () => {
    const store = await verify(spoil);
    await store.resetMigration(1);
    await rig.settle(store.close());
    const mended = await rig.open({ 1: CityV2 }, moves);
    expect((await reportOf(mended)).passed).toBe(true);
    for (const { expected, actual } of await rig.indexes(1, CityV2)) expect(actual).toEqual(expected);
    expect(await mended.model(CityV2).count()).toBe(total);
  });
});

describe('a verification that is interrupted', () => {
  /** Runs a store until the first chunk of Verify is committed, and lets `interrupt` have the word then. */
  async function interruptVerify(
    interrupt: (store: Awaited<ReturnType<typeof openSlowly>>) => Promise<unknown>,
  ) {
    await rig.seed(CityV1, cities);
    await rig.openUntil({ 1: CityV2 }, moves, (event) => typesOf([event])[0] === 'Verify PhaseStarted');
    await meddle((tx, { records }) => {
      tx.set(Buffer.concat([records, keyBytesOf(1)]), Buffer.of(0));
    });
    const { transact } = rig.database;
    const opened = createLatch<Awaited<ReturnType<typeof openSlowly>>>();
    const interrupted = createLatch();
    let hasBegun = false;
    rig.database.transact = async (body, options) => {
      const result = await transact(body, options);
      if (hasBegun) return result;
      const rows = await transact((tx) => readRanges(tx, rig.keysOf(1), 'verify', { snapshot: true }));
      if (hasBegun || !rows.some(({ recordsRead }) => recordsRead > 0)) return result;
      hasBegun = true;
      await interrupt(await opened.opened);
      interrupted.open();
      return result;
    };
    const store = await openSlowly();
    opened.open(store);
    await rig.settle(interrupted.opened);
    rig.database.transact = transact;
    return { store };
  }

  const openSlowly = () =>
    rig.open(
      { 1: CityV2 },
      {
        ...moves,
        migrationStartupBudgetMs: 0,
        continueMigrationsInBackground: true,
        maxBackfillConcurrency: 1,
      },
    );

  it('by the end of its process goes on with its cursors, and with what was found before', async () => {
    let closed: Promise<void> | undefined;
    const { store } = await interruptVerify(async (running) => {
      closed = running.close();
      await new Promise((resolve) => setImmediate(resolve));
    });
    await rig.settle(closed ?? store.close());
    const rows = await rig.database.transact((tx) => readRanges(tx, rig.keysOf(1), 'verify'));
    const before = totalsOf(rows);
    expect(before.done).toBe(false);
    expect(before.recordsRead).toBeGreaterThan(0);
    expect(before.recordsRead).toBeLessThan(total);
    expect(before.findings).toBe(1);
    expect(rows.every(({ claim }) => claim === null)).toBe(true);
    const next = await rig.open({ 1: CityV2 }, { ...moves, continueMigrationsInBackground: true });
    // Each record once, or the counts would not agree.
    expect(await reportOf(next)).toMatchObject({
      passed: false,
      records: { checked: total, expected: total, findings: 1, first: [{ key: keyOf(1) }] },
    });
  });

  it('by a pause stands still, and looks at everything again when it is resumed', async () => {
    const paused = createLatch();
    const { store } = await interruptVerify(async (running) => {
      void (async () => {
        for await (const event of running.migrationEvents()) {
          if (event.type === 'status' && event.status.state === 'Paused') return paused.open();
        }
      })();
      await running.pauseMigration(1);
    });
    await rig.settle(paused.opened);
    expect(await store.migrationStatus(1)).toMatchObject({ state: 'Paused', phase: 'Verify' });
    // Whoever resumes may have mended something meanwhile.
    await store.resumeMigration(1);
    await expect(rig.settle(store.awaitMigration(1))).rejects.toMatchObject({ code: 'MIGRATION_FAILED' });
    expect(await reportOf(store)).toMatchObject({ passed: false, records: { checked: total, findings: 1 } });
  });
});

describe('a sample', () => {
  const spoilAll: Hand = async (tx, { byName, byLatitude }) => {
    for (const { key } of await rowsOf(tx, byLatitude)) tx.clear(key);
    for (let n = 0; n < total; n += 1) {
      const strange = Buffer.concat([byName, Buffer.of(2, 65 + (n % 26), 0), keyBytesOf(10_000 + n)]);
      tx.set(strange, Buffer.of(3));
    }
  };

  it('looks both ways: records for their entries, entries for their records', async () => {
    const store = await verify(spoilAll, { migrationVerification: { sampleRatio: 0.4 } });
    const { passed, sampleRatio, records, indexes } = await reportOf(store);
    expect({ passed, sampleRatio, expected: records.expected }).toEqual({
      passed: false,
      sampleRatio: 0.4,
      expected: null,
    });
    expect(records.checked).toBeGreaterThan(total * 0.2);
    expect(records.checked).toBeLessThan(total * 0.6);
    const [byLatitude, byName] = indexes;
    expect(byLatitude?.missing.count).toBe(records.checked);
    expect(byName?.missing.count).toBe(0);
    expect(byName?.unexpected.count).toBeGreaterThan(total * 0.2);
    expect(byName?.unexpected.count).toBeLessThan(total * 0.6);
    expect(byName?.present).toBeGreaterThan(byName?.unexpected.count ?? 0);
  });

  it('is the same for the same seed, and another for another', async () => {
    await rig.seed(CityV1, cities);
    await rig.openUntil(
      { 1: CityV2 },
      moves,
      ({ type, phase }) => type === 'PhaseCompleted' && phase === 'Backfill',
    );
    await meddle(async (tx, { records }) => {
      for (let n = 0; n < total; n += 1) tx.set(Buffer.concat([records, keyBytesOf(n)]), Buffer.of(0));
      await Promise.resolve();
    });
    const drawn = async (seed: number) => {
      const store = await rig.open(
        { 1: CityV2 },
        {
          ...moves,
          continueMigrationsInBackground: true,
          migrationVerification: { sampleRatio: 0.05, seed },
        },
      );
      if ((await store.migrationStatus(1)).state === 'Failed') await store.resumeMigration(1);
      await rig.settle(store.awaitMigration(1)).catch(() => undefined);
      const { records, seed: reported } = await reportOf(store);
      expect(reported).toBe(seed);
      await rig.settle(store.close());
      return records.first.map(({ key }) => key);
    };
    const first = await drawn(3);
    expect(first.length).toBeGreaterThan(2);
    expect(await drawn(4)).not.toEqual(first);
    expect(await drawn(3)).toEqual(first);
  });
});

describe('a check of the user’s', () => {
  const check = (asked: (city: Readonly<Record<string, unknown>>) => unknown, sampleRatio = 1) =>
    ({ migrationVerification: { sampleRatio, check: asked as () => boolean } }) as const;

  it('is asked of every record, as it is after the migration', async () => {
    const seen: unknown[] = [];
    const store = await verify(
      () => undefined,
      check((city) => seen.push(city) > 0),
    );
    expect(seen.toSorted((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b)))).toEqual(
      await store.model(CityV2).scan().toArray(),
    );
    expect(seen).toHaveLength(total);
  });

  it('is asked of a sample where one is drawn', async () => {
    let asked = 0;
    const store = await verify(
      () => undefined,
      check(() => (asked += 1) > 0, 0.3),
    );
    expect(asked).toBe((await reportOf(store)).records.checked);
    expect(asked).toBeLessThan(total);
  });

  it.each([
    ['false', () => false, 'the check refused it'],
    ['a reason', () => 'latitude is odd', 'latitude is odd'],
    [
      'an error',
      () => {
        throw new RangeError('city 3 is a secret');
      },
      'the check threw RangeError',
    ],
    [
      'a promise',
      () => Promise.resolve(true),
      'the check answered object instead of true, false or a reason',
    ],
    ['nothing', () => undefined, 'the check answered undefined instead of true, false or a reason'],
  ])('that answers %s fails the migration, by key and with the words', async (_what, answer, problem) => {
    const store = await verify(
      () => undefined,
      check((city) => (city['id'] === cityId(3) ? answer() : true)),
    );
    expect(await store.migrationStatus(1)).toMatchObject({
      state: 'Failed',
      phase: 'Verify',
      lastError: { code: 'VERIFICATION_FAILED' },
    });
    const report = await reportOf(store);
    expect(report.records).toMatchObject({ findings: 1, first: [{ key: keyOf(3), problem }] });
    expect(JSON.stringify([report, await store.migrationStatus(1)])).not.toContain('secret');
  });

  it('is asked about the models that it names', async () => {
    const seen: number[] = [];
    await verify(() => undefined, {
      migrationVerification: {
        check: { City: ({ latitude }: { readonly latitude: number }) => seen.push(latitude) > 0 } as never,
      },
    });
    expect(seen).toHaveLength(total);
  });

  it('is typed by the models', async () => {
    await rig.seed(CityV1, cities);
    const store = await rig.open(
      { 1: CityV2 },
      {
        ...moves,
        migrationVerification: {
          // @ts-expect-error there is no such property
          check: { City: (city) => city.lat === city.latitude || city.latitude < 90 },
        },
      },
    );
    expect((await reportOf(store)).passed).toBe(true);
  });

  it.each([
    ['of a model that is none', { check: { Town: () => true } }, 'MODEL_UNKNOWN', 'Town'],
    ['that is no function', { check: { City: 7 } }, 'OPTION_INVALID', 'migrationVerification.check.City'],
    ['that is a number', { check: 7 }, 'OPTION_INVALID', 'migrationVerification must be'],
    ['with a broken seed', { seed: 0.5 }, 'OPTION_INVALID', 'migrationVerification must be'],
    ['with an unknown part', { sampleFraction: 0.5 }, 'OPTION_INVALID', 'migrationVerification must be'],
  ])('%s is refused before anything is written', async (_what, migrationVerification, code, text) => {
    const before = await rig.dump();
    const opening = rig.open({ 1: CityV2 }, { migrationVerification: migrationVerification as never });
    await expect(opening).rejects.toMatchObject({ code });
    await expect(opening).rejects.toThrow(text);
    expect(await rig.dump()).toEqual(before);
  });
});
