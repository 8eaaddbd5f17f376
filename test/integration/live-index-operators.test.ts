import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { readStoredModel } from '../../src/migration/plan.ts';
import { defineModel, int32, string } from '../../src/model/index.ts';
import { readGarbage } from '../../src/records/garbage.ts';
import { rangeOf } from '../../src/records/keys.ts';
import type { FoundationDBDataStore } from '../../src/store/store.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { cityId, createLatch, createMigrationRig, typesOf } from '../rig/migration.ts';

let rig: MigrationRig;
beforeEach(() => {
  rig = createMigrationRig();
});
afterEach(() => rig.close());

const properties = {
  id: string({ number: 1, required: true }),
  people: int32({ number: 2 }),
  name: string({ number: 3 }),
};
const town = (version: string, indexes: Readonly<Record<string, readonly string[]>>) =>
  defineModel({
    name: 'Town',
    version,
    key: ['id'],
    properties,
    indexes: Object.entries(indexes).map(([name, on]) => ({ name, on })) as never,
  });
const Plain = town('1.0', {});
const Indexed = defineModel({
  name: 'Town',
  version: '1.1',
  key: ['id'],
  properties,
  indexes: [{ name: 'byPeople', on: ['people'] }],
});
const townOf = (n: number) => ({ id: cityId(n), people: n % 50, name: `n${n}` });
const towns = Array.from({ length: 350 }, (_, n) => townOf(n));

/** After the first chunk of 100 records the next one waits, in virtual time: the test has the word. */
const slowly = {
  migrationMaxRecordsPerSecond: 1,
  migrationStartupBudgetMs: 0,
  continueMigrationsInBackground: true,
} as const;

const current = async () => {
  const stored = await rig.database.transact((tx) => readStoredModel(tx, rig.keysOf(1)));
  if (stored === undefined) throw new Error('the model was never published');
  return stored.current;
};
const entriesUnder = async (indexId: number) => {
  const { begin, end } = rangeOf(rig.keysOf(1).index(indexId));
  return (await rig.database.transact((tx) => tx.getRangeAll(begin, end))).length;
};
const swept = async (): Promise<void> => {
  const garbage = await rig.database.transact((tx) => readGarbage(tx, rig.keysOf(1)));
  if (garbage.length > 0) await new Promise((resolve) => setImmediate(resolve)).then(swept);
};

async function expectIndexes(model: Parameters<MigrationRig['indexes']>[1]): Promise<void> {
  for (const { name, state, expected, actual } of await rig.indexes(1, model)) {
    expect({ name, state, entries: actual }).toEqual({ name, state: 'ready', entries: expected });
  }
}

/** Resolves when a status event says so. */
function whenState(store: FoundationDBDataStore, state: string): Promise<void> {
  const seen = createLatch();
  void (async () => {
    for await (const event of store.migrationEvents()) {
      if (event.type === 'status' && event.status.state === state) return seen.open();
    }
  })();
  return seen.opened;
}

/** The lease of a build that stands still is released in the transaction behind that. */
async function whenReleased(store: Pick<FoundationDBDataStore, 'migrationStatus'>): Promise<void> {
  while ((await rig.settle(store.migrationStatus(1))).owner !== null);
}

