import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/limits.ts';
import type { BackfillOptions } from '../../src/migration/backfill-spec.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { step } from '../../src/migration/step-spec.ts';
import type { AnyModel } from '../../src/model/define.ts';
import { defineModel, int32, string, timestamp } from '../../src/model/index.ts';
import { drop } from '../../src/model/transform.ts';
import { createWorkerPool } from '../../src/ports/pool.ts';
import type { PlanOptions } from '../../src/store/plan/options.ts';
import type { SampleReport } from '../../src/store/plan/report.ts';
import { ItemV1, ItemV2 } from '../cluster/item-models.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { CityV1, CityV2, cityOf, createMigrationRig, succeed, toCityV2 } from '../rig/migration.ts';
import { planOf, planOn } from '../rig/plan.ts';
import { createTrapRig } from '../rig/trap-rig.ts';

let rig: MigrationRig;
beforeEach(() => {
  rig = createMigrationRig();
});
afterEach(() => rig.close());

type Values = Readonly<Record<string, unknown>>;

/** Cities from 0, in few transactions. */
async function fill(cities: number): Promise<void> {
  const store = await rig.open({ 1: CityV1 });
  await store.transact(async (tx) => {
    for (let n = 0; n < cities; n += 1) await tx.model(CityV1).add(cityOf(n));
  });
}

/** Tries a transform of cities, and demands that nothing was written. */
async function sampled(
  work: BackfillOptions,
  options: Partial<PlanOptions>,
  model: AnyModel = CityV2,
): Promise<SampleReport> {
  const before = await rig.dump();
  const report = await planOn(rig, { 1: model }, { migrationHandler: backfill(work), ...options });
  expect(await rig.dump()).toEqual(before);
  expect(report.problems).toEqual([]);
  const { sample } = planOf(report, 1);
  if (sample === null) throw new Error('there is no sample');
  return sample;
}

const numberOf = (keyDigits: string) => Number(Buffer.from(keyDigits, 'hex').toString('latin1').slice(2, 7));

