import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { defineEmbedded, defineModel, embedded, list, reference, string } from '../../src/model/index.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { answers, createLatch, createMigrationRig, succeed, thing } from '../rig/migration.ts';

let rig: MigrationRig;
beforeEach(() => {
  rig = createMigrationRig();
});
afterEach(() => rig.close());

const completedOf = ({ events }: MigrationRig) =>
  events.filter(({ type }) => type === 'Completed').map(({ modelName }) => modelName);

describe('the order of migrations', () => {
  it('is that of references: what is referred to migrates first', async () => {
    const of = (version: '1.0' | '2.0') => ({
      1: thing('City', version, ['Region', 'Mayor']),
      2: thing('Region', version, ['Country']),
      3: thing('Country', version),
      4: thing('Mayor', version, ['Country']),
    });
    await rig.open(of('1.0'));
    await rig.open(of('2.0'), { migrationExpandHandler: succeed, migrationMaxParallelModels: 4 });
    const order = rig.events
      .filter(({ type }) => type === 'LeaseAcquired' || type === 'Completed')
      .map(({ modelName, type }) => `${modelName} ${type}`);
    const at = (what: string) => order.indexOf(what);
    expect(order).toHaveLength(8);
    expect(at('Country Completed')).toBeLessThan(at('Mayor LeaseAcquired'));
    expect(at('Country Completed')).toBeLessThan(at('Region LeaseAcquired'));
    expect(Math.max(at('Region Completed'), at('Mayor Completed'))).toBeLessThan(at('City LeaseAcquired'));
  });

  it('is by name among those that do not depend on each other', async () => {
    const of = (version: '1.0' | '2.0') => ({
      1: thing('C', version),
      2: thing('A', version),
      3: thing('B', version),
    });
    await rig.open(of('1.0'));
    await rig.open(of('2.0'), { migrationExpandHandler: succeed, migrationMaxParallelModels: 1 });
    expect(completedOf(rig)).toEqual(['A', 'B', 'C']);
  });

  it('looks into embedded models and lists', async () => {
    const id = string({ number: 1, required: true });
    const of = (version: '1.0' | '2.0') => {
      const stay = defineEmbedded({
        name: 'Stay',
        properties: { at: reference({ number: 1, to: 'Z' }) },
      });
      return {
        1: defineModel({
          name: 'A',
          version,
          key: ['id'],
          properties: { id, stays: list({ number: 2, of: embedded({ model: stay }) }) },
        }),
        2: thing('Z', version),
      };
    };
    await rig.open(of('1.0'));
    await rig.open(of('2.0'), { migrationExpandHandler: succeed });
    expect(completedOf(rig)).toEqual(['Z', 'A']);
  });

  it('is not changed by weak references', async () => {
    const of = (version: '1.0' | '2.0') => ({
      1: thing('A', version, ['B'], { weak: true }),
      2: thing('B', version, ['A'], { weak: true }),
    });
    await rig.open(of('1.0'));
    const both = createLatch();
    let inside = 0;
    await rig.open(of('2.0'), {
      // Each succeeds only when the other one has begun too.
      migrationExpandHandler: async () => {
        inside += 1;
        if (inside === 2) both.open();
        await both.opened;
        return MigrationOutcome.Success;
      },
    });
    expect(completedOf(rig).toSorted()).toEqual(['A', 'B']);
  });

  it('waits for no model that does not migrate itself', async () => {
    await rig.open({ 1: thing('A', '1.0', ['B']), 2: thing('B', '1.0') });
    const store = await rig.open(
      { 1: thing('A', '2.0', ['B']), 2: thing('B', '1.0') },
      { migrationExpandHandler: succeed },
    );
    expect(store.readiness().ready).toBe(true);
    expect(completedOf(rig)).toEqual(['A']);
  });

  it('refuses a cycle with its path, before the database is touched', async () => {
    const before = await rig.dump();
    const opening = rig.open({
      1: thing('A', '1.0', ['B']),
      2: thing('B', '1.0', ['C']),
      3: thing('C', '1.0', ['A']),
      4: thing('D', '1.0'),
    });
    await expect(opening).rejects.toMatchObject({
      code: 'MIGRATION_CYCLE',
      details: { path: ['A', 'B', 'C', 'A'] },
      message: expect.stringContaining('A -> B -> C -> A') as string,
    });
    expect(await rig.dump()).toEqual(before);
    expect(before).toEqual([]);
  });

  it('refuses a cycle also where nothing has to be migrated, and lets a model refer to itself', async () => {
    await rig.open({ 1: thing('A', '1.0', ['A']) });
    const before = await rig.dump();
    const opening = rig.open({ 1: thing('A', '1.0', ['A', 'B']), 2: thing('B', '1.0', ['A']) });
    await expect(opening).rejects.toMatchObject({ code: 'MIGRATION_CYCLE' });
    expect(await rig.dump()).toEqual(before);
  });
});

