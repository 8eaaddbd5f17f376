import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/limits.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { defineModel, int32, string } from '../../src/model/index.ts';
import { rangeOf } from '../../src/records/keys.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { answers, cityId, createMigrationRig } from '../rig/migration.ts';
import { readRows } from '../rig/recompute-index.ts';

let rig: MigrationRig;
beforeEach(() => {
  rig = createMigrationRig();
});
afterEach(() => rig.close());

const properties = {
  id: string({ number: 1, required: true }),
  mail: string({ number: 2 }),
  age: int32({ number: 3 }),
};
const Loose = defineModel({ name: 'User', version: '1.0', key: ['id'], properties });
const Unique = defineModel({
  name: 'User',
  version: '1.1',
  key: ['id'],
  properties,
  indexes: [{ name: 'byMail', on: ['mail'], unique: true }],
});

const userOf = (n: number, mail = `u${n}@x`) => ({ id: cityId(n), mail, age: n });
const keyOf = (n: number) =>
  Buffer.concat([Buffer.of(2), Buffer.from(cityId(n)), Buffer.of(0)]).toString('hex');
const pairOf = (first: number, second: number) => ({
  index: 'byMail',
  firstKey: keyOf(first),
  key: keyOf(second),
});
const listed = limits.migration.listedDuplicates.value;
const users = (count: number, twins: Readonly<Record<number, number>>) =>
  Array.from({ length: count }, (_, n) => userOf(n, twins[n] === undefined ? undefined : `u${twins[n]}@x`));

const recordsOf = (keySpace = 1) => readRows(rig.database, rangeOf(rig.keysOf(1).records(keySpace)));
const inBackground = { continueMigrationsInBackground: true } as const;

/** Ways of migrating to a new unique index: the transform that changes nothing, and handlers that touch no record. */
const ways = [
  ['backfill({ unchanged: true })', () => ({ migrationHandler: { User: backfill({ unchanged: true }) } })],
  ['a handler of your own', () => ({ migrationHandler: { User: answers() } })],
  ['a Verify handler alone', () => ({ migrationVerifyHandler: { User: answers() } })],
] as const;

