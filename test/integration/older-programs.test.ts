import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { readStoredModel } from '../../src/migration/plan.ts';
import { defineModel, int32, string } from '../../src/model/index.ts';
import type { Barrier, World } from '../rig/operators.ts';
import {
  codeOf,
  createBarrier,
  createWorld,
  errorFrom,
  expectIndexesToBeRight,
  RegionV1,
  townId,
  TownV1,
  TownV2,
  TownV3,
  toV2,
  toV3,
  waitUntil,
} from '../rig/operators.ts';
import { dump } from '../rig/recompute-index.ts';

const id = string({ number: 1, required: true });
const lat = string({ number: 2, required: true });
const background = { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true } as const;
const moves = { migrationHandler: backfill({ transform: toV2 }) } as const;

/** Follows TownV1 compatibly: one more property, one more index. */
const TownV1dot1 = defineModel({
  name: 'Town',
  version: '1.1',
  key: ['id'],
  properties: { id, lat, people: int32({ number: 3 }) },
  indexes: [
    { name: 'byLat', on: ['lat'] },
    { name: 'byPeople', on: ['people'] },
  ],
});

/** A lower version than TownV1, and never published. */
const TownV0 = defineModel({
  name: 'Town',
  version: '0.9',
  key: ['id'],
  properties: { id, lat },
});

let world: World;
let barrier: Barrier;
beforeEach(() => {
  world = createWorld();
  barrier = createBarrier();
});
afterEach(async () => {
  barrier.open();
  await world.close();
});

const published = () => world.database.transact((tx) => readStoredModel(tx, world.keys));

/** Opens a store and closes it again; answers what of the database it changed. */
async function rowsChangedBy(options: Parameters<World['open']>[0]): Promise<readonly string[]> {
  const before = new Set(await dump(world.database, world.storeKeys.prefix));
  const store = await world.open(options);
  await store.close();
  return (await dump(world.database, world.storeKeys.prefix)).filter((row) => !before.has(row));
}

describe('a compatible older program', () => {
  beforeEach(async () => {
    await world.fill(5);
    const newer = await world.open({ dataModelsById: { 1: TownV1dot1 } });
    await newer.model(TownV1dot1).add({ id: 'big', lat: '9', people: 900 });
    await newer.close();
  });

  it('opens, and publishes, migrates and drops nothing', async () => {
    expect(await rowsChangedBy({ dataModelsById: { 1: TownV1 }, ...moves })).toEqual([]);
    expect((await published())?.current.version).toBe('1.1');
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    expect(await old.pendingMigrations()).toEqual(new Map());
    expect(await old.migrationStatus(1)).toMatchObject({ state: 'Idle', blocking: false });
    expect(old.readiness().ready).toBe(true);
    await old.awaitMigration(1);
  });

  it('serves, and keeps the indexes and the properties that it does not know', async () => {
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    await old.model(TownV1).change('big', { lat: '10' });
    await old.model(TownV1).put({ id: 'big', lat: '11' });
    await old.model(TownV1).add({ id: 'small', lat: '12' });
    await old.model(TownV1).delete(townId(0));
    await expectIndexesToBeRight(world);
    const newer = await world.open({ dataModelsById: { 1: TownV1dot1 } });
    expect(await newer.model(TownV1dot1).get('big')).toEqual({ id: 'big', lat: '11', people: 900 });
    expect(
      await newer
        .model(TownV1dot1)
        .scan({ by: 'byPeople', where: { people: 900 } })
        .toArray(),
    ).toEqual([{ id: 'big', lat: '11', people: 900 }]);
  });

  it('becomes incompatible while it runs, when the next version is published', async () => {
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    expect(await old.model(TownV1).count()).toBe(6);
    await (await world.open({ dataModelsById: { 1: TownV2 }, ...moves })).close();
    const error = await errorFrom(old.model(TownV1).put({ id: 'late', lat: '1' }));
    expect(error).toMatchObject({
      code: 'MODEL_SCHEMA_CHANGED',
      details: { storedVersion: '2.0', configuredVersion: '1.0' },
    });
    await waitUntil('it notices', () => old.readiness().models['Town']?.reason === 'MODEL_SCHEMA_CHANGED');
  });
});

