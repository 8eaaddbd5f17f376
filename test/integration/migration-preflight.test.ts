import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { AnyModels } from '../../src/model/infer.ts';
import { defineModel, int32, reference, string } from '../../src/model/index.ts';
import { defineTransform } from '../../src/model/transform.ts';
import type { StoreOptions } from '../../src/store/options.ts';
import { FoundationDBDataStore } from '../../src/store/store.ts';
import type { MigrationRig } from '../rig/migration.ts';
import { CityV1, CityV2, cityOf, createMigrationRig, succeed, thing, toCityV2 } from '../rig/migration.ts';

let rig: MigrationRig;
beforeEach(async () => {
  rig = createMigrationRig();
  await rig.seed(CityV1, [1, 2, 3].map(cityOf));
});
afterEach(() => rig.close());

/** Opens, expects to be refused, and that nothing was written. Answers the error. */
async function refusedUntouched(models: AnyModels, options: object = {}): Promise<unknown> {
  const before = await rig.dump();
  const error = await rig.open(models, options).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(await rig.dump()).toEqual(before);
  expect(rig.events).toEqual([]);
  return error;
}

describe('a model that needs migration and has no handler', () => {
  it('is refused with every reason of every such model, and nothing is written', async () => {
    await rig.open({ 1: CityV1, 2: thing('Other', '1.0'), 3: thing('Handled', '1.0') });
    const error = await refusedUntouched(
      { 1: CityV2, 2: thing('Other', '2.0'), 3: thing('Handled', '2.0'), 4: thing('New', '1.0') },
      { migrationHandler: { Handled: succeed } },
    );
    expect(error).toMatchObject({
      name: 'MigrationException',
      code: 'MIGRATION_HANDLER_MISSING',
      details: {
        models: [
          { modelId: 1, modelName: 'City' },
          { modelId: 2, modelName: 'Other' },
        ],
      },
    });
    const { message, details } = error as { message: string; details: { models: { reasons: object[] }[] } };
    expect(details.models[0]?.reasons.length).toBeGreaterThanOrEqual(3);
    for (const { reasons } of details.models) {
      for (const reason of reasons) expect(message).toContain((reason as { message: string }).message);
    }
    for (const name of ['City', 'latitude', 'longitude', 'Other']) expect(message).toContain(name);
    expect(message).not.toContain('Handled');
  });

  it('is refused also where a map of handlers leaves it out', async () => {
    await rig.open({ 1: CityV1, 2: thing('Other', '1.0') });
    const error = await refusedUntouched(
      { 1: CityV2, 2: thing('Other', '1.0') },
      { migrationHandler: { Other: succeed }, migrationVerifyHandler: { City: undefined } },
    );
    expect(error).toMatchObject({ code: 'MIGRATION_HANDLER_MISSING' });
  });
});

describe('a transform that does not fit', () => {
  const Stranger = defineModel({
    name: 'Stranger',
    version: '1.0',
    key: ['id'],
    properties: { id: string({ number: 1, required: true }) },
  });
  const CityV3 = defineModel({ ...CityV2, version: '3.0' });
  const fixture = (name: string) => new URL(`../rig/transforms/${name}`, import.meta.url);

  it.each([
    ['is of another model', () => backfill({ transform: defineTransform(Stranger, () => ({ id: '' })) })],
    [
      'makes another version',
      () => backfill({ transform: defineTransform(CityV1, CityV3, (city) => toCityV2(city) as never) }),
    ],
    ['takes another version', () => backfill({ transform: defineTransform(CityV3, CityV2, (city) => city) })],
    ['is a module that is not there', () => backfill({ module: fixture('absent.ts') })],
    [
      'is a module without a transform',
      () => backfill({ module: new URL('../rig/seed.ts', import.meta.url) }),
    ],
  ])('because it %s is refused, and nothing is written', async (_why, make) => {
    const error = await refusedUntouched({ 1: CityV2 }, { migrationHandler: { City: make() } });
    expect(error).toMatchObject({ code: 'TRANSFORM_INVALID' });
  });

  it.each([
    ['none of the ways', {}],
    ['several ways', { unchanged: true, transform: toCityV2 }],
    ['unchanged: false', { unchanged: false }],
    ['a relative path', { module: './city-v2.js' }],
    ['a web address', { module: new URL('https://example.com/x.js') }],
    ['no function', { transform: 7 }],
    ['another policy', { unchanged: true, onPoison: 'ignore' }],
    ['a limit below zero', { unchanged: true, maxQuarantined: -1 }],
  ])('is refused by backfill itself: %s', (_what, options) => {
    expect(() => backfill(options as never)).toThrow(expect.objectContaining({ code: 'TRANSFORM_INVALID' }));
  });
});

