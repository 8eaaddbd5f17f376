import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { step } from '../../src/migration/step-spec.ts';
import type { AnyModel } from '../../src/model/define.ts';
import type { AnyModels } from '../../src/model/infer.ts';
import { defineModel, int32, reference, string } from '../../src/model/index.ts';
import type { PlanOptions } from '../../src/store/plan/options.ts';
import type { MigrationRig } from '../rig/migration.ts';
import {
  CityV1,
  CityV2,
  answers,
  cityOf,
  createLatch,
  createMigrationRig,
  succeed,
  thing,
  toCityV2,
  typesOf,
} from '../rig/migration.ts';
import { planOf, planOn } from '../rig/plan.ts';
import { inBackground } from '../rig/trap-rig.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';

let rig: MigrationRig;
beforeEach(() => {
  rig = createMigrationRig();
});
afterEach(() => rig.close());

/** Plans, and demands that nothing was written by it. */
async function plan(models: AnyModels, options: Partial<PlanOptions> = {}) {
  const before = await rig.dump();
  const report = await planOn(rig, models, options);
  expect(await rig.dump()).toEqual(before);
  return report;
}

const note = (version: string, more: object = {}, indexes: readonly object[] = []): AnyModel =>
  defineModel({
    name: 'Note',
    version,
    key: ['id'],
    properties: { id: string({ number: 1, required: true }), text: string({ number: 2 }), ...more },
    indexes,
  } as never);
const NoteV1 = note('1.0');
const NoteV11 = note('1.1', { hint: string({ number: 3 }) });
const NoteIndexed = note('1.1', {}, [{ name: 'byText', on: ['text'] }]);
const NoteV2 = note('2.0', { size: int32({ number: 4, required: true }) });
const NoteV3 = note('3.0', { size: int32({ number: 4, required: true, min: 1 }) });
const sized = backfill({ transform: (one) => ({ ...one, size: 1 }) });
/** Which does nothing, and nobody looks. */
const byHand = { migrationHandler: succeed, migrationVerification: 'off' as const };
const carried = backfill({ unchanged: true });

