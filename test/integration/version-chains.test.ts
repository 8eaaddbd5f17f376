import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationStep } from '../../src/migration/step-spec.ts';
import type { MigrationStatus } from '../../src/migration/status.ts';
import { step } from '../../src/migration/step-spec.ts';
import { defineModel, int32, string } from '../../src/model/index.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { createLatch, createMigrationRig, succeed, typesOf } from '../rig/migration.ts';
import { createTemporaryDirectory } from '../rig/temporary-directory.ts';
import { inBackground } from '../rig/trap-rig.ts';

const id = string({ number: 1, required: true });
const NoteV1 = defineModel({
  name: 'Note',
  version: '1.0',
  key: ['id'],
  properties: { id, mark: string({ number: 2, required: true }) },
  indexes: [{ name: 'byMark', on: ['mark'] }],
});
/** Compatible: only to be published. */
const NoteV11 = defineModel({
  ...NoteV1,
  version: '1.1',
  properties: { ...NoteV1.properties, hint: string({ number: 9 }) },
});
const NoteV2 = defineModel({
  ...NoteV1,
  version: '2.0',
  properties: { ...NoteV1.properties, size: int32({ number: 3, required: true }) },
  indexes: [
    { name: 'byMark', on: ['mark'] },
    { name: 'bySize', on: ['size'] },
  ],
});
/** `mark` has another name. */
const NoteV3 = defineModel({
  name: 'Note',
  version: '3.0',
  key: ['id'],
  properties: {
    id,
    trail: string({ number: 2, required: true, alternativeNames: ['mark'] }),
    size: int32({ number: 3, required: true, min: 1 }),
  },
  indexes: [{ name: 'bySize', on: ['size', 'trail'] }],
});

type Values = Readonly<Record<string, unknown>>;
const toV2 = ({ mark, ...note }: Values) => ({ ...note, mark: `${String(mark)}>2`, size: 1 });
const toV3 = ({ mark, size, ...note }: Values) => ({
  ...note,
  trail: `${String(mark)}>3`,
  size: (size as number) + 1,
});
const first = step('1.0', '2.0', { dataModel: NoteV2, migrationHandler: backfill({ transform: toV2 }) });
const second = step('2.0', '3.0', { migrationHandler: backfill({ transform: toV3 }) });
const chain = (...steps: readonly MigrationStep[]) => ({ Note: steps });

const noteCount = 300;
const notes = Array.from({ length: noteCount }, (_, at) => ({
  id: `n${String(at).padStart(4, '0')}`,
  mark: 'x',
}));
const moved = notes.map((note) => ({ id: note.id, trail: 'x>2>3', size: 2 }));

let rig: MigrationRig;
beforeEach(async () => {
  rig = createMigrationRig();
  await rig.seed(NoteV1, notes);
});
afterEach(async () => {
  await rig.close();
});

const completed = () =>
  rig.events.filter(({ type }) => type === 'Completed').map((event) => event.migrationId);
const shortIds = () => completed().map((migrationId) => migrationId.split('#')[0]);

async function expectMoved(store: Awaited<ReturnType<typeof open>>): Promise<void> {
  expect(await store.model(NoteV3).scan().toArray()).toEqual(moved);
  for (const { state, expected, actual } of await rig.indexes(1, NoteV3)) {
    expect(actual).toEqual(expected);
    expect(state).toBe('ready');
  }
}

const open = (options: Parameters<MigrationRig['open']>[1] = {}) =>
  rig.open({ 1: NoteV3 }, { migrations: chain(first, second), ...options });