describe('a key that would change', () => {
  const keyed = (version: string, kind: typeof string | typeof int32) =>
    defineModel({
      name: 'Country',
      version,
      key: ['code'],
      properties: {
        code: kind === string ? string({ number: 1, required: true }) : int32({ number: 1, required: true }),
      },
    });
  const town = (weak: boolean) =>
    defineModel({
      name: 'Town',
      version: '1.0',
      key: ['id'],
      properties: {
        id: string({ number: 1, required: true }),
        country: reference({ number: 2, to: 'Country', weak }),
      },
    });
  const handler = { migrationHandler: { Country: backfill({ transform: () => ({ code: 1 }) }) } };

  it('is refused while another model refers to it, and nothing is written', async () => {
    await rig.open({ 1: CityV1, 2: keyed('1.0', string), 3: town(false) });
    const error = await refusedUntouched({ 1: CityV1, 2: keyed('2.0', int32), 3: town(false) }, handler);
    expect(error).toMatchObject({ code: 'KEY_CHANGE_REFERENCED', details: { referencedBy: ['Town'] } });
  });

  it('is no matter to a weak reference', async () => {
    const old = keyed('1.0', string);
    const first = await rig.open({ 1: CityV1, 2: old, 3: town(true) });
    await first.model(old).add({ code: 'de' });
    const store = await rig.open({ 1: CityV1, 2: keyed('2.0', int32), 3: town(true) }, handler);
    expect((await store.migrationStatus(2)).state).toBe('Idle');
    expect(rig.events.at(-1)).toMatchObject({ type: 'Completed', modelName: 'Country' });
  });
});

