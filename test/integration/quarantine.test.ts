import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import type { LedgerTotals } from '../../src/migration/passes/ledger.ts';
import { readStoredModel } from '../../src/migration/plan.ts';
import { defineModel, float64, string } from '../../src/model/index.ts';
import { drop } from '../../src/model/transform.ts';
import { rangeOf } from '../../src/records/keys.ts';
import { createRecordCodec } from '../../src/records/record-codec.ts';
import type { World } from '../rig/operators.ts';
import {
  codeOf,
  createWorld,
  errorFrom,
  expectIndexesToBeRight,
  latitudeOf,
  townId,
  townsOf,
  TownV2,
  toV2,
  waitForStatus,
} from '../rig/operators.ts';
import { readRows } from '../rig/recompute-index.ts';

const towns = 350;
type Town = Readonly<Record<string, unknown>>;
const numberOf = (town: Town) => Number(String(town['id']).slice(1));

/** Every way of not going through: 120 throws, 121 is out of range, 122 comes back with another key. */
function poisoned(town: Town): Town {
  switch (numberOf(town)) {
    case 120:
      throw new Error('this one is odd');
    case 121:
      return { ...toV2(town), latitude: 91 };
    case 122:
      return { ...toV2(town), id: 'another' };
    default:
      return toV2(town);
  }
}

const id = string({ number: 1, required: true });
const lat = string({ number: 2, required: true });

/** `latitudeOf` gives the same latitude to towns that are 180 apart. */
const uniqueTownV2 = defineModel({
  name: 'Town',
  version: '2.0',
  key: ['id'],
  properties: {
    id,
    latitude: float64({ number: 2, required: true, min: -90, max: 90, alternativeNames: ['lat'] }),
  },
  indexes: [{ name: 'byLatitude', on: ['latitude'], unique: true }],
});

const townByLat = defineModel({
  name: 'Town',
  version: '2.0',
  key: ['lat'],
  properties: { id, lat },
});

let world: World;
beforeEach(() => {
  world = createWorld();
});
afterEach(() => world.close());

/** Migrates with a Contract handler that looks at the ledger, which publication clears. */
async function openCounting(options: Parameters<World['open']>[0]) {
  let totals: LedgerTotals | undefined;
  const store = await world.open({
    ...options,
    migrationContractHandler: async () => {
      totals = await world.totals();
      return MigrationOutcome.Success;
    },
  });
  if (totals === undefined) throw new Error('the Contract handler was not called');
  return { store, totals };
}

describe('by default', () => {
  it.each([
    ['throws', 120, 'TRANSFORM_FAILED', 'this one is odd'],
    ['is refused', 121, 'TRANSFORM_REJECTED', 'latitude'],
    ['changes its key', 122, 'KEY_CHANGED', 'another key'],
  ] as const)('a record that %s fails the migration and is named', async (_, poison, code, text) => {
    await world.fill(towns);
    const transform = (town: Town) => (numberOf(town) === poison ? poisoned(town) : toV2(town));
    const error = await errorFrom(
      world.open({ dataModelsById: { 1: TownV2 }, migrationHandler: backfill({ transform }) }),
    );
    expect(error).toMatchObject({ code: 'MIGRATION_FAILED', details: { lastError: { code } } });
    expect(error.message).toContain(text);
    expect(error.message).toContain(Buffer.from(townId(poison)).toString('hex'));
    const { moved, quarantined, recordsRead } = await world.totals();
    expect({ moved, quarantined }).toEqual({ moved: recordsRead, quarantined: 0 });
    expect(moved).toBeLessThanOrEqual(poison);
  });

  it('so do two records with one value of a unique index, and both are named', async () => {
    await world.fill(towns);
    const error = await errorFrom(
      world.open({ dataModelsById: { 1: uniqueTownV2 }, migrationHandler: backfill({ transform: toV2 }) }),
    );
    expect(error).toMatchObject({ details: { lastError: { code: 'UNIQUE_VIOLATION' } } });
    expect(error.message).toContain('byLatitude');
    expect(error.message).toContain(Buffer.from(townId(180)).toString('hex'));
    expect(error.message).toContain(Buffer.from(townId(0)).toString('hex'));
  });

  it('and two records with one new key', async () => {
    await world.fill(towns);
    const error = await errorFrom(
      world.open({
        dataModelsById: { 1: townByLat },
        migrationHandler: backfill({ transform: (town) => town }),
      }),
    );
    expect(error).toMatchObject({ details: { lastError: { code: 'DUPLICATE_KEY' } } });
  });

  it('also when they are equal but for their old keys', async () => {
    await world.fill(towns);
    const error = await errorFrom(
      world.open({
        dataModelsById: { 1: townByLat },
        migrationHandler: backfill({ transform: (town) => ({ ...town, id: 'same' }) }),
      }),
    );
    expect(error).toMatchObject({ details: { lastError: { code: 'DUPLICATE_KEY' } } });
  });
});

