import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Transaction } from '../../src/kv/kv.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { defineModel, int32, list, string } from '../../src/model/index.ts';
import { readGarbage } from '../../src/records/garbage.ts';
import { rangeOf } from '../../src/records/keys.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { cityId, createLatch, createMigrationRig, succeed, typesOf } from '../rig/migration.ts';
import { overriding } from '../rig/overriding.ts';
import { createSeededRandom, drawSeed } from '../rig/seed.ts';

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
    { name: 'byPeople', on: [{ property: 'people', reversed: true }, 'name'] },
    { name: 'byTag', on: ['tags'] },
  ],
});
const Renamed = defineModel({
  name: 'Town',
  version: '1.2',
  key: ['id'],
  properties,
  indexes: [{ name: 'byPeople', on: ['people'] }],
});

const townOf = (n: number) => ({
  id: cityId(n),
  name: `town ${n % 11} ${'x'.repeat(200)}`,
  people: n % 50,
  tags: [`t${n % 3}`, `t${n % 5}`],
});
const towns = (count: number) => Array.from({ length: count }, (_, n) => townOf(n));

/** After the first chunk of 100 records the next one waits, in virtual time: the test has the word. */
const slowly = {
  migrationMaxRecordsPerSecond: 1,
  migrationStartupBudgetMs: 0,
  continueMigrationsInBackground: true,
} as const;

async function expectIndexes(
  model: typeof Indexed | typeof Renamed,
  names: readonly string[],
): Promise<void> {
  const indexes = await rig.indexes(1, model);
  expect(indexes.map(({ name, state }) => `${name} ${state}`)).toEqual(names.map((name) => `${name} ready`));
  for (const { expected, actual } of indexes) expect(actual).toEqual(expected);
}