describe('a plan', () => {
  it.each<[what: string, NoteLike: AnyModel, options: object, action: string, actions: readonly string[]]>([
    ['the same definition', NoteV1, {}, 'none', []],
    ['an optional property more', NoteV11, {}, 'publish', ['publish']],
    ['an index more', NoteIndexed, {}, 'index', ['publish', 'index']],
    ['a required property more', NoteV2, { migrationHandler: sized }, 'migrate', ['migrate']],
    ['a handler by hand', NoteV2, byHand, 'migrate', ['migrate']],
    [
      'two versions in one pass',
      NoteV3,
      {
        migrations: {
          Note: [
            step('1.0', '2.0', { dataModel: NoteV2, migrationHandler: sized }),
            step('2.0', '3.0', { migrationHandler: carried }),
          ],
        },
      },
      'migrate',
      ['migrate'],
    ],
    [
      'two versions one after the other',
      NoteV3,
      {
        composeMigrationSteps: false,
        migrations: {
          Note: [
            step('1.0', '2.0', { dataModel: NoteV2, migrationHandler: sized }),
            step('2.0', '3.0', { migrationHandler: carried }),
          ],
        },
      },
      'migrate',
      ['migrate', 'migrate'],
    ],
    [
      'a publication and a migration',
      NoteV2,
      {
        migrations: {
          Note: [step('1.0', '1.1', { dataModel: NoteV11 }), step('1.1', '2.0', { migrationHandler: sized })],
        },
      },
      'migrate',
      ['publish', 'migrate'],
    ],
  ])('of %s says what open then does', async (_what, Note, options, action, actions) => {
    await rig.seed(NoteV1, [{ id: 'a', text: 'x' }, { id: 'b' }]);
    const report = await plan({ 1: Note }, options);
    const planned = planOf(report, 1);
    expect(report).toMatchObject({ isNew: false, problems: [] });
    expect(planned).toMatchObject({ action, storedVersion: '1.0', configuredVersion: Note.version });
    expect(planned.steps.map((one) => one.action)).toEqual(actions);

    // Publishes, and leaves the rest as it is.
    const waiting = await rig.open({ 1: Note }, { ...options, ...inBackground, migrationRole: 'wait' });
    const pending = (await waiting.pendingMigrations()).get(1);
    await rig.settle(waiting.close());
    expect(pending?.migrationId ?? null).toBe(planned.migrationId);
    expect(pending?.reasons ?? []).toEqual(planned.reasons);
    expect(planned.blocking).toBe(action === 'migrate');
    await rig.settle(rig.open({ 1: Note }, options));
    const moved = planned.steps.filter((one) => one.action !== 'publish').map((one) => one.migrationId);
    const completed = rig.events.filter(({ type }) => type === 'Completed');
    expect(completed.map(({ migrationId }) => migrationId)).toEqual(moved);
    // Each step leads on from where the last one ended.
    expect(planned.steps.map(({ from }) => from)).toEqual(
      planned.steps.map((_, at) => (at === 0 ? '1.0' : planned.steps[at - 1]?.to)),
    );
    expect(planOf(await plan({ 1: Note }, options), 1)).toMatchObject({ action: 'none', steps: [] });
  });

  it('names the versions that one pass leads through, and none where each step is taken by itself', async () => {
    await rig.seed(NoteV1, [{ id: 'a' }]);
    const migrations = {
      Note: [
        step('1.0', '2.0', { dataModel: NoteV2, migrationHandler: sized }),
        step('2.0', '3.0', { migrationHandler: carried }),
      ],
    };
    const together = planOf(await plan({ 1: NoteV3 }, { migrations }), 1);
    expect(together.steps.map(({ composedOf }) => composedOf)).toEqual([['1.0', '2.0', '3.0']]);
    const apart = planOf(await plan({ 1: NoteV3 }, { migrations, composeMigrationSteps: false }), 1);
    expect(apart.steps.map(({ composedOf }) => composedOf)).toEqual([[], []]);
  });

  it('of an empty model with an index more is a publication: there is nothing to fill', async () => {
    await rig.seed(NoteV1, []);
    const planned = planOf(await plan({ 1: NoteIndexed }), 1);
    expect(planned).toMatchObject({ action: 'publish', migrationId: null, estimate: null });
    const store = await rig.open({ 1: NoteIndexed });
    expect((await store.pendingMigrations()).size).toBe(0);
  });

  it('of a new database publishes every model', async () => {
    const report = await plan({ 1: CityV2, 2: NoteV1 });
    expect(report).toMatchObject({ isNew: true, problems: [] });
    expect(report.models.map(({ action, storedVersion }) => [action, storedVersion])).toEqual([
      ['publish', null],
      ['publish', null],
    ]);
  });

  it('of a program that is older than the database leaves it alone', async () => {
    await rig.seed(NoteV11, [{ id: 'a' }]);
    expect(planOf(await plan({ 1: NoteV1 }), 1)).toMatchObject({ action: 'olderProgram', steps: [] });
  });

  it('names handlers, indexes, verification and why, property by property', async () => {
    await rig.seed(CityV1, [cityOf(1)]);
    const planned = planOf(
      await plan({ 1: CityV2 }, {
        migrationExpandHandler: succeed,
        migrationHandler: { City: backfill({ transform: toCityV2 }) },
        migrationVerification: { sampleRatio: 0.5, seed: 7, check: () => true },
      } as object),
      1,
    );
    expect(planned.steps[0]).toMatchObject({
      handlers: { expand: 'function', backfill: 'transform', verify: null, contract: null },
      indexes: [{ name: 'byLatitude', work: 'fill' }],
    });
    expect(planned.verification).toEqual({ sampleRatio: 0.5, seed: 7, hasCheck: true });
    expect(planned.reasons).toContainEqual(
      expect.objectContaining({
        code: 'type',
        property: 'latitude',
        message: expect.stringContaining('float64'),
      }),
    );
    const off = await plan({ 1: CityV2 }, { migrationHandler: succeed, migrationVerification: 'off' });
    expect(planOf(off, 1).verification).toBeNull();
  });
});

describe('the order of a plan', () => {
  it('has each model behind those that it waits for, and only they are named', async () => {
    const versions = (version: '1.0' | '2.0') => ({
      1: thing('A', version, ['C']),
      2: thing('B', '1.0'),
      3: thing('C', version, ['B', 'D']),
      4: thing('D', version),
      5: thing('E', '1.0', ['A']),
    });
    await rig.open(versions('1.0'));
    const report = await plan(versions('2.0'), { migrationHandler: succeed });
    expect(report.models.map(({ modelName, action, waitsFor }) => [modelName, action, waitsFor])).toEqual([
      ['B', 'none', []],
      ['D', 'migrate', []],
      ['C', 'migrate', ['D']],
      ['A', 'migrate', ['C']],
      ['E', 'none', []],
    ]);
    await rig.open(versions('2.0'), { migrationHandler: succeed });
    const completed = rig.events.filter(({ type }) => type === 'Completed').map(({ modelName }) => modelName);
    expect(completed).toEqual(['D', 'C', 'A']);
  });
});