describe('`unique` newly added to records with duplicates', () => {
  it.each(ways)(
    'fails by %s, names all pairs by their keys, and publishes nothing',
    async (_way, options) => {
      await rig.seed(Loose, users(60, { 21: 4, 40: 4, 50: 7 }));
      const before = await recordsOf();
      const store = await rig.open({ 1: Unique }, { ...options(), ...inBackground });
      const { state, phase, lastError } = await store.migrationStatus(1);
      expect({ state, phase, code: lastError?.code }).toEqual({
        state: 'Failed',
        phase: 'Backfill',
        code: 'UNIQUE_VIOLATION',
      });
      expect(lastError?.message).toContain('byMail');
      expect(lastError?.message).toContain(keyOf(4));
      expect(lastError?.message).toContain(keyOf(21));
      expect(lastError?.message).toContain(keyOf(50));
      expect(lastError?.message).not.toContain('others');
      expect(lastError?.duplicates).toEqual([pairOf(4, 21), pairOf(4, 40), pairOf(7, 50)]);
      // By their keys, not by what they share.
      expect(lastError?.message).not.toContain('u4@x');
      // Nothing was moved: the old definition is served, by this program's store and by an older one.
      expect(await recordsOf()).toEqual(before);
      await rig.settle(store.close());
      const older = await rig.open({ 1: Loose });
      expect(await older.model(Loose).scan().toArray()).toEqual(users(60, { 21: 4, 40: 4, 50: 7 }));
      await older.model(Loose).add(userOf(100, 'u4@x'));
      await older.model(Loose).change(cityId(3), { age: 33 });
    },
  );

  it.each(ways)('lists the first pairs by key and no more, by %s', async (_way, options) => {
    // Twins of one another, and as many again.
    const twins = Object.fromEntries(
      Array.from({ length: 2 * listed }, (_, n) => [n + 2 * listed, n] as const),
    );
    await rig.seed(Loose, users(5 * listed, twins));
    const store = await rig.open({ 1: Unique }, { ...options(), ...inBackground });
    const { lastError, message } = await store.migrationStatus(1);
    expect(lastError?.duplicates).toEqual(
      Array.from({ length: listed }, (_, n) => pairOf(n, n + 2 * listed)),
    );
    expect(lastError?.message).toMatch(/; at least \d+ more\.$/);
    expect(message).toContain('resumeMigration');
  });

  it('has room in its message for the first pair of long keys, and for the way out', async () => {
    const idOf = (n: number) => `${'k'.repeat(500)}${n}`;
    await rig.seed(
      Loose,
      Array.from({ length: 9 }, (_, n) => ({ id: idOf(n), mail: 'one@x' })),
    );
    const options = { migrationHandler: { User: backfill({ unchanged: true }) } };
    const store = await rig.open({ 1: Unique }, { ...options, ...inBackground });
    const { lastError, message } = await store.migrationStatus(1);
    expect(lastError?.duplicates).toHaveLength(8);
    for (const { key } of lastError?.duplicates ?? []) expect(key).toHaveLength(128);
    expect(lastError?.message).toMatch(/; 7 more\.$/);
    expect(message).toContain('resumeMigration');
  });

  it('lists those that lie further on as well where other records were moved before', async () => {
    await rig.seed(Loose, users(800, { 340: 4, 560: 5, 561: 342, 562: 340 }));
    const options = { migrationHandler: { User: backfill({ unchanged: true }) } };
    const store = await rig.open({ 1: Unique }, { ...options, ...inBackground });
    const { lastError } = await store.migrationStatus(1);
    expect(lastError?.duplicates).toEqual([pairOf(4, 340), pairOf(5, 560), pairOf(342, 561)]);
  });

  it('goes on when the older program has mended the records', async () => {
    await rig.seed(Loose, users(60, { 21: 4 }));
    const migrating = { migrationHandler: { User: backfill({ unchanged: true }) }, ...inBackground };
    const store = await rig.open({ 1: Unique }, migrating);
    expect((await store.migrationStatus(1)).state).toBe('Failed');
    const older = await rig.open({ 1: Loose });
    await older.model(Loose).change(cityId(21), { mail: 'twin@x' });
    await store.resumeMigration(1);
    await rig.settle(store.awaitMigration(1));
    await expect(store.model(Unique).add(userOf(100, 'twin@x'))).rejects.toMatchObject({
      code: 'UNIQUE_VIOLATION',
    });
    for (const { state, expected, actual } of await rig.indexes(1, Unique)) {
      expect({ state, entries: actual }).toEqual({ state: 'ready', entries: expected });
    }
  });

  it('keeps the gate closed where records were moved before, and says the way out', async () => {
    await rig.seed(Loose, users(350, { 340: 4 }));
    const store = await rig.open(
      { 1: Unique },
      { migrationHandler: { User: backfill({ unchanged: true }) }, ...inBackground },
    );
    const { state, blocking, lastError, message } = await store.migrationStatus(1);
    expect({ state, blocking, code: lastError?.code }).toEqual({
      state: 'Failed',
      blocking: true,
      code: 'UNIQUE_VIOLATION',
    });
    expect(lastError?.message).toContain(keyOf(4));
    expect(lastError?.message).toContain(keyOf(340));
    expect(message).toContain('resumeMigration');
    await expect(store.model(Unique).count()).rejects.toMatchObject({ code: 'MODEL_MIGRATING' });
    await rig.settle(store.close());
    // A transform that settles it: whatever it says of the later one.
    const transform = (user: Readonly<Record<string, unknown>>) =>
      user['id'] === cityId(340) ? { ...user, mail: 'u340@x' } : user;
    const mended = await rig.open(
      { 1: Unique },
      { migrationHandler: { User: backfill({ transform }) }, ...inBackground },
    );
    await mended.resumeMigration(1);
    await rig.settle(mended.awaitMigration(1));
    expect(await mended.model(Unique).scan().toArray()).toEqual(users(350, {}));
  });

  it.each([60, 350])(
    'sets the later ones of %i records aside by policy, each with its reason',
    async (count) => {
      const twins = { 21: 4, 40: 4, 50: 7 };
      await rig.seed(Loose, users(count, twins));
      const store = await rig.open(
        { 1: Unique },
        { migrationHandler: { User: backfill({ unchanged: true, onPoison: 'quarantine' }) } },
      );
      const aside = await store.quarantined(1);
      expect(aside.map(({ key, code }) => ({ key, code }))).toEqual(
        Object.keys(twins).map((n) => ({ key: keyOf(Number(n)), code: 'UNIQUE_VIOLATION' })),
      );
      for (const { message } of aside) expect(message).toContain('byMail');
      expect(await store.model(Unique).count()).toBe(count - 3);
      for (const { expected, actual } of await rig.indexes(1, Unique)) expect(actual).toEqual(expected);
      expect(await store.migrationVerification(1)).toMatchObject({
        passed: true,
        records: { checked: count - 3, expected: count - 3 },
      });
    },
  );

  it('passes records without a value', async () => {
    await rig.seed(Loose, [...users(10, {}), { id: 'x' }, { id: 'y', age: 3 }]);
    const store = await rig.open(
      { 1: Unique },
      { migrationHandler: { User: backfill({ unchanged: true }) } },
    );
    expect(await store.model(Unique).count()).toBe(12);
    await store.model(Unique).add({ id: 'z' });
  });
});

