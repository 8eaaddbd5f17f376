import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { defineModel, float64, string } from '../../src/model/index.ts';
import type { Barrier, World } from '../rig/operators.ts';
import {
  codeOf,
  createBarrier,
  createWorld,
  errorFrom,
  expectIndexesToBeRight,
  latitudeOf,
  townId,
  townsOf,
  TownV1,
  TownV2,
  TownV3,
  toV2,
  toV3,
  waitForStatus,
  waitUntil,
} from '../rig/operators.ts';
import { dump } from '../rig/recompute-index.ts';

const towns = 350;
const background = { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true } as const;
const toStoreV2 = { dataModelsById: { 1: TownV2 }, migrationHandler: backfill({ transform: toV2 }) };
const toStoreV3 = {
  dataModelsById: { 1: TownV3 },
  migrationHandler: backfill({ transform: toV3, accepts: ['1.0', '2.0'] }),
};

/** The same version as TownV2, and another definition. */
const otherTownV2 = defineModel({
  name: 'Town',
  version: '2.0',
  key: ['id'],
  properties: {
    id: string({ number: 1, required: true }),
    northing: float64({ number: 4, required: true }),
  },
  reservedNumbers: [2],
  reservedNames: ['lat', 'latitude'],
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

/**
 * A migration whose process dies before the commit of its chunk number `chunks`, counted from 0: the store is closed
 * without waiting for it, and the chunk comes too late. Answers how many records were moved.
 */
async function dieBeforeChunk(
  chunks: number,
  options: Parameters<World['open']>[0] = toStoreV2,
): Promise<number> {
  await world.fill(towns);
  barrier.shut();
  let reached = 0;
  world.beforeChunk = () => (reached++ < chunks ? undefined : barrier.pass());
  const store = await world.open({ ...options, ...background, maxBackfillConcurrency: 1 });
  await waitUntil('it is half-way', () => barrier.waiting > 0);
  await store.close({ timeoutMs: 1 });
  world.beforeChunk = () => undefined;
  return (await world.totals()).recordsRead;
}

async function expectTownsOfV3() {
  const store = await world.open({ dataModelsById: { 1: TownV3 } });
  const found = await townsOf(store.model(TownV3).scan());
  const expected = Array.from({ length: towns }, (_, n) => ({
    id: townId(n),
    latitude: latitudeOf(n),
    hemisphere: latitudeOf(n) < 0 ? 'south' : 'north',
  }));
  expect(found).toEqual(expected);
  await expectIndexesToBeRight(world);
}

describe('of a migration that has written no record', () => {
  it('gives the model back to the stored definition, and the chunk in flight does not land', async () => {
    expect(await dieBeforeChunk(0)).toBe(0);
    const old = await world.open({ dataModelsById: { 1: TownV1 }, persistMigrationAuditEvents: true });
    expect(await codeOf(old.model(TownV1).count())).toBe('MODEL_MIGRATING');

    const status = await old.resetMigration(1, 'wrong release', { by: 'kim' });
    expect(status).toMatchObject({ state: 'Idle', migrationId: null, phase: null, blocking: false });
    barrier.open();
    await old.whenReady();
    expect(await old.model(TownV1).count()).toBe(towns);
    await old.model(TownV1).add({ id: 'new', lat: '5' });
    await expectIndexesToBeRight(world);
    expect(await old.migrationMetrics(1)).toMatchObject({ canceled: 1, recordsMoved: 0 });
    expect(await old.migrationAuditEvents(1)).toEqual([
      expect.objectContaining({ type: 'Canceled', message: 'Reset: wrong release (by kim)', epoch: 0 }),
    ]);
    expect(await codeOf(old.resetMigration(1))).toBe('MIGRATION_NOT_PENDING');
  });

  it('lets another definition follow as if nothing had been', async () => {
    await dieBeforeChunk(0);
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    await old.resetMigration(1);
    const store = await world.open({
      dataModelsById: { 1: TownV3 },
      migrationHandler: backfill({ transform: toV3 }),
    });
    expect(await store.model(TownV3).count()).toBe(towns);
    await expectTownsOfV3();
  });
});

describe('of a migration that has written no record, but called an Expand handler', () => {
  it('keeps the gate closed, also when the next migration is canceled before its first record', async () => {
    await dieBeforeChunk(0, {
      ...toStoreV2,
      migrationExpandHandler: () => Promise.resolve(MigrationOutcome.Success),
    });
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    await old.resetMigration(1);
    world.beforeChunk = () => barrier.pass();
    const store = await world.open({ ...toStoreV2, ...background, maxBackfillConcurrency: 1 });
    await waitUntil('the next one has a chunk in flight', () => barrier.waiting > 1);
    await store.cancelMigration(1);
    barrier.open();
    await waitForStatus(store, 'Canceled');
    expect((await world.totals()).moved).toBe(0);
    expect(await codeOf(old.model(TownV1).count())).toBe('MODEL_MIGRATING');
  });
});

describe('of a migration that has written records', () => {
  it('a process that has waited since before it is refused mixed records that it does not accept', async () => {
    const moved = await dieBeforeChunk(1);
    const onlyFromV1 = { ...toStoreV3, migrationHandler: backfill({ transform: toV3 }) };
    const waiting = await world.open({ ...onlyFromV1, continueMigrationsInBackground: true });
    expect((await waiting.migrationStatus(1)).lastError?.code).toBe('MIGRATION_TARGET_CHANGED');
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    await old.resetMigration(1);
    const found = async () => {
      const { state, lastError } = await waiting.migrationStatus(1);
      return state === 'Failed' ? lastError?.code : state;
    };
    await waitUntil('it has looked again', async () =>
      ['Idle', 'MIGRATION_MIXED_RECORDS', 'TRANSFORM_REJECTED'].includes((await found()) ?? ''),
    );
    expect(await found()).toBe('MIGRATION_MIXED_RECORDS');
    expect(await old.migrationMetrics(1)).toMatchObject({ recordsMoved: moved });
  });

  it('keeps the gate closed for the old program, which is told so', async () => {
    expect(await dieBeforeChunk(1)).toBeGreaterThan(0);
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    const status = await old.resetMigration(1);
    expect(status).toMatchObject({ state: 'Waiting', reason: { code: 'mixedRecords' }, blocking: true });
    expect(await codeOf(old.model(TownV1).count())).toBe('MODEL_MIGRATING');
    expect(await codeOf(old.resetMigration(1))).toBe('MIGRATION_NOT_PENDING');
    expect(await codeOf(old.awaitMigration(1, { timeoutMs: 1 }))).toBe('TIMEOUT');
    expect(old.readiness()).toMatchObject({ ready: false });
  });

  it('another definition has to accept the mixed records, before anything is written', async () => {
    await dieBeforeChunk(1);
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    await old.resetMigration(1);
    const { prefix } = world.storeKeys;
    const before = await dump(world.database, prefix);
    const error = await errorFrom(
      world.open({ dataModelsById: { 1: TownV3 }, migrationHandler: backfill({ transform: toV3 }) }),
    );
    expect(error).toMatchObject({
      code: 'MIGRATION_MIXED_RECORDS',
      details: { refused: ['2.0'], accepted: ['1.0'] },
    });
    expect(await dump(world.database, prefix)).toEqual(before);
  });

  it('a transform that accepts them tells them apart by context.from', async () => {
    const moved = await dieBeforeChunk(2);
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    await old.resetMigration(1);
    const seen: Record<string, number> = {};
    const store = await world.open({
      dataModelsById: { 1: TownV3 },
      migrationHandler: backfill({
        accepts: ['1.0', '2.0'],
        transform(town, context) {
          seen[context.from.version] = (seen[context.from.version] ?? 0) + 1;
          return toV3(town, context);
        },
      }),
    });
    expect(seen).toEqual({ '1.0': towns - moved, '2.0': moved });
    expect(await store.model(TownV3).scan({ by: 'byHemisphere' }).toArray()).toHaveLength(towns);
    await expectTownsOfV3();
  });

  it('records that are of the target already are not transformed again', async () => {
    const moved = await dieBeforeChunk(2);
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    await old.resetMigration(1);
    let transformed = 0;
    const store = await world.open({
      dataModelsById: { 1: TownV2 },
      migrationHandler: backfill({
        transform(town, { from }) {
          expect(from.version).toBe('1.0');
          transformed += 1;
          return toV2(town);
        },
      }),
    });
    expect(transformed).toBe(towns - moved);
    expect(await store.model(TownV2).count()).toBe(towns);
    expect(await store.model(TownV2).get(townId(3))).toEqual({ id: townId(3), latitude: latitudeOf(3) });
    await expectIndexesToBeRight(world);
  });

  it('a process in the middle of it loses its chunk, and begins anew by itself', async () => {
    await world.fill(towns);
    barrier.shut();
    let reached = 0;
    world.beforeChunk = () => (reached++ === 1 ? barrier.pass() : undefined);
    const store = await world.open({ ...toStoreV2, ...background, maxBackfillConcurrency: 1 });
    await waitUntil('the second chunk is ready', () => barrier.waiting > 0);
    const { epoch } = (await store.migrationStatus(1)).owner ?? { epoch: 0 };
    await store.resetMigration(1);
    barrier.open();
    await store.awaitMigration(1);
    const acquired = world.audit.filter(({ type }) => type === 'LeaseAcquired');
    expect(acquired.at(-1)?.epoch).toBeGreaterThan(epoch + 1);
    expect(await store.model(TownV2).count()).toBe(towns);
    await expectIndexesToBeRight(world);
  });

  it('a canceled migration that is reset begins anew in a program that still needs it', async () => {
    await world.fill(towns);
    barrier.shut();
    let reached = 0;
    world.beforeChunk = () => (reached++ === 1 ? barrier.pass() : undefined);
    const store = await world.open({ ...toStoreV2, ...background, maxBackfillConcurrency: 1 });
    await waitUntil('the second chunk is ready', () => barrier.waiting > 0);
    await store.cancelMigration(1);
    barrier.open();
    await waitForStatus(store, 'Canceled');
    await store.resetMigration(1);
    await store.awaitMigration(1);
    expect(await store.model(TownV2).count()).toBe(towns);
    await expectIndexesToBeRight(world);
    expect((await store.migrationMetrics(1)).started).toBe(2);
  });
});

describe('when a newer program failed before it changed anything', () => {
  it('an older one does not begin its own migration behind it: the two would take turns for ever', async () => {
    await world.fill(towns);
    const failing = backfill({
      transform: () => {
        throw new Error('never');
      },
    });
    const newer = await world.open({
      dataModelsById: { 1: TownV3 },
      migrationHandler: failing,
      ...background,
    });
    await waitForStatus(newer, 'Failed');
    const store = await world.open({ ...toStoreV2, ...background });
    await waitForStatus(store, 'Failed');
    const { lastError } = await store.migrationStatus(1);
    expect(lastError).toMatchObject({ code: 'MIGRATION_TARGET_CHANGED' });
    expect(lastError?.message).toContain('resetMigration');
    expect(world.audit.filter(({ type }) => type === 'LeaseAcquired')).toHaveLength(1);
    await newer.close();

    await store.resetMigration(1);
    await store.awaitMigration(1);
    expect(await store.model(TownV2).count()).toBe(towns);
  });
});

describe('when the target changed half-way', () => {
  it('open says so, and writes nothing', async () => {
    await dieBeforeChunk(1);
    const { prefix } = world.storeKeys;
    const before = await dump(world.database, prefix);
    const error = await errorFrom(world.open(toStoreV3));
    expect(error.code).toBe('MIGRATION_TARGET_CHANGED');
    expect(error.message).toContain('resetMigration');
    expect(await dump(world.database, prefix)).toEqual(before);
  });

  it('the program that began it may finish', async () => {
    await dieBeforeChunk(1);
    expect(await codeOf(world.open(toStoreV3))).toBe('MIGRATION_TARGET_CHANGED');
    const store = await world.open(toStoreV2);
    expect(await store.model(TownV2).count()).toBe(towns);
    const next = await world.open(toStoreV3);
    expect(await next.model(TownV3).count()).toBe(towns);
    await expectTownsOfV3();
  });

  it('a reset from the newer program leads out, and old progress does not count', async () => {
    await dieBeforeChunk(1);
    const store = await world.open({ ...toStoreV3, ...background });
    await waitForStatus(store, 'Failed');
    expect(await store.migrationStatus(1)).toMatchObject({
      reason: { code: 'targetChanged' },
      lastError: { code: 'MIGRATION_TARGET_CHANGED' },
      blocking: true,
    });
    expect(await codeOf(store.awaitMigration(1))).toBe('MIGRATION_FAILED');
    expect([...(await store.pendingMigrations()).keys()]).toEqual([1]);

    await store.resetMigration(1);
    await store.awaitMigration(1);
    expect((await store.migrationMetrics(1)).completed).toBe(1);
    await expectTownsOfV3();
  });

  it('so it does when only the definition changed, and not its version', async () => {
    await dieBeforeChunk(1);
    const options = {
      dataModelsById: { 1: otherTownV2 },
      migrationHandler: backfill({
        accepts: ['1.0', '2.0'],
        transform: ({ id, lat, latitude }) => ({ id, northing: Number(lat ?? latitude) }),
      }),
    };
    expect(await codeOf(world.open(options))).toBe('MIGRATION_TARGET_CHANGED');
    const store = await world.open({ ...options, ...background });
    await store.resetMigration(1);
    await store.awaitMigration(1);
    const found = await townsOf(store.model(otherTownV2).scan());
    expect(found).toEqual(
      Array.from({ length: towns }, (_, n) => ({ id: townId(n), northing: latitudeOf(n) })),
    );
  });

  it('a changed transform is found as well; resume takes the new one', async () => {
    const moved = await dieBeforeChunk(1);
    let transformed = 0;
    const options = {
      dataModelsById: { 1: TownV2 },
      migrationHandler: backfill({
        transform(town) {
          transformed += 1;
          return { id: town['id'], latitude: Number(town['lat']) };
        },
      }),
    };
    const error = await errorFrom(world.open(options));
    expect(error.message).toContain('another transform');
    expect(transformed).toBe(0);
    const store = await world.open({ ...options, ...background });
    await waitForStatus(store, 'Failed');
    await store.resumeMigration(1);
    await store.awaitMigration(1);
    expect(transformed).toBe(towns - moved);
    expect(await store.model(TownV2).count()).toBe(towns);
    await expectIndexesToBeRight(world);
  });

  it('the program of the given-up target becomes an older one once the newer is published', async () => {
    await dieBeforeChunk(1);
    const newer = await world.open({ ...toStoreV3, ...background });
    await newer.resetMigration(1);
    await newer.awaitMigration(1);
    const givenUp = await world.open({ dataModelsById: { 1: TownV2 } });
    expect(await codeOf(givenUp.model(TownV2).count())).toBe('MODEL_SCHEMA_CHANGED');
    expect(await givenUp.migrationStatus(1)).toMatchObject({ state: 'Idle' });
    expect(await codeOf(givenUp.awaitMigration(1))).toBe('MODEL_SCHEMA_CHANGED');
  });
});

describe('half-way through a change of the key', () => {
  const byNumber = defineModel({
    name: 'Town',
    version: '2.0',
    key: ['number'],
    properties: {
      id: string({ number: 1, required: true }),
      lat: string({ number: 2, required: true }),
      number: float64({ number: 3, required: true }),
    },
    indexes: [{ name: 'byId', on: ['id'], unique: true }],
  });
  const numberOf = (id: unknown) => Number(String(id).slice(1));
  const toNumbered = {
    dataModelsById: { 1: byNumber },
    migrationHandler: backfill({ transform: (town) => ({ ...town, number: numberOf(town['id']) }) }),
  };

  it('the same target goes on, with every record under its new key', async () => {
    const moved = await dieBeforeChunk(1, toNumbered);
    expect(moved).toBeGreaterThan(0);
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    await old.resetMigration(1);
    const store = await world.open(toNumbered);
    const found = await townsOf(store.model(byNumber).scan());
    expect(found).toEqual(
      Array.from({ length: towns }, (_, n) => ({ id: townId(n), lat: String(latitudeOf(n)), number: n })),
    );
    await expectIndexesToBeRight(world);
  });

  it('another target takes the records of both key spaces', async () => {
    const moved = await dieBeforeChunk(1, toNumbered);
    expect(moved).toBeGreaterThan(0);
    const store = await world.open({
      ...toStoreV3,
      ...background,
      migrationHandler: backfill({
        accepts: ['1.0', '2.0'],
        // Both versions have the latitude as text.
        transform: (town) => toV3(town, { from: { version: '1.0' } }),
      }),
    });
    await store.resetMigration(1);
    await store.awaitMigration(1);
    await expectTownsOfV3();
  });

  it('the way back to the old key is a newer version', async () => {
    await dieBeforeChunk(1, toNumbered);
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    await old.resetMigration(1);
    expect(await codeOf(old.model(TownV1).count())).toBe('MODEL_MIGRATING');
    const back = defineModel({
      name: 'Town',
      version: '3.0',
      key: ['id'],
      properties: {
        id: string({ number: 1, required: true }),
        lat: string({ number: 2, required: true }),
      },
      indexes: [{ name: 'byLat', on: ['lat'] }],
      reservedNumbers: [3],
      reservedNames: ['number'],
    });
    const store = await world.open({
      dataModelsById: { 1: back },
      migrationHandler: backfill({
        accepts: ['1.0', '2.0'],
        transform: ({ id, lat }) => ({ id, lat }),
      }),
    });
    expect(await townsOf(store.model(back).scan())).toEqual(
      Array.from({ length: towns }, (_, n) => ({ id: townId(n), lat: String(latitudeOf(n)) })),
    );
    await expectIndexesToBeRight(world);
  });
});
