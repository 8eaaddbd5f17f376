import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import {
  bytes,
  date,
  decimal,
  defineEmbedded,
  defineModel,
  embedded,
  int32,
  int64,
  list,
  map,
  set,
  string,
  timestamp,
  union,
} from '../../src/model/index.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { cityId, createMigrationRig, typesOf } from '../rig/migration.ts';
import { createSeededRandom, drawSeed } from '../rig/seed.ts';

/** Two releases of one program on one database, as in a rolling update. */

let rig: MigrationRig;
beforeEach(() => {
  rig = createMigrationRig();
});
afterEach(() => rig.close());

const id = string({ number: 1, required: true });
const tags = list({ number: 3, of: string() });
const Older = defineModel({
  name: 'Town',
  version: '1.0',
  key: ['id'],
  properties: { id, name: string({ number: 2, required: true, maxSize: 10 }), tags },
  indexes: [{ name: 'byName', on: ['name'] }],
});
/** A property is added, a limit relaxed, and an index over an old and a new property added. */
const Newer = defineModel({
  name: 'Town',
  version: '1.1',
  key: ['id'],
  properties: {
    id,
    name: string({ number: 2, required: true, maxSize: 100 }),
    tags,
    people: int32({ number: 4 }),
  },
  indexes: [
    { name: 'byName', on: ['name'] },
    { name: 'byPeople', on: ['people', 'name'] },
  ],
});
const townOf = (n: number) => ({ id: cityId(n), name: `town ${n % 100}`, tags: [`t${n % 3}`] });

async function expectIndexes(): Promise<void> {
  const indexes = await rig.indexes(1, Newer);
  expect(indexes.map(({ name }) => name).toSorted()).toEqual(['byName', 'byPeople']);
  for (const { name, state, expected, actual } of indexes) {
    expect({ name, state, entries: actual }).toEqual({ name, state: 'ready', entries: expected });
  }
}