describe('problems', () => {
  const keyed = (version: string, kind: typeof string | typeof int32) =>
    defineModel({
      name: 'Country',
      version,
      key: ['code'],
      properties: {
        code: kind === string ? string({ number: 1, required: true }) : int32({ number: 1, required: true }),
      },
    });
  const Town = defineModel({
    name: 'Town',
    version: '1.0',
    key: ['id'],
    properties: {
      id: string({ number: 1, required: true }),
      country: reference({ number: 2, to: 'Country' }),
    },
  });

  it('are listed all at once, with the models they are about, and open refuses for one of them', async () => {
    await rig.open({ 1: CityV1, 2: keyed('1.0', string), 3: Town, 4: thing('Lost', '1.0') });
    const models = { 1: CityV2, 2: keyed('2.0', int32), 3: Town, 4: thing('Lost', '2.0') };
    const options = {
      migrationHandler: {
        City: backfill({ transform: toCityV2, accepts: ['0.9'] }),
        Country: backfill({ module: new URL('../rig/transforms/absent.ts', import.meta.url) }),
      },
    };
    const { problems, models: planned } = await plan(models, { ...options, sample: 10 } as object);
    expect(problems.map(({ modelName, code }) => [modelName, code])).toEqual([
      ['City', 'MIGRATION_MIXED_RECORDS'],
      ['Country', 'KEY_CHANGE_REFERENCED'],
      ['Country', 'TRANSFORM_INVALID'],
      ['Lost', 'MIGRATION_HANDLER_MISSING'],
    ]);
    expect(planned.map(({ sample }) => sample)).toEqual([null, null, null, null]);
    const refused = await rig.open(models, options).catch((error: unknown) => error);
    const { code, message } = refused as { code: string; message: string };
    expect(problems).toContainEqual(expect.objectContaining({ code, message }));
  });

  it('are those of steps to come as well: a publication before them is not begun', async () => {
    await rig.seed(NoteV1, [{ id: 'a' }]);
    const options = {
      migrations: { Note: [step('1.0', '1.1', { dataModel: NoteV11 }), step('1.1', '2.0')] },
    };
    const { problems } = await plan({ 1: NoteV2 }, options);
    expect(problems).toEqual([
      expect.objectContaining({ code: 'MIGRATION_HANDLER_MISSING', modelName: 'Note' }),
    ]);
    const before = await rig.dump();
    await expect(rig.open({ 1: NoteV2 }, options)).rejects.toMatchObject({
      code: 'MIGRATION_HANDLER_MISSING',
    });
    expect(await rig.dump()).toEqual(before);
  });

  it('are none for a process that leaves migrations to others', async () => {
    await rig.seed(CityV1, [cityOf(1)]);
    expect((await plan({ 1: CityV2 }, { migrationRole: 'wait' })).problems).toEqual([]);
  });

  it('are a missing step of a chain, with the way that was looked for', async () => {
    await rig.seed(NoteV1, [{ id: 'a' }]);
    const { problems } = await plan(
      { 1: NoteV3 },
      { migrations: { Note: [step('2.0', '3.0', { migrationHandler: carried })] } },
    );
    expect(problems[0]).toMatchObject({ code: 'MIGRATION_STEP_MISSING', modelName: 'Note' });
  });

  it.each([
    ['Paused', 'MIGRATION_PAUSED'],
    ['Failed', 'MIGRATION_FAILED'],
    ['Canceled', 'MIGRATION_CANCELED'],
  ] as const)('are a migration that stands still: %s', async (state, code) => {
    await rig.seed(CityV1, [cityOf(1)]);
    const began = createLatch();
    const handler = answers(
      state === 'Failed'
        ? MigrationOutcome.Fatal('no way')
        : async (context) => {
            began.open();
            await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
            return MigrationOutcome.Partial();
          },
    );
    const store = await rig.open({ 1: CityV2 }, { migrationExpandHandler: handler, ...inBackground });
    if (state !== 'Failed') {
      await began.opened;
      if (state === 'Paused') await store.pauseMigration(1);
      else await store.cancelMigration(1);
    }
    const standing = async () => (await store.migrationStatus(1)).state === state;
    for (let round = 0; round < 1_000 && !(await standing()); round += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      rig.clock.advanceToNextTimer();
    }
    await rig.settle(store.close());
    const options = { migrationHandler: succeed };
    const report = await plan({ 1: CityV2 }, options);
    expect(planOf(report, 1).status).toMatchObject({ state });
    expect(report.problems).toEqual([expect.objectContaining({ code, modelName: 'City' })]);
    // In the background it would stand still, and the store would be open.
    expect((await plan({ 1: CityV2 }, { ...options, ...inBackground })).problems).toEqual([]);
    await expect(rig.open({ 1: CityV2 }, options)).rejects.toMatchObject({ code });
  });

  it.each([
    ['a cycle', () => ({ 1: thing('A', '1.0', ['B']), 2: thing('B', '1.0', ['A']) }), {}, 'MIGRATION_CYCLE'],
    [
      'a handler of no model',
      () => ({ 1: CityV1 }),
      { migrationHandler: { Nobody: succeed } },
      'MODEL_UNKNOWN',
    ],
    ['an unknown option', () => ({ 1: CityV1 }), { samples: 3 }, 'OPTION_INVALID'],
    ['a sample below zero', () => ({ 1: CityV1 }), { sample: -1 }, 'OPTION_INVALID'],
    ['a property that is none', () => ({ 1: CityV1 }), { show: ['name', 'size'] }, 'OPTION_INVALID'],
    ['a list that is none', () => ({ 1: CityV1 }), { show: 'name' }, 'OPTION_INVALID'],
    ['a broken seed', () => ({ 1: CityV1 }), { seed: 0.5 }, 'OPTION_INVALID'],
  ])('are thrown where there is no plan to make: %s', async (_what, models, options, code) => {
    await expect(planOn(rig, models() as AnyModels, options as object)).rejects.toMatchObject({ code });
  });

  it('name the properties that there are', async () => {
    await rig.seed(CityV1, []);
    await expect(planOn(rig, { 1: CityV2 }, { show: ['size'] })).rejects.toThrow(
      'size, which is no property; there are id, lat, latitude, lng, longitude, name',
    );
  });

  it('end with the signal', async () => {
    const signal = AbortSignal.abort();
    await expect(planOn(rig, { 1: CityV1 }, { signal })).rejects.toMatchObject({ code: 'ABORTED' });
  });
});