describe('a model whose dependency has failed', () => {
  const of = (version: '1.0' | '2.0') => ({
    1: thing('A', version),
    2: thing('B', version, ['A']),
    3: thing('C', version, ['B']),
    4: thing('Other', version),
  });

  it('waits with the path as reason, while independent ones go on', async () => {
    await rig.open(of('1.0'));
    const store = await rig.open(of('2.0'), {
      continueMigrationsInBackground: true,
      migrationExpandHandler: {
        A: answers(MigrationOutcome.Fatal('broken')),
        B: succeed,
        C: succeed,
        Other: answers(...Array.from({ length: 5 }, () => MigrationOutcome.Retry({ retryAfterMs: 1_000 }))),
      },
    });
    expect((await store.migrationStatuses()).map(({ state }) => state)).toEqual([
      'Failed',
      'Waiting',
      'Waiting',
      'Idle',
    ]);
    const [, b, c] = await store.migrationStatuses();
    expect(b?.reason).toMatchObject({
      code: 'dependency',
      message: expect.stringContaining('B -> A') as string,
    });
    expect(c?.reason).toMatchObject({
      code: 'dependency',
      message: expect.stringContaining('C -> B -> A') as string,
    });
    await expect(rig.settle(store.awaitMigration(3))).rejects.toMatchObject({
      code: 'DEPENDENCY_BLOCKED',
      details: { path: ['C', 'B', 'A'] },
    });
  });

  it('lets open fail only after the other models are done, without the background', async () => {
    await rig.open(of('1.0'));
    const opening = rig.open(of('2.0'), {
      migrationExpandHandler: {
        A: answers(MigrationOutcome.Fatal('broken')),
        B: succeed,
        C: succeed,
        Other: answers(...Array.from({ length: 5 }, () => MigrationOutcome.Retry({ retryAfterMs: 1_000 }))),
      },
    });
    await expect(opening).rejects.toMatchObject({
      code: 'MIGRATION_FAILED',
      details: {
        modelName: 'A',
        models: [{ modelName: 'A' }, { modelName: 'B' }, { modelName: 'C' }],
      },
    });
    expect(completedOf(rig)).toEqual(['Other']);
  });

  it('is open to programs of the old definition until its own turn', async () => {
    await rig.open(of('1.0'));
    const olderModels = of('1.0');
    const older = await rig.open(olderModels);
    await rig.open(of('2.0'), {
      continueMigrationsInBackground: true,
      migrationExpandHandler: {
        A: answers(MigrationOutcome.Fatal('broken')),
        B: succeed,
        C: succeed,
        Other: succeed,
      },
    });
    await older.model(olderModels[2]).add({ id: 'x' });
    expect(older.readiness().models['B']).toEqual({ ready: true, reason: null });
  });
});

describe('migrationMaxParallelModels', () => {
  const names = ['A', 'B', 'C', 'D', 'E'];
  const of = (version: '1.0' | '2.0') =>
    Object.fromEntries(names.map((name, at) => [at + 1, thing(name, version)]));

  it.each([1, 2, 5])('lets %i migrate side by side', async (migrationMaxParallelModels) => {
    await rig.open(of('1.0'));
    let inside = 0;
    let most = 0;
    await rig.open(of('2.0'), {
      migrationMaxParallelModels,
      migrationExpandHandler: async (context) => {
        inside += 1;
        most = Math.max(most, inside);
        // A few turns of the event loop: whoever may begin has begun.
        for (let turn = 0; turn < 20; turn += 1) await context.transact(() => Promise.resolve());
        inside -= 1;
        return MigrationOutcome.Success;
      },
    });
    expect(most).toBe(migrationMaxParallelModels);
    expect(completedOf(rig).toSorted()).toEqual(names);
  });
});