describe('the build of an index that an operator', () => {
  it.each([
    ['pauses', 'Paused', (store: FoundationDBDataStore) => store.pauseMigration(1)],
    ['cancels', 'Canceled', (store: FoundationDBDataStore) => store.cancelMigration(1)],
  ] as const)(
    '%s stands still, is kept right, and is served around, until it is resumed',
    async (_, state, stop) => {
      await rig.seed(Plain, towns);
      const older = await rig.open({ 1: Plain });
      const store = await rig.open({ 1: Indexed }, slowly);
      const stopped = whenState(store as never, state);
      await stop(store as never);
      await rig.settle(stopped);
      await whenReleased(store);
      const before = await rig.dump();
      // No open begins it again, and none is refused for it.
      const other = await rig.open({ 1: Indexed }, { continueMigrationsInBackground: true });
      expect(await other.migrationStatus(1)).toMatchObject({ state, blocking: false });
      expect((await rig.dump()).filter((row) => !before.includes(row))).toEqual([]);
      await older.model(Plain).change(cityId(3), { people: 1_003 });
      await older.model(Plain).delete(cityId(4));
      await store.model(Indexed).put({ ...townOf(5), people: 1_005 });
      expect(await other.model(Indexed).count()).toBe(349);
      await expect(other.model(Indexed).count({ by: 'byPeople' })).rejects.toMatchObject({
        code: 'INDEX_BUILDING',
      });
      await other.resumeMigration(1);
      await rig.settle(other.awaitMigration(1));
      await rig.settle(store.awaitMigration(1));
      await expectIndexes(Indexed);
      expect(await store.model(Indexed).count({ by: 'byPeople', where: { people: 1_003 } })).toBe(1);
    },
  );

  it('resets begins anew under another id, and the one before is swept', async () => {
    await rig.seed(Plain, towns);
    const store = await rig.open({ 1: Indexed }, slowly);
    const [before] = (await current()).indexes;
    expect(await entriesUnder(before?.indexId ?? 0)).toBeGreaterThan(0);
    expect(await store.resetMigration(1)).toMatchObject({ blocking: false });
    await rig.settle(store.awaitMigration(1));
    const [after] = (await current()).indexes;
    expect(after?.indexId).not.toBe(before?.indexId);
    await expectIndexes(Indexed);
    await swept();
    expect(await entriesUnder(before?.indexId ?? 0)).toBe(0);
  });
});

describe('a release that comes while an index is built', () => {
  it('and drops it ends the build, and what was filled is swept', async () => {
    await rig.seed(Plain, towns);
    const building = await rig.open({ 1: Indexed }, slowly);
    const [index] = (await current()).indexes;
    await rig.open({ 1: town('1.2', {}) });
    await building.model(Indexed).change(cityId(1), { people: 7 });
    await rig.settle(building.close());
    await rig.open({ 1: town('1.2', {}) });
    await swept();
    expect((await current()).indexes).toEqual([]);
    expect(await entriesUnder(index?.indexId ?? 0)).toBe(0);
    expect(await rig.stateOf(1)).toBeUndefined();
  });

  it('and adds another builds both', async () => {
    await rig.seed(Plain, towns);
    const building = await rig.open({ 1: Indexed }, slowly);
    const Both = town('1.2', { byPeople: ['people'], byName: ['name', 'people'] });
    await rig.settle(building.close());
    await rig.open({ 1: Both });
    await expectIndexes(Both);
    expect((await current()).indexes).toHaveLength(2);
  });

  it('and needs a migration takes the index along, behind the gate', async () => {
    await rig.seed(Plain, towns);
    const building = await rig.open({ 1: Indexed }, slowly);
    const [index] = (await current()).indexes;
    const Next = defineModel({ ...Indexed, version: '2.0' });
    await rig.settle(building.close());
    await rig.open({ 1: Next }, { migrationHandler: { Town: backfill({ unchanged: true }) } });
    await expectIndexes(Next);
    await swept();
    expect(await entriesUnder(index?.indexId ?? 0)).toBe(0);
  });
});

it('an index whose property changed its type is built under a new id, with the migration', async () => {
  await rig.seed(Indexed, towns);
  const [before] = (await current()).indexes;
  const Text = defineModel({
    name: 'Town',
    version: '2.0',
    key: ['id'],
    properties: { ...properties, people: string({ number: 2 }) },
    indexes: [{ name: 'byPeople', on: ['people'] }],
  });
  const transform = (one: Readonly<Record<string, unknown>>) => ({ ...one, people: String(one['people']) });
  const store = await rig.open({ 1: Text }, { migrationHandler: { Town: backfill({ transform }) } });
  const [after] = (await current()).indexes;
  expect(after?.indexId).not.toBe(before?.indexId);
  await expectIndexes(Text);
  expect(await store.model(Text).count({ by: 'byPeople', where: { people: '7' } })).toBe(7);
  await swept();
  expect(await entriesUnder(before?.indexId ?? 0)).toBe(0);
  expect(typesOf(rig.events)).toContain('Verify PhaseCompleted');
});