describe('a safe addition, an added index and a relaxed limit', () => {
  it('come while an older program writes: nobody is refused, and nothing is lost', async () => {
    const random = createSeededRandom(drawSeed('writers of two releases'));
    const records = 1_500;
    await rig.seed(
      Older,
      Array.from({ length: records }, (_, n) => townOf(n)),
    );
    const older = await rig.open({ 1: Older });
    /** What must be there in the end: each record is written by one writer only, so that its last word is known. */
    const last = new Map<string, { name: string; people?: number }>();
    let isReady = false;
    let refused: unknown;
    const write = async (writer: number, put: (n: number, word: string) => Promise<unknown>) => {
      const own = random.fork();
      for (let n = 0; !isReady || n < 60; n += 1) {
        const at = own.below(records / 4) * 4 + writer;
        try {
          await put(at, `w${writer} ${n}`);
        } catch (error) {
          refused ??= error;
        }
        if (n % 5 === 4) await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const remember = (n: number, word: object) => {
      last.set(cityId(n), { ...last.get(cityId(n)), name: '', ...word });
    };
    const olderWriters = [
      write(0, async (n, name) => {
        await older.model(Older).put({ ...townOf(n), name });
        remember(n, { name });
      }),
      write(1, async (n, name) => {
        await older.model(Older).change(cityId(n), { name });
        remember(n, { name });
      }),
    ];
    const newer = await rig.open(
      { 1: Newer },
      { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true },
    );
    const newerWriters = [
      write(2, async (n, word) => {
        const name = `${word}, which is longer than ten`;
        await newer.model(Newer).put({ ...townOf(n), name, people: n });
        remember(n, { name, people: n });
      }),
      // The same records by both in turn: the older one changes what it knows, and leaves the rest.
      write(3, async (n, name) => {
        await newer.model(Newer).change(cityId(n), { people: n });
        await older.model(Older).put({ ...townOf(n), name });
        remember(n, { name, people: n });
      }),
    ];
    const ready = newer.awaitMigration(1).then(() => {
      isReady = true;
    });
    await rig.settle(Promise.all([ready, ...olderWriters, ...newerWriters]));
    expect(refused).toBeUndefined();
    expect(older.readiness().ready && newer.readiness().ready).toBe(true);
    const found = new Map((await newer.model(Newer).scan().toArray()).map((town) => [town.id, town]));
    expect(found.size).toBe(records);
    for (const [town, word] of last) expect(found.get(town)).toMatchObject(word);
    await expectIndexes();
    expect(await newer.model(Newer).count({ by: 'byPeople' })).toBe(records);
  });

  it('leave the older program its own limits for what it writes, and none for what it reads', async () => {
    const older = await rig.open({ 1: Older });
    const newer = await rig.open({ 1: Newer });
    const name = 'a name that is too long for the older one';
    await newer.model(Newer).add({ id: 'a', name, people: 7 });
    expect(await older.model(Older).get('a')).toEqual({ id: 'a', name });
    await older.model(Older).change('a', { tags: ['x'] });
    await expect(older.model(Older).put({ id: 'b', name })).rejects.toMatchObject({ code: 'RECORD_INVALID' });
    await expect(older.model(Older).change('a', { name })).rejects.toMatchObject({ code: 'RECORD_INVALID' });
    expect(await newer.model(Newer).get('a')).toEqual({ id: 'a', name, tags: ['x'], people: 7 });
    await expectIndexes();
  });

  it('are served to the older program after the newer one is gone, and found again when it is back', async () => {
    await rig.seed(Older, [townOf(1)]);
    const newer = await rig.open({ 1: Newer });
    await newer.model(Newer).change(cityId(1), { people: 5 });
    await rig.settle(newer.close());
    const older = await rig.open({ 1: Older });
    await older.model(Older).put({ ...townOf(1), name: 'again' });
    await older.model(Older).add(townOf(2));
    await rig.settle(older.close());
    rig.events.length = 0;
    const back = await rig.open({ 1: Newer });
    expect(typesOf(rig.events)).toEqual([]);
    expect(
      await back
        .model(Newer)
        .scan({ by: 'byPeople', where: { people: 5 } })
        .toArray(),
    ).toEqual([{ ...townOf(1), name: 'again', people: 5 }]);
    await expectIndexes();
  });
});

describe('what an older program does not know', () => {
  const street = string({ number: 1, required: true });
  const oldPlace = defineEmbedded({ name: 'Place', properties: { street } });
  const newPlace = defineEmbedded({
    name: 'Place',
    properties: { street, zip: string({ number: 2 }) },
  });
  const houseOf = (version: string, model: typeof newPlace) =>
    defineModel({
      name: 'House',
      version,
      key: ['id'],
      properties: {
        id,
        at: embedded({ number: 2, model }),
        many: list({ number: 3, of: embedded({ model }) }),
        named: map({ number: 4, key: string(), of: embedded({ model }) }),
        either: union({ number: 5, cases: { place: { number: 1, of: embedded({ model }) } } }),
      },
    });
  const OldHouse = houseOf('1.0', oldPlace as unknown as typeof newPlace);
  const NewHouse = houseOf('1.1', newPlace);
  const there = { street: 'Elm', zip: '0150' };
  const house = {
    id: 'h',
    at: there,
    many: [there, { street: 'Oak', zip: '0151' }],
    named: new Map([['a', there]]),
    either: { case: 'place', value: there } as const,
  };

  async function bothOnOneHouse() {
    const older = await rig.open({ 1: OldHouse });
    const newer = await rig.open({ 1: NewHouse });
    await newer.model(NewHouse).put(house as never);
    return {
      houses: older.model(OldHouse),
      now: async () => newer.model(NewHouse).get('h'),
    };
  }

  it('survives its change of another property, wherever it lies', async () => {
    const { houses, now } = await bothOnOneHouse();
    await houses.change('h', { at: { street: 'Elm' } });
    expect(await now()).toEqual(house);
    await houses.change('h', { many: (await houses.get('h'))?.many } as never);
    expect(await now()).toEqual(house);
  });

  it('survives in an embedded value that it puts as an object of its own', async () => {
    const { houses, now } = await bothOnOneHouse();
    const read = await houses.get('h');
    await houses.put({ ...read, id: 'h', at: { street: 'Ash' } } as never);
    expect((await now())?.at).toEqual({ street: 'Ash', zip: '0150' });
  });

  it('survives in lists, maps and unions that it puts as it read them', async () => {
    const { houses, now } = await bothOnOneHouse();
    const read = await houses.get('h');
    expect(read?.many).toEqual([{ street: 'Elm' }, { street: 'Oak' }]);
    await houses.put(read as never);
    expect(await now()).toEqual(house);
    await houses.put({ ...read, many: read?.many?.toReversed() } as never);
    expect((await now())?.many).toEqual(house.many.toReversed());
  });

  it('is lost in an element, a map value or a case that it puts as an object of its own: nothing says whose it was', async () => {
    const { houses, now } = await bothOnOneHouse();
    await houses.put({
      id: 'h',
      at: { street: 'Elm' },
      many: [{ street: 'Elm' }],
      named: new Map([['a', { street: 'Elm' }]]),
      either: { case: 'place', value: { street: 'Elm' } },
    } as never);
    const bare = { street: 'Elm' };
    expect(await now()).toEqual({
      id: 'h',
      at: there,
      many: [bare],
      named: new Map([['a', bare]]),
      either: { case: 'place', value: bare },
    });
  });
});

describe('a set, a list or a map', () => {
  const known = {
    labels: set({ number: 2, of: string() }),
    visits: list({ number: 3, of: timestamp() }),
    prices: map({ number: 4, key: string(), of: int64() }),
  };
  const byLabel = { name: 'byLabel', on: ['labels'] } as const;
  const Plain = defineModel({
    name: 'Shop',
    version: '1.0',
    key: ['id'],
    properties: { id, ...known },
    indexes: [byLabel],
  });
  /** As many again, of types that are stored in various ways, and an index over one of them. */
  const Rich = defineModel({
    name: 'Shop',
    version: '1.1',
    key: ['id'],
    properties: {
      id,
      ...known,
      codes: set({ number: 5, of: int64() }),
      seals: set({ number: 6, of: bytes() }),
      holidays: list({ number: 7, of: date() }),
      stock: map({ number: 8, key: int32(), of: decimal({ precision: 9, scale: 2 }) }),
      rooms: map({ number: 9, key: string(), of: list({ of: set({ of: string() }) }) }),
    },
    indexes: [byLabel, { name: 'byCode', on: ['codes'] }],
  });
  const unknown = {
    codes: new Set([-(2n ** 63n), 7n, 2n ** 40n]),
    seals: new Set([Uint8Array.of(), Uint8Array.of(0, 255)]),
    holidays: ['2024-02-29', '2025-12-25'],
    stock: new Map([
      [-1, '0.50'],
      [3, '1234567.89'],
    ]),
    rooms: new Map([['up', [new Set(['a', 'b']), new Set<string>()]]]),
  };
  const shop = {
    id: 's',
    labels: new Set(['old', 'town']),
    visits: [new Date(0), new Date(1_700_000_000_000)],
    prices: new Map([['tea', 3n]]),
    ...unknown,
  };

  async function bothOnOneShop() {
    const older = await rig.open({ 1: Plain });
    const newer = await rig.open({ 1: Rich });
    await newer.model(Rich).put(shop as never);
    const now = async () => {
      const indexes = await rig.indexes(1, Rich);
      expect(indexes.map(({ name }) => name).toSorted()).toEqual(['byCode', 'byLabel']);
      for (const { expected, actual } of indexes) expect(actual).toEqual(expected);
      return newer.model(Rich).get('s');
    };
    return { shops: older.model(Plain), now };
  }

  it('that an older program does not know survives its change and its put', async () => {
    const { shops, now } = await bothOnOneShop();
    await shops.change('s', { prices: new Map([['tea', 4n]]) });
    expect(await now()).toEqual({ ...shop, prices: new Map([['tea', 4n]]) });
    await shops.put((await shops.get('s')) as never);
    expect(await now()).toEqual({ ...shop, prices: new Map([['tea', 4n]]) });
    // An object of its own, which leaves out what it knows as well.
    await shops.put({ id: 's' });
    expect(await now()).toEqual({ ...shop, labels: undefined, visits: undefined, prices: undefined });
  });

  it('that it knows is read and written as what it is', async () => {
    const { shops, now } = await bothOnOneShop();
    const read = await shops.get('s');
    expect(read).toEqual({ id: 's', labels: shop.labels, visits: shop.visits, prices: shop.prices });
    const changed = {
      labels: new Set([...(read?.labels ?? []), 'new']),
      visits: [...(read?.visits ?? []), new Date(1)],
      prices: new Map([...(read?.prices ?? []), ['jam', 9n]]),
    };
    await shops.change('s', changed);
    expect(await now()).toEqual({ ...shop, ...changed });
    await shops.put({ id: 's', ...changed, labels: new Set(['alone']) });
    expect(await now()).toEqual({ ...shop, ...changed, labels: new Set(['alone']) });
    expect(await shops.count({ by: 'byLabel', where: { labels: 'alone' } })).toBe(1);
    await expect(shops.change('s', { labels: ['alone'] as never })).rejects.toMatchObject({
      code: 'RECORD_INVALID',
    });
  });
});

describe('an incompatible publication', () => {
  const Incompatible = defineModel({
    name: 'Town',
    version: '2.0',
    key: ['id'],
    properties: { id, name: int32({ number: 2, required: true }), tags },
  });
  const moves = {
    migrationHandler: { Town: backfill({ transform: (town) => ({ ...town, name: 1 }) }) },
  } as const;

  it.each([
    ['the program that it replaced', Older],
    ['one that was a compatible step behind', Newer],
  ])('is told to %s as MODEL_SCHEMA_CHANGED, by every request', async (_who, model) => {
    await rig.seed(Older, [townOf(1)]);
    const before = await rig.open({ 1: model });
    await rig.open({ 1: Incompatible }, moves);
    const towns = before.model(model as typeof Older);
    const requests = [
      () => towns.get(cityId(1)),
      () => towns.put(townOf(1)),
      () => towns.add(townOf(9)),
      () => towns.change(cityId(1), { name: 'x' }),
      () => towns.delete(cityId(1)),
      () => towns.scan().toArray(),
      () => towns.count(),
    ];
    for (const request of requests) {
      await expect(request()).rejects.toMatchObject({ code: 'MODEL_SCHEMA_CHANGED', retryable: false });
    }
  });
});

describe('a program that was rolled back', () => {
  const Changed = defineModel({
    name: 'Town',
    version: '2.0',
    key: ['id'],
    properties: {
      id,
      name: string({ number: 2, required: true, maxSize: 100 }),
      tags,
      size: int32({ number: 5, required: true }),
    },
  });
  const moves = {
    migrationHandler: { Town: backfill({ transform: (town) => ({ ...town, size: 1 }) }) },
  } as const;
  const slowly = {
    migrationMaxRecordsPerSecond: 1,
    migrationStartupBudgetMs: 0,
    continueMigrationsInBackground: true,
  } as const;

  it('in the middle of a migration serves nothing half-moved, changes nothing, and is told the ways out', async () => {
    await rig.seed(
      Older,
      Array.from({ length: 350 }, (_, n) => townOf(n)),
    );
    const newer = await rig.open({ 1: Changed }, { ...moves, ...slowly, maxBackfillConcurrency: 1 });
    expect((await newer.migrationMetrics(1)).recordsMoved).toBeGreaterThan(0);
    await rig.settle(newer.close());
    const before = await rig.dump();
    const older = await rig.open({ 1: Older });
    const error = await older
      .model(Older)
      .get(cityId(1))
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'MODEL_MIGRATING', retryable: true, details: { modelName: 'Town' } });
    expect((await rig.dump()).filter((row) => !before.includes(row))).toEqual([]);
    expect(await older.migrationStatus(1)).toMatchObject({ blocking: true, phase: 'Backfill' });
    // The one way: the newer program goes on. (The other is resetMigration, and a program that accepts both.)
    await rig.open({ 1: Changed }, moves);
    await expect(older.model(Older).get(cityId(1))).rejects.toMatchObject({ code: 'MODEL_SCHEMA_CHANGED' });
  });

  it('before a record was moved serves again after a reset', async () => {
    await rig.seed(
      Older,
      Array.from({ length: 20 }, (_, n) => townOf(n)),
    );
    await rig.openUntil({ 1: Changed }, moves, (event) => typesOf([event])[0] === 'Backfill PhaseStarted');
    const older = await rig.open({ 1: Older });
    await expect(older.model(Older).get(cityId(1))).rejects.toMatchObject({ code: 'MODEL_MIGRATING' });
    await older.resetMigration(1);
    expect(await older.model(Older).get(cityId(1))).toEqual(townOf(1));
    await older.model(Older).add(townOf(30));
  });
});