describe('with onPoison: quarantine', () => {
  const quarantining = backfill({ transform: poisoned, onPoison: 'quarantine' });

  it('sets exactly those records aside, says why, and the counts agree', async () => {
    await world.fill(towns);
    const { store, totals } = await openCounting({
      dataModelsById: { 1: TownV2 },
      migrationHandler: quarantining,
    });
    expect(totals).toMatchObject({ recordsRead: towns, moved: towns - 3, dropped: 0, quarantined: 3 });
    expect(await store.model(TownV2).count()).toBe(towns - 3);
    const quarantined = await store.quarantined(1);
    expect(quarantined.map(({ code }) => code)).toEqual([
      'TRANSFORM_FAILED',
      'TRANSFORM_REJECTED',
      'KEY_CHANGED',
    ]);
    expect(quarantined[0]?.migrationId).toMatch(/^Town:1\.0->2\.0#/);
    expect(Buffer.from(quarantined[0]?.key ?? '', 'hex').toString()).toContain(townId(120));
    expect(quarantined[0]?.message).toContain('this one is odd');
    expect(await store.quarantined(1, 2)).toEqual(quarantined.slice(0, 2));
    expect(await codeOf(store.quarantined(1, 0))).toBe('OPTION_INVALID');
    await expectIndexesToBeRight(world);
    expect(await store.migrationMetrics(1)).toMatchObject({ recordsMoved: towns - 3, failed: 0 });
  });

  it('treats a second owner of a unique value and a second owner of a key alike', async () => {
    await world.fill(towns);
    const unique = await openCounting({
      dataModelsById: { 1: uniqueTownV2 },
      migrationHandler: backfill({ transform: toV2, onPoison: 'quarantine', maxQuarantined: 1_000 }),
    });
    expect(unique.totals).toMatchObject({ recordsRead: towns, moved: 180, quarantined: towns - 180 });
    const codes = new Set((await unique.store.quarantined(1, 1_000)).map(({ code }) => code));
    expect([...codes]).toEqual(['UNIQUE_VIOLATION']);
    expect(await unique.store.model(uniqueTownV2).count()).toBe(180);
    await expectIndexesToBeRight(world);
  });

  it('keeps the first of several records with one new key', async () => {
    await world.fill(towns);
    const { store, totals } = await openCounting({
      dataModelsById: { 1: townByLat },
      migrationHandler: backfill({
        transform: (town) => town,
        onPoison: 'quarantine',
        maxQuarantined: 1_000,
      }),
    });
    expect(totals).toMatchObject({ recordsRead: towns, moved: 180, quarantined: towns - 180 });
    expect(await store.model(townByLat).get(String(latitudeOf(0)))).toMatchObject({ id: townId(0) });
    expect((await store.quarantined(1))[0]).toMatchObject({ code: 'DUPLICATE_KEY' });
  });

  it('fails once maxQuarantined is passed, and goes on where it was when more are allowed', async () => {
    await world.fill(towns);
    const limited = (maxQuarantined: number) => ({
      dataModelsById: { 1: TownV2 },
      migrationHandler: backfill({ transform: poisoned, onPoison: 'quarantine', maxQuarantined }),
    });
    const error = await errorFrom(world.open(limited(2)));
    expect(error).toMatchObject({
      code: 'MIGRATION_FAILED',
      details: { lastError: { code: 'QUARANTINE_FULL' } },
    });
    const store = await world.open({ ...limited(3), continueMigrationsInBackground: true });
    await waitForStatus(store, 'Failed');
    await store.resumeMigration(1);
    await store.awaitMigration(1);
    expect(await store.quarantined(1)).toHaveLength(3);
    expect(await store.model(TownV2).count()).toBe(towns - 3);
    expect((await store.migrationMetrics(1)).recordsMoved).toBe(towns - 3);
    await expectIndexesToBeRight(world);
  });
});

it('a dropped record is cleared with its index entries, and counted', async () => {
  await world.fill(towns);
  const { store, totals } = await openCounting({
    dataModelsById: { 1: TownV2 },
    migrationHandler: backfill({
      transform: (town) => (numberOf(town) % 10 === 0 ? drop : toV2(town)),
    }),
  });
  expect(totals).toMatchObject({ recordsRead: towns, moved: 315, dropped: 35, quarantined: 0 });
  expect(await store.model(TownV2).count()).toBe(315);
  expect(await store.model(TownV2).get(townId(10))).toBeUndefined();
  await expectIndexesToBeRight(world);
});

describe('retryQuarantined', () => {
  const open = (transform: (town: Town) => unknown, model: typeof TownV2 = TownV2) =>
    world.open({
      dataModelsById: { 1: model },
      migrationHandler: backfill({ transform, onPoison: 'quarantine' }),
    });

  it('puts the records back through a mended transform, after publication', async () => {
    await world.fill(towns);
    const first = await open(poisoned);
    const stillBroken = await first.retryQuarantined(1);
    expect(stillBroken.restored).toBe(0);
    expect(stillBroken.left.map(({ code }) => code)).toEqual([
      'TRANSFORM_FAILED',
      'TRANSFORM_REJECTED',
      'KEY_CHANGED',
    ]);
    await first.close();

    const mended = await open(toV2);
    expect(await mended.retryQuarantined(1)).toEqual({ restored: 3, left: [] });
    expect(await mended.retryQuarantined(1)).toEqual({ restored: 0, left: [] });
    expect(await mended.quarantined(1)).toEqual([]);
    expect(await townsOf(mended.model(TownV2).scan())).toEqual(
      Array.from({ length: towns }, (_, n) => ({ id: townId(n), latitude: latitudeOf(n) })),
    );
    await expectIndexesToBeRight(world);
  });

  it('leaves a record whose key or unique value is another one’s now, and restores nothing twice', async () => {
    await world.fill(130);
    const first = await world.open({
      dataModelsById: { 1: uniqueTownV2 },
      migrationHandler: backfill({ transform: poisoned, onPoison: 'quarantine' }),
    });
    await first.model(uniqueTownV2).add({ id: townId(120), latitude: 0.5 });
    await first.model(uniqueTownV2).add({ id: 'newcomer', latitude: latitudeOf(121) });
    await first.close();
    const mended = await world.open({
      dataModelsById: { 1: uniqueTownV2 },
      migrationHandler: backfill({ transform: toV2, onPoison: 'quarantine' }),
    });
    const [one, other] = await Promise.all([mended.retryQuarantined(1), mended.retryQuarantined(1)]);
    expect(one.left.map(({ code }) => code)).toEqual(['DUPLICATE_KEY', 'UNIQUE_VIOLATION']);
    expect(other.left).toHaveLength(2);
    expect(await mended.model(uniqueTownV2).get(townId(122))).toEqual({
      id: townId(122),
      latitude: latitudeOf(122),
    });
    expect(await mended.model(uniqueTownV2).count()).toBe(130);
    await expectIndexesToBeRight(world);
  });

  it('a record that the transform drops now is gone for good', async () => {
    await world.fill(130);
    await (await open(poisoned)).close();
    const dropping = await open((town) => (numberOf(town) >= 120 ? drop : toV2(town)));
    expect((await dropping.retryQuarantined(1)).left).toEqual([]);
    expect(await dropping.quarantined(1)).toEqual([]);
    expect(await dropping.model(TownV2).count()).toBe(127);
  });

  it('is refused while the model is not published, and without a transform', async () => {
    await world.fill(towns);
    const failing = (town: Town) => {
      if (numberOf(town) === 349) throw new Error('the last one');
      return poisoned(town);
    };
    const store = await world.open({
      dataModelsById: { 1: TownV2 },
      migrationHandler: backfill({ transform: failing, onPoison: 'quarantine', maxQuarantined: 3 }),
      continueMigrationsInBackground: true,
    });
    await waitForStatus(store, 'Failed');
    expect(await codeOf(store.retryQuarantined(1))).toBe('MIGRATION_PENDING');
    await store.close();
    const roomier = await world.open({
      dataModelsById: { 1: TownV2 },
      migrationHandler: backfill({ transform: failing, onPoison: 'quarantine' }),
      continueMigrationsInBackground: true,
    });
    await roomier.resumeMigration(1);
    await roomier.awaitMigration(1);
    await roomier.close();
    const without = await world.open({ dataModelsById: { 1: TownV2 } });
    expect(await without.quarantined(1)).toHaveLength(4);
    expect(await codeOf(without.retryQuarantined(1))).toBe('TRANSFORM_INVALID');
  });
});

it('values that no definition knows any more survive the move, quarantine and the way back', async () => {
  const withNote = defineModel({
    name: 'Town',
    version: '1.0',
    key: ['id'],
    properties: { id, lat, note: string({ number: 9 }) },
  });
  const withoutNote = defineModel({
    name: 'Town',
    version: '1.1',
    key: ['id'],
    properties: { id, lat },
    reservedNumbers: [9],
    reservedNames: ['note'],
  });
  const noted = await world.open({ dataModelsById: { 1: withNote } });
  for (const n of [119, 120]) {
    await noted.model(withNote).add({ id: townId(n), lat: '1', note: `of ${n}` });
  }
  await noted.close();
  await (await world.open({ dataModelsById: { 1: withoutNote } })).close();

  const options = (transform: (town: Town) => unknown) => ({
    dataModelsById: { 1: TownV2 },
    migrationHandler: backfill({ transform, onPoison: 'quarantine' as const }),
  });
  await (await world.open(options(poisoned))).close();
  const mended = await world.open(options(toV2));
  expect(await mended.retryQuarantined(1)).toEqual({ restored: 1, left: [] });

  const stored = await world.database.transact((tx) => readStoredModel(tx, world.keys));
  if (stored === undefined) throw new Error('it is published');
  const codec = createRecordCodec(stored.current.data);
  const rows = await readRows(world.database, rangeOf(world.keys.records(stored.fence.keySpace)));
  expect(rows.map(({ value }) => codec.decode(value).unknown?.get(9))).toEqual(['of 119', 'of 120']);
});