it('records may exchange their values of a unique index in a migration, which fills it anew', async () => {
  const count = 250;
  const before = defineModel({ ...Unique, version: '1.0' });
  const after = defineModel({ ...Unique, version: '2.0' });
  await rig.seed(before, users(count, {}));
  const transform = (user: Readonly<Record<string, unknown>>) => ({
    ...user,
    mail: `u${count - 1 - Number(user['age'])}@x`,
  });
  const store = await rig.open({ 1: after }, { migrationHandler: { User: backfill({ transform }) } });
  expect(await store.model(after).get(cityId(0))).toMatchObject({ mail: `u${count - 1}@x` });
  for (const { expected, actual } of await rig.indexes(1, after)) expect(actual).toEqual(expected);
});

describe('an index that is unique in another way', () => {
  const named = (version: string, indexes: readonly object[]) =>
    defineModel({ name: 'User', version, key: ['id'], properties, indexes: indexes as never });
  const byMail = { name: 'byMail', on: ['mail'], unique: true };
  const byMailAndAge = { name: 'byMailAndAge', on: ['mail', 'age'], unique: true };
  const slowly = {
    migrationMaxRecordsPerSecond: 1,
    migrationStartupBudgetMs: 0,
    ...inBackground,
  } as const;

  it('is built beside requests where another one keeps it unique meanwhile', async () => {
    const before = named('1.0', [byMail]);
    const after = named('1.1', [byMail, byMailAndAge]);
    await rig.seed(before, users(250, {}));
    const store = await rig.open({ 1: after }, slowly);
    expect(await store.migrationStatus(1)).toMatchObject({ state: 'Running', blocking: false });
    // Its twin has no entry in the index that is being built.
    await expect(store.model(after).add({ ...userOf(249), id: 'twin' } as never)).rejects.toMatchObject({
      code: 'UNIQUE_VIOLATION',
    });
    await rig.settle(store.awaitMigration(1));
    for (const { state, expected, actual } of await rig.indexes(1, after)) {
      expect({ state, entries: actual }).toEqual({ state: 'ready', entries: expected });
    }
  });

  describe('and is still being built when the other one is dropped', () => {
    const before = named('1.0', [byMail]);
    const both = named('1.1', [byMail, byMailAndAge]);
    const after = named('1.2', [byMailAndAge]);
    beforeEach(() => rig.seed(before, users(250, {})));

    it('needs a migration, which lets no duplicate in; and none once it is ready', async () => {
      const building = await rig.open({ 1: both }, slowly);
      const stored = (await rig.indexes(1, both)).map(({ name, state }) => ({ name, state }));
      expect(stored).toContainEqual({ name: 'byMailAndAge', state: 'building' });
      await expect(rig.open({ 1: after }, inBackground)).rejects.toMatchObject({
        code: 'MIGRATION_HANDLER_MISSING',
        message: expect.stringMatching(
          /byMailAndAge is unique and still being built, and byMail, /,
        ) as string,
      });
      const twin = building.model(both).add({ ...userOf(249), id: 'twin' } as never);
      await expect(twin).rejects.toMatchObject({ code: 'UNIQUE_VIOLATION' });
      await rig.settle(building.awaitMigration(1));
      await rig.settle(building.close());
      const store = await rig.open({ 1: after });
      expect(await store.model(after).count()).toBe(250);
      expect((await rig.indexes(1, after)).map(({ name }) => name)).toEqual(['byMailAndAge']);
    });

    it('is filled anew by that migration', async () => {
      await rig.settle((await rig.open({ 1: both }, slowly)).close());
      rig.events.length = 0;
      const store = await rig.open(
        { 1: after },
        { migrationHandler: { User: backfill({ unchanged: true }) }, ...inBackground },
      );
      await rig.settle(store.awaitMigration(1));
      expect(rig.events.map(({ phase }) => phase)).toContain('Expand');
      const twin = store.model(after).add({ ...userOf(249), id: 'twin' } as never);
      await expect(twin).rejects.toMatchObject({ code: 'UNIQUE_VIOLATION' });
      for (const { name, state, expected, actual } of await rig.indexes(1, after)) {
        expect({ name, state, entries: actual }).toEqual({
          name: 'byMailAndAge',
          state: 'ready',
          entries: expected,
        });
      }
    });
  });

  it.each([
    ['wider', byMailAndAge],
    ['reversed', { name: 'byMail', on: [{ property: 'mail', reversed: true }], unique: true }],
  ])('and takes the place of the one before, being %s, lets no duplicate in', async (_what, index) => {
    const before = named('1.0', [byMail]);
    const after = named('1.1', [index]);
    await rig.seed(before, users(250, {}));
    const store = await rig.open(
      { 1: after },
      { migrationHandler: { User: backfill({ unchanged: true }) }, ...slowly },
    );
    const added = store.model(after).add({ ...userOf(249), id: 'twin' } as never);
    await expect(added).rejects.toMatchObject({ name: 'RequestException' });
    await rig.settle(store.awaitMigration(1));
    expect(await store.model(after).count()).toBe(250);
    for (const { state, expected, actual } of await rig.indexes(1, after)) {
      expect({ state, entries: actual }).toEqual({ state: 'ready', entries: expected });
    }
  });
});