describe('options', () => {
  const open = (options: object) =>
    FoundationDBDataStore.open({
      database: 'memory:',
      subspace: ['test'],
      dataModelsById: {},
      ...options,
    } as StoreOptions);

  it.each([
    ['an unknown one', { migrationStartupBudget: 5 }, 'there is no option migrationStartupBudget'],
    ['no database', { database: undefined }, 'database is required'],
    ['an empty subspace', { subspace: [] }, 'subspace must be'],
    ['a store name with a dot', { storeName: 'a.b' }, 'storeName must be'],
    ['a subspace that makes no name', { subspace: ['a.b'] }, 'storeName must be given'],
    ['a budget below zero', { migrationStartupBudgetMs: -1 }, 'migrationStartupBudgetMs must be'],
    ['a budget that is no number', { migrationStartupBudgetMs: '5s' }, 'migrationStartupBudgetMs must be'],
    [
      'a flag that is no flag',
      { continueMigrationsInBackground: 1 },
      'continueMigrationsInBackground must be',
    ],
    ['no models side by side', { migrationMaxParallelModels: 0 }, 'migrationMaxParallelModels must be'],
    [
      'too many models side by side',
      { migrationMaxParallelModels: 65 },
      'migrationMaxParallelModels must be',
    ],
    ['half a range', { maxBackfillConcurrency: 1.5 }, 'maxBackfillConcurrency must be'],
    ['a rate of zero', { migrationMaxRecordsPerSecond: 0 }, 'migrationMaxRecordsPerSecond must be'],
    ['a throttle that is no function', { migrationThrottle: 5 }, 'migrationThrottle must be a function'],
    ['a stall in no time', { migrationStalledAfterMs: 999 }, 'migrationStalledAfterMs must be'],
    ['a stall in two days', { migrationStalledAfterMs: 86_400_001 }, 'migrationStalledAfterMs must be'],
    ['a ratio of zero', { migrationVerification: { sampleRatio: 0 } }, 'migrationVerification must be'],
    ['a ratio above one', { migrationVerification: { sampleRatio: 1.1 } }, 'migrationVerification must be'],
    ['another verification', { migrationVerification: 'some' }, 'migrationVerification must be'],
    ['another approval', { migrationContractApproval: true }, 'migrationContractApproval must be'],
    ['a lease without acquire', { migrationLease: {} }, 'migrationLease must be'],
    ['a timeout that is too short', { migrationLeaseTimeoutMs: 999 }, 'migrationLeaseTimeoutMs must be'],
    [
      'a timeout that is too short for a cluster',
      { database: 'fdb:', migrationLeaseTimeoutMs: 4_999 },
      'migrationLeaseTimeoutMs must be at least 5,000 on FoundationDB',
    ],
    ['a heartbeat that is too slow', { migrationLeaseHeartbeatMs: 3_334 }, 'at most a third'],
    ['an empty audit log', { migrationAuditLogMaxEntries: 0 }, 'migrationAuditLogMaxEntries must be'],
    [
      'a reporter that is no function',
      { migrationAuditEventReporter: {} },
      'migrationAuditEventReporter must be',
    ],
    ['no attempt', { migrationRetryPolicy: { maxAttempts: 0 } }, 'maxAttempts must be'],
    ['half a retry', { migrationRetryPolicy: { maxRetryOutcomes: 0.5 } }, 'maxRetryOutcomes must be'],
    ['a misspelt limit', { migrationRetryPolicy: { maxRetries: 3 } }, 'maxRetries'],
    ['a handler that is no function', { migrationHandler: 'City' }, 'migrationHandler must be'],
    ['an empty node id', { nodeId: '' }, 'nodeId must be'],
    ['a signal that is none', { signal: {} }, 'signal must be'],
  ])('are refused: %s', async (_what, options, text) => {
    await expect(open(options)).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: expect.stringContaining(text) as string,
    });
  });

  it('are refused all at once', async () => {
    await expect(open({ nodeId: '', storeName: 'ä', nonsense: 1 })).rejects.toMatchObject({
      details: { problems: [{}, {}, {}].map(() => expect.any(String) as string) },
    });
  });

  it('may be left out or undefined', async () => {
    const store = await open({ migrationStartupBudgetMs: undefined, signal: undefined });
    await store.close();
    expect(store.readiness().ready).toBe(true);
  });
});

describe('a map of handlers', () => {
  it.each([
    ['migrationExpandHandler'],
    ['migrationHandler'],
    ['migrationVerifyHandler'],
    ['migrationContractHandler'],
  ])('with a name that is no model is refused: %s', async (name) => {
    const error = await refusedUntouched({ 1: CityV1 }, { [name]: { Citty: succeed } });
    expect(error).toMatchObject({ code: 'MODEL_UNKNOWN', details: { option: name, models: ['Citty'] } });
  });

  it.each([
    ['text', { migrationHandler: { City: 'text' } }],
    ['a bare object', { migrationHandler: { City: { kind: 'backfill' } } }],
    ['a backfill for another phase', { migrationExpandHandler: { City: backfill({ unchanged: true }) } }],
    ['a backfill for another phase of all models', { migrationVerifyHandler: backfill({ unchanged: true }) }],
  ])('with what is no handler is refused: %s', async (_what, options) => {
    expect(await refusedUntouched({ 1: CityV2 }, options)).toMatchObject({ code: 'OPTION_INVALID' });
  });
});
