import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Transaction } from '../../src/kv/kv.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { defineModel, int32, list, string } from '../../src/model/index.ts';
import { readStoredModel } from '../../src/migration/plan.ts';
import { readGarbage } from '../../src/records/garbage.ts';
import { rangeOf } from '../../src/records/keys.ts';
import type { StoreOptions } from '../../src/store/options.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { cityId, createLatch, createMigrationRig, typesOf } from '../rig/migration.ts';

let rig: MigrationRig;
beforeEach(() => {
  rig = createMigrationRig();
});
afterEach(() => rig.close());

const properties = {
  id: string({ number: 1, required: true }),
  name: string({ number: 2, required: true }),
  people: int32({ number: 3 }),
  tags: list({ number: 4, of: string() }),
};
const Plain = defineModel({ name: 'Town', version: '1.0', key: ['id'], properties });
const Indexed = defineModel({
  name: 'Town',
  version: '1.1',
  key: ['id'],
  properties,
  indexes: [
    { name: 'byPeople', on: ['people'] },
    { name: 'byTag', on: ['tags'] },
  ],
});
const townOf = (n: number) => ({
  id: cityId(n),
  name: `town ${n}`,
  people: n % 50,
  tags: [`t${n % 3}`, `t${n % 5}`],
});
const towns = Array.from({ length: 60 }, (_, n) => townOf(n));
const keyBytesOf = (n: number) => Buffer.concat([Buffer.of(2), Buffer.from(cityId(n)), Buffer.of(0)]);

interface Built {
  readonly byPeople: Buffer;
  readonly byTag: Buffer;
  readonly records: Buffer;
}

/** Builds the indexes as far as Verify, lets a hand meddle with the database, and goes on. */
async function meddle(
  hand: (tx: Transaction, built: Built) => Promise<void>,
  options: Partial<StoreOptions> = {},
) {
  await rig.seed(Plain, towns);
  await rig.openUntil(
    { 1: Indexed },
    {},
    ({ type, phase }) => type === 'PhaseCompleted' && phase === 'Backfill',
  );
  const keys = rig.keysOf(1);
  await rig.database.transact(async (tx) => {
    const { fence, current } = (await readStoredModel(tx, keys)) ?? never();
    const prefixOf = (name: string) =>
      keys.index(current.indexes.find((index) => index.name === name)?.indexId ?? never());
    await hand(tx, {
      byPeople: prefixOf('byPeople'),
      byTag: prefixOf('byTag'),
      records: keys.records(fence.keySpace),
    });
  });
  return rig.open({ 1: Indexed }, { continueMigrationsInBackground: true, ...options });
}

function never(): never {
  throw new Error('the model was to be published with both indexes');
}

const rowsOf = (tx: Transaction, prefix: Buffer) =>
  tx.getRangeAll(rangeOf(prefix).begin, rangeOf(prefix).end);

async function expectIndexes(): Promise<void> {
  for (const { name, state, expected, actual } of await rig.indexes(1, Indexed)) {
    expect({ name, state, entries: actual }).toEqual({ name, state: 'ready', entries: expected });
  }
}