describe('a chain of versions', () => {
  it('is taken in one pass where all steps are backfills: each record is moved once', async () => {
    const store = await open();
    await expectMoved(store);
    expect(shortIds()).toEqual(['Note:1.0->3.0']);
    expect((await store.migrationMetrics(1)).recordsMoved).toBe(noteCount);
  });

  it('is taken step by step where that is wished: each step is published on its own', async () => {
    const store = await open({ composeMigrationSteps: false });
    await expectMoved(store);
    expect(shortIds()).toEqual(['Note:1.0->2.0', 'Note:2.0->3.0']);
    expect(await store.migrationMetrics(1)).toMatchObject({ recordsMoved: 2 * noteCount, completed: 2 });
  });

  it('is taken step by step where a step has another handler', async () => {
    const careful = step('1.0', '2.0', {
      dataModel: NoteV2,
      migrationHandler: backfill({ transform: toV2 }),
      migrationVerifyHandler: succeed,
    });
    await expectMoved(await open({ migrations: chain(careful, second) }));
    expect(shortIds()).toEqual(['Note:1.0->2.0', 'Note:2.0->3.0']);
  });

  it.each(['fails', 'is canceled'])(
    'stands still where a step that another program began %s before anything was written',
    async (how) => {
      const moves = { migrationHandler: { Note: backfill({ transform: toV2 }) } };
      await rig.openUntil({ 1: NoteV2 }, moves, ({ type }) => type === 'LeaseAcquired');
      let isMended = false;
      const fails = step('1.0', '2.0', {
        dataModel: NoteV2,
        migrationHandler: backfill({
          transform: (note: Values) => {
            if (!isMended && how === 'fails') throw new Error('not yet');
            return toV2(note);
          },
        }),
      });
      const migrations = chain(fails, second);
      if (how === 'is canceled') {
        const older = await rig.open({ 1: NoteV2 }, { migrationRole: 'wait', ...inBackground });
        await older.cancelMigration(1);
      }
      const store = await open({ migrations, continueMigrationsInBackground: true });
      const { state } = await store.migrationStatus(1);
      expect(state).toBe(how === 'fails' ? 'Failed' : 'Canceled');
      expect(
        await store
          .model(NoteV3)
          .count()
          .catch((error: unknown) => error),
      ).toMatchObject({
        code: 'MODEL_MIGRATING',
      });
      isMended = true;
      await store.resumeMigration(1);
      await rig.settle(store.awaitMigration(1));
      await expectMoved(store);
      expect(shortIds()).toEqual(['Note:1.0->2.0', 'Note:2.0->3.0']);
    },
  );

  it('begins where the database is', async () => {
    await rig.open({ 1: NoteV2 }, { migrationHandler: { Note: backfill({ transform: toV2 }) } });
    rig.events.length = 0;
    await expectMoved(await open());
    expect(shortIds()).toEqual(['Note:2.0->3.0']);
  });

  it('publishes a step that needs no migration, and goes on', async () => {
    const safe = step('1.0', '1.1', { dataModel: NoteV11 });
    const large = step('1.1', '2.0', { dataModel: NoteV2, migrationHandler: backfill({ transform: toV2 }) });
    const options = { migrations: chain(safe, large, second), composeMigrationSteps: false };
    await expectMoved(await open(options));
    expect(shortIds()).toEqual(['Note:1.1->2.0', 'Note:2.0->3.0']);
  });

  it('publishes a new model as it is', async () => {
    const fresh = createMigrationRig();
    const store = await fresh.open({ 1: NoteV3 }, { migrations: chain(first, second) });
    expect(fresh.events).toEqual([]);
    expect(await store.migrationStatus(1)).toMatchObject({ state: 'Idle' });
    await fresh.close();
  });

  it.each([
    ['the first', '1.0->2.0', 'Backfill', 'PhaseStarted', false],
    ['the first, after its backfill', '1.0->2.0', 'Backfill', 'PhaseCompleted', false],
    ['between the two', '1.0->2.0', 'Contract', 'Completed', false],
    ['the second', '2.0->3.0', 'Expand', 'PhaseStarted', false],
    ['the second, after its backfill', '2.0->3.0', 'Backfill', 'PhaseCompleted', false],
    ['the pass through both', '1.0->3.0', 'Backfill', 'PhaseStarted', true],
    ['the pass through both, after it', '1.0->3.0', 'Verify', 'PhaseStarted', true],
  ])('goes on in the right step after a crash in %s', async (_name, versions, phase, type, compose) => {
    const options = { migrations: chain(first, second), composeMigrationSteps: compose };
    await rig.openUntil(
      { 1: NoteV3 },
      options,
      (event) => event.migrationId.includes(versions) && event.phase === phase && event.type === type,
    );
    await expectMoved(await open(options));
    const steps = compose ? ['Note:1.0->3.0'] : ['Note:1.0->2.0', 'Note:2.0->3.0'];
    expect(shortIds()).toEqual(steps);
  });

  it.each([
    ['in one pass, by a program that takes it step by step', true, 'PhaseStarted'],
    ['in one pass, by a program that takes it step by step', true, 'PhaseCompleted'],
    ['step by step, by a program that takes it in one pass', false, 'PhaseStarted'],
    ['step by step, by a program that takes it in one pass', false, 'PhaseCompleted'],
  ] as const)('is finished the way it was begun: %s (%#)', async (_name, compose, type) => {
    const migrations = chain(first, second);
    await rig.openUntil(
      { 1: NoteV3 },
      { migrations, composeMigrationSteps: compose },
      (event) => event.phase === 'Backfill' && event.type === type,
    );
    await expectMoved(await open({ migrations, composeMigrationSteps: !compose }));
    expect(shortIds()).toEqual(compose ? ['Note:1.0->3.0'] : ['Note:1.0->2.0', 'Note:2.0->3.0']);
  });

  describe('that is half-way through in one pass', () => {
    const careful = step('2.0', '3.0', {
      migrationHandler: backfill({ transform: toV3 }),
      migrationVerifyHandler: succeed,
    });
    const inSteps = { migrations: chain(first, careful) };
    const half = async (type: 'PhaseStarted' | 'PhaseCompleted') => {
      await rig.openUntil(
        { 1: NoteV3 },
        { migrations: chain(first, second) },
        (event) => event.phase === 'Backfill' && event.type === type,
      );
      rig.events.length = 0;
    };

    it('is refused by a program that cannot take its steps so, in words that name the ways out', async () => {
      await half('PhaseCompleted');
      const before = await rig.dump();
      const refused: unknown = await open(inSteps).catch((error: unknown) => error);
      expect(refused).toMatchObject({ code: 'MIGRATION_TARGET_CHANGED' });
      const { message } = refused as Error;
      expect(message).toContain('Note:1.0->3.0#');
      expect(message).toContain('one pass');
      expect(message).toContain('resetMigration');
      expect(await rig.dump()).toEqual(before);
      // The program that began it goes on.
      await expectMoved(await open());
      expect(shortIds()).toEqual(['Note:1.0->3.0']);
    });

    it('is reset by such a program, which then takes it step by step where no record was moved', async () => {
      await half('PhaseStarted');
      const store = await open({ ...inSteps, continueMigrationsInBackground: true });
      const { state, lastError, blocking } = await store.migrationStatus(1);
      expect({ state, code: lastError?.code, blocking }).toEqual({
        state: 'Failed',
        code: 'MIGRATION_TARGET_CHANGED',
        blocking: true,
      });
      await rig.settle(store.resetMigration(1));
      await rig.settle(store.awaitMigration(1));
      await expectMoved(store);
      expect(shortIds()).toEqual(['Note:1.0->2.0', 'Note:2.0->3.0']);
    });
  });

  it('runs modules of several steps on a thread, one after another', async () => {
    const directory = createTemporaryDirectory('chain');
    const moduleOf = (name: string, from: string, to: string, body: string) => {
      const path = join(directory.path, name);
      writeFileSync(
        path,
        `export default Object.freeze({
           kind: 'transform',
           source: { name: 'Note', version: '${from}' },
           target: { name: 'Note', version: '${to}' },
           transform: (note) => ${body},
           [Symbol.for('godwit.transform')]: true,
         });`,
      );
      return pathToFileURL(path);
    };
    const one = moduleOf('one.mjs', '1.0', '2.0', '({ ...note, mark: note.mark + ">2", size: 1 })');
    const two = moduleOf(
      'two.mjs',
      '2.0',
      '3.0',
      '({ id: note.id, trail: note.mark + ">3", size: note.size + 1 })',
    );
    const migrations = chain(
      step('1.0', '2.0', { dataModel: NoteV2, migrationHandler: backfill({ module: one }) }),
      step('2.0', '3.0', { dataModel: NoteV3, migrationHandler: backfill({ module: two }) }),
    );
    await expectMoved(await open({ migrations }));
    expect(shortIds()).toEqual(['Note:1.0->3.0']);
    directory.remove();
  });

  it('carries records through a step that changes nothing of them', async () => {
    const renamed = step('2.0', '3.0', { migrationHandler: backfill({ unchanged: true }) });
    const store = await open({ migrations: chain(first, renamed) });
    expect(await store.model(NoteV3).get('n0000')).toEqual({ id: 'n0000', trail: 'x>2', size: 1 });
    expect(shortIds()).toEqual(['Note:1.0->3.0']);
  });

  it('sets a record aside that no step takes, and takes it back through all of them', async () => {
    let isMended = false;
    const picky = (note: Values) => {
      if (!isMended && note['id'] === 'n0007') throw new Error('not this one');
      return toV3(note);
    };
    const quarantine = { onPoison: 'quarantine' } as const;
    const migrations = chain(
      step('1.0', '2.0', {
        dataModel: NoteV2,
        migrationHandler: backfill({ transform: toV2, ...quarantine }),
      }),
      step('2.0', '3.0', { migrationHandler: backfill({ transform: picky, ...quarantine }) }),
    );
    const store = await open({ migrations });
    expect(await store.quarantined(1)).toHaveLength(1);
    expect(await store.model(NoteV3).count()).toBe(noteCount - 1);
    isMended = true;
    expect(await store.retryQuarantined(1)).toEqual({ restored: 1, left: [] });
    await expectMoved(store);
  });

  it('tells of the way that is left as long as it is between two steps', async () => {
    const [between, toldMeanwhile, go] = [createLatch(), createLatch(), createLatch()];
    let isBetween = false;
    const slow = step('1.0', '2.0', {
      dataModel: NoteV2,
      migrationHandler: backfill({ transform: toV2 }),
      migrationExpandHandler: async () => {
        // Longer than statuses are apart: what comes behind it is told by the step itself.
        await new Promise<void>((resolve) => rig.clock.setTimeout(resolve, 1_000));
        return succeed({} as never);
      },
    });
    const store = await open({
      migrations: chain(slow, second),
      migrationLease: ({ lease }) => ({
        explain: (modelId) => lease.explain(modelId),
        async acquire(request) {
          const handle = await lease.acquire(request);
          if (handle.refused === true) return handle;
          const release = async () => {
            isBetween = true;
            between.open();
            await go.opened;
            await handle.release();
          };
          return { ...handle, release };
        },
      }),
      ...inBackground,
    });
    const told: MigrationStatus[] = [];
    const following = (async () => {
      for await (const event of store.migrationEvents()) {
        if (event.type !== 'status') continue;
        told.push(event.status);
        if (isBetween) toldMeanwhile.open();
      }
    })();
    await rig.settle(between.opened);
    await rig.settle(toldMeanwhile.opened);
    expect(told.at(-1)).toMatchObject({ state: 'Waiting', blocking: true });
    expect(told.at(-1)?.migrationId).toMatch(/^Note:2\.0->3\.0#/);
    go.open();
    await rig.settle(store.awaitMigration(1));
    await rig.settle(store.close());
    await following;
    expect(told.at(-1)).toMatchObject({ state: 'Idle', blocking: false });
  });

  it('can be paused in a step, and shows which one it is', async () => {
    const reached = createLatch();
    const go = createLatch();
    const held = step('2.0', '3.0', {
      migrationHandler: backfill({ transform: toV3 }),
      migrationExpandHandler: async () => {
        reached.open();
        await go.opened;
        return succeed({} as never);
      },
    });
    const store = await open({
      migrations: chain(first, held),
      migrationStartupBudgetMs: 0,
      continueMigrationsInBackground: true,
    });
    await rig.settle(reached.opened);
    const status = await store.migrationStatus(1);
    expect(status).toMatchObject({ state: 'Running', phase: 'Expand' });
    expect(status.migrationId).toMatch(/^Note:2\.0->3\.0#/);
    await store.pauseMigration(1);
    go.open();
    await rig.settle(
      (async () => {
        while ((await store.migrationStatus(1)).state !== 'Paused') await new Promise(setImmediate);
      })(),
    );
    await store.resumeMigration(1);
    await rig.settle(store.awaitMigration(1));
    await expectMoved(store);
    expect(typesOf(rig.events).filter((type) => /Paused|Resumed/.test(type))).toHaveLength(2);
  });
});

describe('a chain that does not hold', () => {
  const refusal = async (options: Parameters<typeof open>[0]) => {
    const before = await rig.dump();
    const error: unknown = await open(options).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(await rig.dump()).toEqual(before);
    return error;
  };

  it('is refused with the path that was looked for, and nothing is written', async () => {
    expect(await refusal({ migrations: chain(second) })).toMatchObject({
      code: 'MIGRATION_STEP_MISSING',
      message: expect.stringContaining('1.0 -> ? -> 3.0'),
      details: { reached: ['1.0'], wanted: '3.0' },
    });
    const gap = step('1.0', '1.1', { dataModel: NoteV11 });
    expect(await refusal({ migrations: chain(gap, second) })).toMatchObject({
      code: 'MIGRATION_STEP_MISSING',
      message: expect.stringContaining('1.0 -> 1.1 -> ? -> 3.0'),
    });
  });

  it('is refused where a step that needs a handler has none', async () => {
    const bare = step('2.0', '3.0');
    expect(await refusal({ migrations: chain(first, bare) })).toMatchObject({
      code: 'MIGRATION_HANDLER_MISSING',
      details: { models: [expect.objectContaining({ modelName: 'Note', version: '3.0' })] },
    });
  });

  it.each<[string, readonly MigrationStep[], string, RegExp]>([
    [
      'a step in the middle has no model',
      [step('1.0', '2.0'), second],
      'OPTION_INVALID',
      /needs the dataModel/,
    ],
    [
      'two steps begin alike',
      [first, step('1.0', '3.0'), second],
      'OPTION_INVALID',
      /two steps begin at 1\.0/,
    ],
    [
      'a step is of another model',
      [step('1.0', '2.0', { dataModel: defineModel({ ...NoteV2, name: 'Other' }) }), second],
      'OPTION_INVALID',
      /a dataModel of Other/,
    ],
  ])('is refused where %s', async (_name, steps, code, message) => {
    expect(await refusal({ migrations: chain(...steps) })).toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });

  it('is refused for a model that is not registered', async () => {
    const error = await refusal({ migrations: { Other: [first] } });
    expect(error).toMatchObject({ code: 'MODEL_UNKNOWN' });
  });

  it('is refused where a transform makes records of another version', async () => {
    const wrong = step('2.0', '3.0', {
      migrationHandler: backfill({
        transform: Object.freeze({
          kind: 'transform',
          target: { name: 'Note', version: '4.0' },
          transform: toV3,
          [Symbol.for('godwit.transform')]: true,
        }) as never,
      }),
    });
    expect(await refusal({ migrations: chain(first, wrong) })).toMatchObject({ code: 'TRANSFORM_INVALID' });
  });

  it.each([
    [() => step('1', '2.0'), /two versions/],
    [() => step('1.0', '2.0', { dataModel: NoteV3 }), /a dataModel of version 3\.0/],
    [() => step('1.0', '2.0', { dataModel: {} as never }), /not made by defineModel/],
  ])('is refused by step itself: %#', (make, message) => {
    expect(make).toThrow(message);
  });
});