describe('an index added to a model with records', () => {
  it('is filled and verified without a handler, a rewritten record or a closed gate', async () => {
    await rig.seed(Plain, towns(40));
    const { begin, end } = rangeOf(rig.keysOf(1).records(1));
    const records = () => rig.database.transact((tx) => tx.getRangeAll(begin, end));
    const before = await records();
    const store = await rig.open({ 1: Indexed });
    expect(await records()).toEqual(before);
    await expectIndexes(Indexed, ['byPeople', 'byTag']);
    expect(await store.model(Indexed).count({ by: 'byPeople', where: { people: 7 } })).toBe(1);
    expect(typesOf(rig.events)[0]).toBe('LeaseAcquired');
    expect(typesOf(rig.events).at(-1)).toMatch(/Completed$/);
    expect(await rig.stateOf(1)).toBeUndefined();
  });

  it('is building first, with everything else served, by older programs too', async () => {
    await rig.seed(Plain, towns(250));
    const older = await rig.open({ 1: Plain });
    const store = await rig.open({ 1: Indexed }, slowly);
    expect(await store.migrationStatus(1)).toMatchObject({ state: 'Running', blocking: false });
    expect((await rig.indexes(1, Indexed)).map(({ state }) => state)).toEqual(['building', 'building']);
    expect(store.readiness().ready).toBe(true);
    await expect(store.model(Indexed).scan({ by: 'byTag' }).toArray()).rejects.toMatchObject({
      code: 'INDEX_BUILDING',
      retryable: true,
    });
    expect(await store.model(Indexed).get(cityId(3))).toEqual(townOf(3));
    await older.model(Plain).add({ id: 'new', name: 'new', people: 1, tags: ['t0'] });
    await older.model(Plain).change(cityId(3), { people: 99 });
    await older.model(Plain).delete(cityId(4));
    await rig.settle(store.awaitMigration(1));
    await expectIndexes(Indexed, ['byPeople', 'byTag']);
    const [largest] = await store.model(Indexed).scan({ by: 'byPeople', limit: 1 }).toArray();
    expect(largest).toMatchObject({ id: cityId(3), people: 99 });
  });

  it('is right although a record changes between the moment it is read and the commit of its entries', async () => {
    await rig.seed(Plain, towns(250));
    const older = await rig.open({ 1: Plain });
    const { transact } = rig.database;
    const records = rangeOf(rig.keysOf(1).records(1));
    let changes = 0;
    const meddle = async () => {
      changes += 1;
      if (changes > 12) return;
      await older.model(Plain).change(cityId(changes), { people: 1_000 + changes });
      await older.model(Plain).delete(cityId(100 + changes));
      await older.model(Plain).put({ ...townOf(changes), id: `${cityId(50)}-${changes}` });
    };
    // Whenever a chunk has read records, an older program writes some of them.
    const meddled = (tx: Transaction): Transaction =>
      overriding(tx, {
        async getRangeAll(begin, ...given) {
          const rows = await tx.getRangeAll(begin, ...given);
          if (records.begin.compare(begin) <= 0 && records.end.compare(begin) > 0) await meddle();
          return rows;
        },
      });
    vi.spyOn(rig.database, 'transact').mockImplementation((body, options) =>
      transact((tx) => body(options?.priority === 'batch' ? meddled(tx) : tx), options),
    );
    const store = await rig.open({ 1: Indexed });
    vi.restoreAllMocks();
    expect(changes).toBeGreaterThan(4);
    expect((await store.migrationMetrics(1)).conflicts).toBeGreaterThan(0);
    await expectIndexes(Indexed, ['byPeople', 'byTag']);
  });

  it('is kept right by everybody who writes while it is filled', async () => {
    const random = createSeededRandom(drawSeed('writers beside an index that is filled'));
    await rig.seed(Plain, towns(2_500));
    const older = await rig.open({ 1: Plain });
    const store = await rig.open(
      { 1: Indexed },
      { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true },
    );
    let isFilled = false;
    let writesMeanwhile = 0;
    const write = async (own: typeof random) => {
      for (let n = 0; !isFilled || n < 50; n += 1) {
        const records = own.pick([older.model(Plain), store.model(Indexed)] as const);
        const id = cityId(own.below(3_000));
        const town = { ...townOf(own.below(3_000)), id };
        const change = own.below(3);
        if (change === 0) await records.delete(id);
        else if (change === 1) await records.put(town);
        else await records.change(id, { people: own.below(50) }).catch(() => undefined);
        if (!isFilled) writesMeanwhile += 1;
        if (n % 5 === 4) await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const filled = store.awaitMigration(1).then(() => {
      isFilled = true;
    });
    const writers = [write(random.fork()), write(random.fork()), write(random.fork())];
    await rig.settle(Promise.all([filled, ...writers]));
    expect(writesMeanwhile).toBeGreaterThan(0);
    await expectIndexes(Indexed, ['byPeople', 'byTag']);
  });

  it.each(['Backfill PhaseStarted', 'Backfill PhaseCompleted'])(
    'is finished by the next process when one dies behind "%s"',
    async (death) => {
      await rig.seed(Plain, towns(40));
      await rig.openUntil({ 1: Indexed }, {}, (event) => typesOf([event])[0] === death);
      const store = await rig.open({ 1: Indexed });
      expect(await store.model(Indexed).count({ by: 'byPeople' })).toBe(40);
      await expectIndexes(Indexed, ['byPeople', 'byTag']);
    },
  );

  it('counts against the startup budget', async () => {
    await rig.seed(Plain, towns(250));
    const opening = rig.open({ 1: Indexed }, { ...slowly, continueMigrationsInBackground: false });
    await expect(opening).rejects.toMatchObject({
      code: 'MIGRATION_PENDING',
      details: { models: [{ modelName: 'Town', blocking: false }] },
    });
    await rig.open({ 1: Indexed });
    await expectIndexes(Indexed, ['byPeople', 'byTag']);
  });

  it('can be paused, with the model served, and resumed', async () => {
    await rig.seed(Plain, towns(250));
    const store = await rig.open({ 1: Indexed }, slowly);
    const halted = createLatch();
    void (async () => {
      for await (const event of store.migrationEvents()) {
        if (event.type === 'status' && event.status.state === 'Paused') return halted.open();
      }
    })();
    await store.pauseMigration(1);
    await rig.settle(halted.opened);
    expect(await store.model(Indexed).count()).toBe(250);
    expect((await rig.indexes(1, Indexed)).map(({ state }) => state)).toEqual(['building', 'building']);
    await store.resumeMigration(1);
    await rig.settle(store.awaitMigration(1));
    await expectIndexes(Indexed, ['byPeople', 'byTag']);
  });
});

describe('an index added to a model without records', () => {
  it('is ready at once', async () => {
    await rig.open({ 1: Plain });
    const store = await rig.open({ 1: Indexed });
    expect(rig.events).toEqual([]);
    await store.model(Indexed).add(townOf(1));
    await expectIndexes(Indexed, ['byPeople', 'byTag']);
    expect(await store.model(Indexed).count({ by: 'byTag', where: { tags: 't1' } })).toBe(1);
  });
});

describe('entries of an index that is dropped or replaced', () => {
  const entriesUnder = async (indexId: number) => {
    const { begin, end } = rangeOf(rig.keysOf(1).index(indexId));
    return (await rig.database.transact((tx) => tx.getRangeAll(begin, end))).length;
  };
  const swept = async (): Promise<void> => {
    const garbage = await rig.database.transact((tx) => readGarbage(tx, rig.keysOf(1)));
    if (garbage.length > 0) await new Promise((resolve) => setImmediate(resolve)).then(swept);
  };

  it('are swept when it is dropped by a safe change', async () => {
    await rig.seed(Indexed, towns(40));
    expect(await entriesUnder(2)).toBeGreaterThan(40);
    await rig.open({ 1: defineModel({ ...Indexed, version: '1.2', indexes: [] }) });
    await swept();
    expect([await entriesUnder(1), await entriesUnder(2)]).toEqual([0, 0]);
  });

  it('are swept when it is built anew under another id', async () => {
    await rig.seed(Indexed, towns(40));
    await rig.open({ 1: Renamed });
    await expectIndexes(Renamed, ['byPeople']);
    await swept();
    expect(await Promise.all([1, 2, 3].map(entriesUnder))).toEqual([0, 0, 40]);
  });

  it('are swept when a migration replaces it', async () => {
    await rig.seed(Indexed, towns(40));
    const Wider = defineModel({
      ...Indexed,
      version: '2.0',
      properties: { ...properties, people: string({ number: 3 }) },
      indexes: [{ name: 'byPeople', on: ['people'] }],
    });
    const transform = (town: Readonly<Record<string, unknown>>) => ({
      ...town,
      people: String(town['people']),
    });
    await rig.open({ 1: Wider }, { migrationHandler: { Town: backfill({ transform }) } });
    await swept();
    expect(await Promise.all([1, 2, 3].map(entriesUnder))).toEqual([0, 0, 40]);
  });

  it('are swept by the next open where the process died before', async () => {
    await rig.seed(Indexed, towns(40));
    const Bumped = defineModel({ ...Indexed, version: '2.0', indexes: [] });
    await rig.openUntil(
      { 1: Bumped },
      { migrationExpandHandler: succeed },
      ({ type }) => type === 'Completed',
    );
    expect(await entriesUnder(1)).toBe(40);
    await rig.open({ 1: Bumped });
    await swept();
    expect(await entriesUnder(1)).toBe(0);
  });
});