describe('a migration that others began', () => {
  /** A store that is moving cities, held in its Expand phase for as long as the test likes. */
  async function openHeld() {
    await rig.seed(CityV1, [1, 2, 3].map(cityOf));
    const held = createLatch();
    const began = createLatch();
    const store = await rig.open(
      { 1: CityV2 },
      {
        ...inBackground,
        nodeId: 'leader',
        migrationExpandHandler: async () => {
          began.open();
          await held.opened;
          return MigrationOutcome.Success;
        },
        migrationHandler: backfill({ transform: toCityV2 }),
      },
    );
    await began.opened;
    return { store, held };
  }

  it('is gone on with, and the plan says where it is and who has it', async () => {
    const { store, held } = await openHeld();
    const planned = planOf(
      await planOn(rig, { 1: CityV2 }, { migrationHandler: backfill({ transform: toCityV2 }) }),
      1,
    );
    expect(planned).toMatchObject({
      action: 'goOn',
      blocking: true,
      status: { state: 'Running', phase: 'Expand', owner: { nodeId: 'leader' } },
    });
    held.open();
    await rig.settle(store.awaitMigration(1));
    expect(typesOf(rig.events).at(-1)).toContain('Completed');
  });

  it('blocks a program that has another target', async () => {
    const { store, held } = await openHeld();
    const CityV3 = defineModel({ ...CityV2, version: '3.0' });
    const report = await planOn(rig, { 1: CityV3 }, { migrationHandler: succeed });
    expect(planOf(report, 1)).toMatchObject({ action: 'blocked', blocking: true, steps: [] });
    expect(planOf(report, 1).migrationId).toContain('City:1.0->2.0#');
    // Who opens now waits for the owner.
    expect(planOf(report, 1).status).toMatchObject({ state: 'Running', owner: { nodeId: 'leader' } });
    expect(report.problems).toEqual([]);
    held.open();
    await rig.settle(store.awaitMigration(1));
  });
});

describe('the size of what is moved', () => {
  it('is exact for little, and near the truth for much of the same', async () => {
    const records = Array.from({ length: 2_000 }, (_, n) => ({ ...cityOf(n), name: 'n'.repeat(1_700) }));
    await rig.seed(CityV1, records.slice(0, 300));
    const options = { migrationHandler: succeed };
    const few = planOf(await plan({ 1: CityV2 }, options), 1).estimate;
    expect(few).toMatchObject({ records: 300, isEstimate: false });
    const store = await rig.open({ 1: CityV1 });
    for (const from of [300, 1_150]) {
      await store.transact(async (tx) => {
        for (const record of records.slice(from, from + 850)) await tx.model(CityV1).add(record);
      });
    }
    const { estimate } = planOf(await planOn(rig, { 1: CityV2 }, options), 1);
    expect(estimate?.isEstimate).toBe(true);
    expect(estimate?.records).toBeGreaterThan(1_600);
    expect(estimate?.records).toBeLessThan(2_400);
    const bytesEach = (few?.bytes ?? 0) / 300;
    expect(estimate?.bytes).toBeGreaterThan(1_600 * bytesEach);
    expect(estimate?.bytes).toBeLessThan(2_400 * bytesEach);
  });
});