describe('an index that was built beside requests', () => {
  it('is verified before it is ready, and the report stays', async () => {
    const store = await meddle(() => Promise.resolve());
    await expectIndexes();
    expect(typesOf(rig.events).slice(-3)).toEqual([
      'Verify PhaseStarted',
      'Verify PhaseCompleted',
      'Verify Completed',
    ]);
    const noFindings = { count: 0, isComplete: true, first: [] };
    expect(await store.migrationVerification(1)).toMatchObject({
      passed: true,
      sampleRatio: 1,
      records: { checked: 60, expected: null, findings: 0, first: [] },
      indexes: [
        { name: 'byPeople', demanded: 60, present: 60, missing: noFindings, unexpected: noFindings },
        { name: 'byTag', demanded: 108, present: 108, missing: noFindings, unexpected: noFindings },
      ],
    });
  });

  it('stays building where it lacks an entry or has one too many, and the model is served', async () => {
    const store = await meddle(async (tx, { byPeople, byTag, records }) => {
      const mine = (await rowsOf(tx, byPeople)).find(({ key }) => key.includes(cityId(7)));
      tx.clear(mine?.key ?? never());
      // An entry of a record that is gone, and one of a value that its record does not have.
      tx.clear(Buffer.concat([records, keyBytesOf(9)]));
      const [tag] = await rowsOf(tx, byTag);
      if (tag === undefined) never();
      const changed = Buffer.from(tag.key);
      changed[byTag.length + 2] = 0x7a;
      tx.set(changed, tag.value);
    });
    const { state, phase, blocking, lastError } = await store.migrationStatus(1);
    expect({ state, phase, blocking, code: lastError?.code }).toEqual({
      state: 'Failed',
      phase: 'Verify',
      blocking: false,
      code: 'VERIFICATION_FAILED',
    });
    expect(lastError?.message).toContain('index byPeople has entries missing: 1, of ');
    expect(lastError?.message).toContain('not demanded by their records: 1, of ');
    expect(lastError?.message).toContain('resetMigration builds the index anew');
    expect(await store.migrationVerification(1)).toMatchObject({
      passed: false,
      records: { checked: 59, findings: 0 },
      indexes: [
        {
          missing: { count: 1, first: [{ key: keyBytesOf(7).toString('hex'), problem: 'has no entry' }] },
          unexpected: {
            count: 1,
            first: [{ key: keyBytesOf(9).toString('hex'), problem: 'there is no such record' }],
          },
        },
        {
          missing: { count: 0 },
          unexpected: { count: 3 },
        },
      ],
    });
    expect(await store.model(Indexed).get(cityId(7))).toEqual(townOf(7));
    await store.model(Indexed).add(townOf(100));
    await expect(store.model(Indexed).scan({ by: 'byTag' }).toArray()).rejects.toMatchObject({
      code: 'INDEX_BUILDING',
    });
  });

  it('is looked at again by resume, and built under another id by reset', async () => {
    const store = await meddle(async (tx, { byPeople }) => {
      const [first] = await rowsOf(tx, byPeople);
      tx.clear(first?.key ?? never());
      tx.set(Buffer.concat([byPeople, Buffer.of(2, 65, 0)]), Buffer.of(8));
    });
    await store.resumeMigration(1);
    await expect(rig.settle(store.awaitMigration(1))).rejects.toMatchObject({ code: 'MIGRATION_FAILED' });
    const before = await rig.database.transact((tx) => readStoredModel(tx, rig.keysOf(1)));
    await store.resetMigration(1);
    await rig.open({ 1: Indexed });
    await expectIndexes();
    const after = await rig.database.transact((tx) => readStoredModel(tx, rig.keysOf(1)));
    const old = before?.current.indexes.map(({ indexId }) => indexId) ?? [];
    for (const { indexId } of after?.current.indexes ?? []) expect(old).not.toContain(indexId);
    const swept = async (): Promise<void> => {
      const garbage = await rig.database.transact((tx) => readGarbage(tx, rig.keysOf(1)));
      if (garbage.length > 0) await new Promise((resolve) => setImmediate(resolve)).then(swept);
    };
    await swept();
    for (const indexId of old) {
      expect(await rig.database.transact((tx) => rowsOf(tx, rig.keysOf(1).index(indexId)))).toEqual([]);
    }
  });

  it('is reset under writers of an older program, which keep the new one right', async () => {
    await rig.seed(
      Plain,
      Array.from({ length: 250 }, (_, n) => townOf(n)),
    );
    const older = await rig.open({ 1: Plain });
    const slowly = {
      migrationMaxRecordsPerSecond: 1,
      migrationStartupBudgetMs: 0,
      continueMigrationsInBackground: true,
    } as const;
    const store = await rig.open({ 1: Indexed }, slowly);
    await older.model(Plain).change(cityId(3), { people: 1_003 });
    await store.resetMigration(1);
    await older.model(Plain).change(cityId(3), { people: 2_003 });
    await older.model(Plain).delete(cityId(4));
    await rig.settle(store.awaitMigration(1));
    await older.model(Plain).put({ ...townOf(5), people: 3_005 });
    expect(await store.model(Indexed).count({ by: 'byPeople', where: { people: 2_003 } })).toBe(1);
    await expectIndexes();
  });

  it('finds a record that cannot be read', async () => {
    const store = await meddle((tx, { records }) => {
      tx.set(Buffer.concat([records, keyBytesOf(7)]), Buffer.from('nonsense'));
      return Promise.resolve();
    });
    const { lastError } = await store.migrationStatus(1);
    expect(lastError?.message).toContain('1 records cannot be read');
    expect(lastError?.message).toContain(keyBytesOf(7).toString('hex'));
  });

  it('is not looked at where verification is off', async () => {
    const store = await meddle(
      async (tx, { byPeople }) => {
        const [first] = await rowsOf(tx, byPeople);
        tx.clear(first?.key ?? never());
      },
      { migrationVerification: 'off' },
    );
    expect(await store.model(Indexed).count({ by: 'byPeople' })).toBe(59);
    expect(await store.migrationVerification(1)).toBeUndefined();
  });

  it('is verified by a sample where that is asked for', async () => {
    const store = await meddle(
      async (tx, { byPeople }) => {
        for (const { key } of await rowsOf(tx, byPeople)) tx.clear(key);
      },
      { migrationVerification: { sampleRatio: 0.5 } },
    );
    const report = await store.migrationVerification(1);
    const { missing } = report?.indexes[0] ?? never();
    expect(missing.count).toBe(report?.records.checked);
    expect(missing.count).toBeGreaterThan(10);
    expect(missing.count).toBeLessThan(50);
  });

  it('conflicts with no writer, and neither with itself nor with them is anything lost', async () => {
    await rig.seed(
      Plain,
      Array.from({ length: 1_200 }, (_, n) => townOf(n)),
    );
    const older = await rig.open({ 1: Plain });
    await rig.openUntil(
      { 1: Indexed },
      {},
      ({ type, phase }) => type === 'PhaseCompleted' && phase === 'Backfill',
    );
    const verified = createLatch();
    let isVerified = false;
    let attempts = 0;
    let writes = 0;
    let writesMeanwhile = 0;
    const write = async (from: number) => {
      for (let n = from; !isVerified || n < from + 40; n += 7) {
        await older.transact((tx) => {
          attempts += 1;
          return tx.model(Plain).put({ ...townOf(n % 1_200), people: 2_000 + n });
        });
        writes += 1;
        if (!isVerified) writesMeanwhile += 1;
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const writers = [write(0), write(500)];
    const store = await rig.open(
      { 1: Indexed },
      { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true },
    );
    void store.awaitMigration(1).then(() => {
      isVerified = true;
      verified.open();
    });
    await rig.settle(Promise.all([verified.opened, ...writers]));
    expect(writesMeanwhile).toBeGreaterThan(0);
    // Publication turns the fence once, and whoever writes then is repeated; no chunk repeats anybody.
    expect(attempts - writes).toBeLessThanOrEqual(4);
    await expectIndexes();
  });
});

it('an index that needs a migration beside it is verified with it, behind the gate', async () => {
  await rig.seed(Plain, towns);
  const Both = defineModel({ ...Indexed, version: '2.0' });
  const store = await rig.open({ 1: Both }, { migrationHandler: backfill({ unchanged: true }) });
  expect(await store.migrationVerification(1)).toMatchObject({
    passed: true,
    records: { checked: 60, expected: 60 },
    indexes: [
      { demanded: 60, present: 60 },
      { demanded: 108, present: 108 },
    ],
  });
});