describe('a sample', () => {
  it('of all records counts what the backfill would count', async () => {
    await fill(300);
    const transform = (city: Values) => {
      const n = Number(String(city['id']).slice(1));
      if (n % 10 === 3) throw new RangeError(`no such place: ${String(city['name'])}`);
      if (n % 10 === 4) return drop;
      return n % 10 === 5 ? { ...toCityV2(city), latitude: 91 } : toCityV2(city);
    };
    const sample = await sampled({ transform }, { sample: 300 });
    expect(sample).toMatchObject({ to: '2.0', asked: 300, sampled: 300 });
    expect(sample).toMatchObject({ moved: 210, dropped: 30, unchanged: 0, failed: 60, otherFailures: 0 });
    expect(sample.failures.map(({ code, count }) => `${code} ${count}`).toSorted()).toEqual([
      'TRANSFORM_FAILED 30',
      'TRANSFORM_REJECTED 30',
    ]);
    const [thrown] = sample.failures.filter(({ code }) => code === 'TRANSFORM_FAILED');
    expect(thrown?.reason).toBe('The transform failed: RangeError');
    expect(thrown?.keys.length).toBe(limits.migration.findingKeys.value);
    expect(thrown?.keys.map((key) => numberOf(key) % 10)).toEqual(thrown?.keys.map(() => 3));
    const [rejected] = sample.failures.filter(({ code }) => code === 'TRANSFORM_REJECTED');
    expect(rejected?.reason).toContain('latitude');
  });

  it('shows no value of a record unless properties are chosen', async () => {
    const secret = 'squeamish ossifrage';
    await rig.seed(CityV1, [
      { ...cityOf(1), name: secret },
      { ...cityOf(2), name: secret, lat: secret },
    ]);
    const transform = (city: Values) => {
      if (city['lat'] === secret) throw new Error(`what is ${secret}?`);
      return toCityV2(city);
    };
    const hidden = await sampled({ transform }, { sample: 2 });
    expect(hidden).toMatchObject({ moved: 1, failed: 1, shown: [] });
    expect(JSON.stringify(hidden)).not.toContain('ossifrage');
    const shown = await sampled({ transform }, { sample: 2, show: ['name'] });
    expect(shown.failures[0]).toMatchObject({ example: expect.stringContaining(secret) });
    expect(JSON.stringify(shown.shown)).toContain(secret);
  });

  it('shows chosen properties before and after, by the names of either definition', async () => {
    await fill(40);
    const transform = (city: Values) => {
      const n = Number(String(city['id']).slice(1));
      if (n % 3 === 1) throw new Error('no');
      return n % 3 === 2 ? drop : toCityV2(city);
    };
    const { shown } = await sampled({ transform }, { sample: 40, show: ['lat', 'latitude'] });
    expect(shown.length).toBe(limits.plan.shownRecords.value);
    for (const { key, outcome, before, after } of shown) {
      const { lat } = cityOf(numberOf(key));
      expect(before).toEqual({ lat });
      expect(after).toEqual(outcome === 'moved' ? { latitude: Number(lat) } : null);
      expect(outcome).toBe(['moved', 'failed', 'dropped'][numberOf(key) % 3]);
    }
  });

  it('shows values of types that JSON does not know as text', async () => {
    const Visit = defineModel({
      name: 'Visit',
      version: '1.0',
      key: ['id'],
      properties: { id: string({ number: 1, required: true }), at: timestamp({ number: 2 }) },
    });
    const instant = '2026-01-02T03:04:05.678Z';
    await rig.seed(Visit, [{ id: 'a', at: new Date(instant) }]);
    const { shown } = await sampled(
      { unchanged: true },
      { sample: 1, show: ['at'] },
      defineModel({ ...Visit, version: '2.0' }),
    );
    expect(shown).toEqual([
      { key: '026100', outcome: 'moved', before: { at: instant }, after: { at: instant } },
    ]);
  });

  it('draws the same records for the same seed, others for another, and none twice', async () => {
    await fill(1_000);
    const keys = async (seed: number) => {
      const seen: string[] = [];
      const transform = (city: Values) => {
        seen.push(String(city['id']));
        return toCityV2(city);
      };
      expect(await sampled({ transform }, { sample: 100, seed })).toMatchObject({ sampled: 100, seed });
      return seen;
    };
    const [one, again, other] = [await keys(1), await keys(1), await keys(2)];
    expect(again).toEqual(one);
    expect(other).not.toEqual(one);
    expect(new Set(one).size).toBe(100);
    // From all over: each tenth of the keys has some.
    expect(new Set(one.map((id) => Math.floor(Number(id.slice(1)) / 100))).size).toBe(10);
  });

  it('of more records than there are is all of them', async () => {
    await fill(90);
    expect(await sampled({ transform: toCityV2 }, { sample: 1_000 })).toMatchObject({
      asked: 1_000,
      sampled: 90,
      moved: 90,
    });
  });

  it('knows records that a migration has moved already', async () => {
    const trap = createTrapRig();
    await trap.fill(250);
    const migrationHandler = backfill({ transform: toCityV2 });
    await trap.stopHalfWay({ dataModelsById: { 1: CityV2 }, migrationHandler } as never);
    const { database, storeKeys } = trap;
    void storeKeys;
    const report = await planOn(
      { database, subspace: trap.subspace },
      { 1: CityV2 },
      {
        migrationHandler,
        sample: 250,
        show: ['latitude'],
      },
    );
    const { action, status, sample } = planOf(report, 1);
    expect(action).toBe('goOn');
    expect(status).toMatchObject({ phase: 'Backfill', state: 'Waiting' });
    expect(sample).toMatchObject({ sampled: 250, failed: 0 });
    expect(sample?.unchanged).toBe(status?.progress.recordsDone);
    expect(sample?.unchanged).toBeGreaterThan(0);
    expect(sample?.moved).toBe(250 - (sample?.unchanged ?? 0));
    for (const one of sample?.shown ?? []) expect(one.after).not.toBeNull();
    await trap.close();
  });

  it('is taken of what another program began as well, which stands in the way once nobody owns it', async () => {
    const trap = createTrapRig();
    await trap.fill(250);
    const migrationHandler = backfill({ transform: toCityV2 });
    await trap.stopHalfWay({ dataModelsById: { 1: CityV2 }, migrationHandler } as never);
    const other = { migrationHandler: backfill({ transform: (city) => ({ ...toCityV2(city), name: 'x' }) }) };
    const CityV3 = defineModel({ ...CityV2, version: '3.0' });
    for (const [model, sample] of [
      [CityV2, { sampled: 250, failed: 0 }],
      [CityV3, null],
    ] as const) {
      const { models, problems } = await planOn(trap, { 1: model }, { ...other, sample: 250 });
      if (sample === null) expect(models[0]?.sample).toBeNull();
      else expect(models[0]?.sample).toMatchObject(sample);
      expect(models[0]).toMatchObject({ action: 'blocked', blocking: true });
      expect(problems).toEqual([expect.objectContaining({ code: 'MIGRATION_TARGET_CHANGED' })]);
      const { code, message } = problems[0] ?? {};
      const opening = trap.open({ dataModelsById: { 1: model }, ...other } as never);
      await expect(opening).rejects.toMatchObject({ code, message });
    }
    await trap.close();
  });

  it('takes each record through all steps of a chain that are taken together', async () => {
    await fill(20);
    const CityV3 = defineModel({
      ...CityV2,
      version: '3.0',
      properties: { ...CityV2.properties, rank: int32({ number: 9, required: true }) },
    });
    const migrations = {
      City: [
        step('1.0', '2.0', { dataModel: CityV2, migrationHandler: backfill({ transform: toCityV2 }) }),
        step('2.0', '3.0', { migrationHandler: backfill({ transform: (city) => ({ ...city, rank: 7 }) }) }),
      ],
    };
    const options = { migrations, sample: 5, show: ['lat', 'latitude', 'rank'] };
    const { sample } = planOf(await planOn(rig, { 1: CityV3 }, options as object), 1);
    expect(sample).toMatchObject({ to: '3.0', sampled: 5, moved: 5 });
    expect(Object.keys(sample?.shown[0]?.after ?? {})).toEqual(['latitude', 'rank']);
    const apart = await planOn(rig, { 1: CityV3 }, { ...options, composeMigrationSteps: false } as object);
    expect(planOf(apart, 1).sample).toMatchObject({ to: '2.0', moved: 5 });
  });

  it('behind a step that only has to be published reads the records as they will be then', async () => {
    await fill(10);
    const CityV11 = defineModel({
      ...CityV1,
      version: '1.1',
      properties: { ...CityV1.properties, hint: string({ number: 8 }) },
    });
    const CityV2b = defineModel({
      ...CityV2,
      properties: { ...CityV2.properties, hint: string({ number: 8 }) },
    });
    const migrations = {
      City: [
        step('1.0', '1.1', { dataModel: CityV11 }),
        step('1.1', '2.0', { migrationHandler: backfill({ transform: toCityV2 }) }),
      ],
    };
    const report = await planOn(rig, { 1: CityV2b }, { migrations, sample: 10 } as object);
    expect(report.problems).toEqual([]);
    expect(planOf(report, 1).sample).toMatchObject({ to: '2.0', moved: 10, failed: 0 });
  });

  it('counts what would step aside as failed, and is none for a handler by hand', async () => {
    await fill(10);
    const transform = () => {
      throw new Error('never');
    };
    const aside = await sampled({ transform, onPoison: 'quarantine' }, { sample: 10 });
    expect(aside).toMatchObject({ moved: 0, failed: 10 });
    const byHand = await planOn(rig, { 1: CityV2 }, { migrationHandler: succeed, sample: 10 });
    expect(planOf(byHand, 1).sample).toBeNull();
  });

  it('runs a module on the threads of the pool, and says how long all records would take them', async () => {
    const items = Array.from({ length: 60 }, (_, n) => ({
      id: `i${n}`,
      mark: 'm',
      rank: String(n),
      text: '',
    }));
    await rig.seed(ItemV1, items);
    const pool = createWorkerPool({ maxThreads: 2 });
    try {
      const module = new URL('../cluster/mark-item.ts', import.meta.url);
      const sample = await sampled({ module }, { sample: 20, pool }, ItemV2);
      expect(sample).toMatchObject({ sampled: 20, moved: 20, failed: 0 });
      expect(pool.completed).toBeGreaterThan(1);
      expect(sample.duration).toMatchObject({ threads: 2, isEstimate: true });
      expect(sample.microsPerRecord).toBeGreaterThan(0);
      const transform = ({ rank, ...item }: Values) => ({ ...item, rank: Number(rank) });
      const inPlace = await sampled({ transform }, { sample: 20, pool }, ItemV2);
      expect(inPlace.duration?.threads).toBe(1);
    } finally {
      await pool.close();
    }
  });
});