describe('an incompatible older program', () => {
  it.each([
    ['of an earlier published version', TownV1],
    ['of a lower version that was never published', TownV0],
  ] as const)('%s opens, writes nothing and is refused', async (_, model) => {
    await world.fill(5);
    await (await world.open({ dataModelsById: { 1: TownV2 }, ...moves })).close();
    const options = {
      dataModelsById: { 1: model },
      migrationHandler: backfill({ transform: (town) => town }),
    };
    expect(await rowsChangedBy(options)).toEqual([]);
    const old = await world.open(options);
    expect(await codeOf(old.model(model).count())).toBe('MODEL_SCHEMA_CHANGED');
    expect(await codeOf(old.model(model).put({ id: 'x', lat: '1' }))).toBe('MODEL_SCHEMA_CHANGED');
    expect(old.readiness()).toEqual({
      ready: false,
      models: { Town: { ready: false, reason: 'MODEL_SCHEMA_CHANGED' } },
    });
    expect(await codeOf(old.awaitMigration(1))).toBe('MODEL_SCHEMA_CHANGED');
    expect(await old.pendingMigrations()).toEqual(new Map());
    expect(await codeOf(old.pauseMigration(1))).toBe('MIGRATION_NOT_PENDING');
    const newer = await world.open({ dataModelsById: { 1: TownV2 } });
    expect(await newer.model(TownV2).count()).toBe(5);
  });

  it('refuses one model and serves the others', async () => {
    await world.fill(1);
    const v2 = await world.open({
      dataModelsById: { 1: TownV2, 2: RegionV1 },
      migrationHandler: { Town: backfill({ transform: toV2 }) },
    });
    await v2.close();
    const old = await world.open({ dataModelsById: { 1: TownV1, 2: RegionV1 } });
    await old.model(RegionV1).add({ id: 'r', size: '1' });
    expect(await codeOf(old.model(TownV1).count())).toBe('MODEL_SCHEMA_CHANGED');
  });

  it('goes back on purpose by a higher version', async () => {
    await world.fill(5);
    await (await world.open({ dataModelsById: { 1: TownV2 }, ...moves })).close();
    const back = defineModel({ name: 'Town', version: '3.0', key: ['id'], properties: { id, lat } });
    const store = await world.open({
      dataModelsById: { 1: back },
      migrationHandler: backfill({
        transform: (town) => ({ id: town['id'], lat: String(town['latitude']) }),
      }),
    });
    expect(await store.model(back).get(townId(0))).toEqual({ id: townId(0), lat: '-90' });
  });
});

describe('a program that was rolled back in the middle of a migration', () => {
  /** 2.0 half-way, its process gone. */
  async function leaveHalfWay() {
    await world.fill(350);
    barrier.shut();
    let reached = 0;
    world.beforeChunk = () => (reached++ === 0 ? undefined : barrier.pass());
    const store = await world.open({ dataModelsById: { 1: TownV2 }, ...moves, ...background });
    await waitUntil('it is half-way', () => barrier.waiting > 0);
    await store.close({ timeoutMs: 1 });
    world.beforeChunk = () => undefined;
  }

  it('opens, is refused with a code, and changes nothing', async () => {
    await leaveHalfWay();
    expect(await rowsChangedBy({ dataModelsById: { 1: TownV1 }, ...moves })).toEqual([]);
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    for (const request of [
      old.model(TownV1).get(townId(0)),
      old.model(TownV1).get(townId(349)),
      old.model(TownV1).put({ id: townId(0), lat: '1' }),
      old.model(TownV1).scan().toArray(),
    ]) {
      expect(await codeOf(request)).toBe('MODEL_MIGRATING');
    }
    expect(await old.migrationStatus(1)).toMatchObject({ phase: 'Backfill', blocking: true });
    expect(old.readiness().models['Town']).toEqual({ ready: false, reason: 'MODEL_MIGRATING' });
  });

  it('is refused for good once the newer program has finished', async () => {
    await leaveHalfWay();
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    const waiting = codeOf(old.awaitMigration(1));
    await world.open({ dataModelsById: { 1: TownV2 }, ...moves });
    expect(await waiting).toBe('MODEL_SCHEMA_CHANGED');
  });

  it('a program of a newer version leads out, from the rolled-back one by reset', async () => {
    await leaveHalfWay();
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    await old.resetMigration(1);
    const store = await world.open({
      dataModelsById: { 1: TownV3 },
      migrationHandler: backfill({ transform: toV3, accepts: ['1.0', '2.0'] }),
    });
    expect(await store.model(TownV3).count()).toBe(350);
    await expectIndexesToBeRight(world);
  });
});

it('until a newer program holds the lease, an older one goes on serving', async () => {
  await world.fill(3);
  const old = await world.open({ dataModelsById: { 1: TownV1 } });
  barrier.shut();
  const newer = await world.open({
    dataModelsById: { 1: TownV2 },
    ...moves,
    ...background,
    migrationLease: {
      acquire: async () => {
        await barrier.pass();
        return { refused: true, holder: undefined, worthRetrying: () => barrier.pass() };
      },
      explain: () => Promise.resolve(undefined),
    },
  });
  expect(await codeOf(newer.model(TownV2).count())).toBe('MODEL_MIGRATING');
  expect(newer.readiness().ready).toBe(false);
  await old.model(TownV1).add({ id: 'new', lat: '1' });
  expect(old.readiness().ready).toBe(true);
  const closed = newer.close();
  barrier.open();
  await closed;
});

it('a stored model that a program does not configure is left alone', async () => {
  await world.fill(5);
  const both = await world.open({ dataModelsById: { 1: TownV1, 2: RegionV1 } });
  await both.model(RegionV1).add({ id: 'r', size: '1' });
  await both.close();
  expect(await rowsChangedBy({ dataModelsById: { 2: RegionV1 } })).toEqual([]);
  const one = await world.open({ dataModelsById: { 2: RegionV1 } });
  expect((await one.migrationStatuses()).map(({ modelId }) => modelId)).toEqual([2]);
  expect(await codeOf(one.migrationStatus(1))).toBe('MODEL_UNKNOWN');
  await one.close();
  const again = await world.open({ dataModelsById: { 1: TownV1, 2: RegionV1 } });
  expect(await again.model(TownV1).count()).toBe(5);
});
