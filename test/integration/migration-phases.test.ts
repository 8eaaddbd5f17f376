import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { readState } from '../../src/migration/state.ts';
import { readFence } from '../../src/records/fence.ts';
import type { MigrationRig } from '../rig/migration.ts';
import {
  CityV1,
  CityV2,
  answers,
  cityId,
  cityOf,
  createMigrationRig,
  succeed,
  thing,
  toCityV2,
  typesOf,
} from '../rig/migration.ts';

let rig: MigrationRig;
beforeEach(() => {
  rig = createMigrationRig();
});
afterEach(() => rig.close());

const moves = backfill({ transform: toCityV2 });

describe('the phases of a migration', () => {
  it('run in their order, each audited once, and the model is served by its new definition', async () => {
    await rig.seed(CityV1, [1, 2, 3].map(cityOf));
    const called: string[] = [];
    const handler = (name: string) => () => {
      called.push(name);
      return Promise.resolve(MigrationOutcome.Success);
    };
    const store = await rig.open(
      { 1: CityV2 },
      {
        migrationExpandHandler: handler('expand'),
        migrationHandler: { City: moves },
        migrationVerifyHandler: handler('verify'),
        migrationContractHandler: handler('contract'),
      },
    );
    expect(called).toEqual(['expand', 'verify', 'contract']);
    expect(typesOf(rig.events)).toEqual([
      'LeaseAcquired',
      'Expand PhaseStarted',
      'Expand PhaseCompleted',
      'Backfill PhaseStarted',
      'Backfill PhaseCompleted',
      'Verify PhaseStarted',
      'Verify PhaseCompleted',
      'Contract PhaseStarted',
      'Contract PhaseCompleted',
      'Contract Completed',
    ]);
    expect(await store.model(CityV2).get(cityId(2))).toEqual({
      id: cityId(2),
      name: 'city 2',
      latitude: -88,
      longitude: -178,
    });
    expect((await store.migrationStatus(1)).state).toBe('Idle');
    expect(await rig.stateOf(1)).toBeUndefined();
    for (const { state, expected, actual } of await rig.indexes(1, CityV2)) {
      expect(state).toBe('ready');
      expect(actual).toEqual(expected);
    }
  });

  it('name the migration, the node, the epoch and the attempt in every event', async () => {
    await rig.seed(CityV1, [cityOf(1)]);
    await rig.open({ 1: CityV2 }, { migrationHandler: { City: moves }, nodeId: 'berlin-3' });
    for (const event of rig.events) {
      expect(event).toMatchObject({ modelId: 1, modelName: 'City', nodeId: 'berlin-3', epoch: 1 });
      expect(event.migrationId).toMatch(/^City:1\.0->2\.0#[0-9a-f]{12}$/);
    }
  });

  it.each([
    ['migrationExpandHandler'],
    ['migrationHandler'],
    ['migrationVerifyHandler'],
    ['migrationContractHandler'],
  ] as const)('count as Success where their handler is missing: %s alone is enough', async (only) => {
    await rig.open({ 1: thing('Thing', '1.0') });
    const store = await rig.open({ 1: thing('Thing', '2.0') }, { [only]: succeed });
    expect((await store.migrationStatus(1)).state).toBe('Idle');
    const phases = ['Expand', 'Backfill', 'Verify', 'Contract'];
    expect(typesOf(rig.events).slice(1)).toEqual([
      ...phases.flatMap((phase) => [`${phase} PhaseStarted`, `${phase} PhaseCompleted`]),
      'Contract Completed',
    ]);
  });

  it('take one function for all models, or one for each by name', async () => {
    await rig.open({ 1: thing('One', '1.0'), 2: thing('Two', '1.0') });
    const all = answers();
    const two = answers();
    await rig.open(
      { 1: thing('One', '2.0'), 2: thing('Two', '2.0') },
      { migrationExpandHandler: all, migrationVerifyHandler: { Two: two } },
    );
    expect(all.calls.map(({ newDataModel }) => newDataModel.name)).toEqual(['One', 'Two']);
    expect(two.calls.map(({ newDataModel }) => newDataModel.name)).toEqual(['Two']);
  });

  it('never begin for a model that is new or has not changed', async () => {
    await rig.seed(CityV1, [cityOf(1)]);
    const handler = answers();
    await rig.open({ 1: CityV1 }, { migrationHandler: handler });
    await rig.open({ 1: CityV1, 2: thing('Thing', '2.0') }, { migrationHandler: handler });
    expect(handler.calls).toEqual([]);
    expect(rig.events).toEqual([]);
  });

  it('end with one transaction: whoever looks finds the state gone exactly when the gate is open', async () => {
    await rig.seed(CityV1, [cityOf(1)]);
    const { transact } = rig.database;
    const seen = new Set<string>();
    const look = async () => {
      const [fence, state] = await transact((tx) =>
        Promise.all([readFence(tx, rig.keysOf(1)), readState(tx, rig.keysOf(1))]),
      );
      seen.add(`schema ${fence?.schemaId} ${fence?.state}, ${state === undefined ? 'no state' : 'state'}`);
    };
    const spy = vi.spyOn(rig.database, 'transact').mockImplementation(async (body, options) => {
      const result = await transact(body, options);
      await look();
      return result;
    });
    const store = await rig.open(
      { 1: CityV2 },
      { migrationHandler: { City: moves }, persistMigrationAuditEvents: true },
    );
    spy.mockRestore();
    expect([...seen]).toEqual([
      'schema 1 ready, no state',
      'schema 1 migrating, state',
      'schema 2 ready, no state',
    ]);
    expect((await store.migrationAuditEvents(1)).at(-1)).toMatchObject({
      type: 'Completed',
      phase: 'Contract',
    });
    expect(await store.pendingMigrations()).toEqual(new Map());
    expect(await store.migrationMetrics(1)).toMatchObject({
      started: 1,
      completed: 1,
      failed: 0,
      retries: 0,
      partials: 0,
      recordsMoved: 1,
      takeovers: 0,
    });
  });
});
