import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KeyValueError, KeyValueErrorCode } from '../../src/kv/kv.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationContext } from '../../src/migration/context.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { defineModel } from '../../src/model/index.ts';
import { rangeOf } from '../../src/records/keys.ts';
import type { StoreOptions } from '../../src/store/options.ts';
import { waitForApproval } from '../rig/approval.ts';
import { CityV1, CityV2, cityId, createLatch, toCityV2, typesOf } from '../rig/migration.ts';
import type { CommitObserver, TrapRig } from '../rig/trap-rig.ts';
import { createTrapRig, inBackground } from '../rig/trap-rig.ts';

/** What happens when nobody knows whether a commit was applied (1021): once, and as if nothing had been. */

let rig: TrapRig;
beforeEach(() => {
  rig = createTrapRig();
});
afterEach(() => rig.close());

const cities = 250;
const models = { 1: CityV2 };
const ByName = defineModel({ ...CityV1, version: '2.0', key: ['name', 'id'] });
const toByName = { dataModelsById: { 1: ByName }, migrationHandler: backfill({ unchanged: true }) };
const migrationHandler = { City: backfill({ transform: toCityV2 }) };
const answers = ['applied', 'lost'] as const;

const unknown: CommitObserver = ({ attempt }) => {
  if (attempt === 0) throw new KeyValueError(KeyValueErrorCode.commitUnknownResult);
};

/** From now on the answer to the first attempt of every commit is 1021. */
function doubt(answer: (typeof answers)[number]): void {
  if (answer === 'applied') rig.afterCommit = unknown;
  else rig.beforeCommit = unknown;
}

function trust(): void {
  rig.afterCommit = undefined;
  rig.beforeCommit = undefined;
}

/** Takes all cities over by itself, each in a transaction that advances. */
async function byHand(context: MigrationContext): Promise<MigrationOutcome> {
  for await (const { record, cursor } of context.records({ after: context.cursor })) {
    await context.transact(async (tx) => {
      const { lat, lng, ...rest } = record;
      await tx.write({ ...rest, latitude: Number(lat), longitude: Number(lng) });
      tx.advance(cursor, { records: 1 });
    });
  }
  return MigrationOutcome.Success;
}

const outcomes = [MigrationOutcome.Partial({ nextCursor: 'a' }), MigrationOutcome.Retry({ retryAfterMs: 1 })];

/** Answers everything that a handler may, one after another. */
function createExpand() {
  const left = [...outcomes];
  return async () => left.shift() ?? MigrationOutcome.Success;
}

async function migrate(
  count: number,
  options: Partial<StoreOptions>,
  answer?: (typeof answers)[number],
): Promise<unknown> {
  await rig.fill(count);
  if (answer !== undefined) doubt(answer);
  const store = await rig.open({
    migrationExpandHandler: createExpand(),
    persistMigrationAuditEvents: true,
    ...options,
    dataModelsById: models,
  });
  trust();
  const kept = await store.migrationAuditEvents(1);
  const metrics = await store.migrationMetrics(1);
  const records = await store.model(CityV2).count();
  const attempts = rig.events.map(({ attempt }) => attempt);
  return { reported: typesOf(rig.events), attempts, kept: typesOf(kept), metrics: counted(metrics), records };
}

/** Heartbeats and audit events of others may conflict, and time passes. */
const counted = (metrics: object) =>
  Object.entries(metrics).filter(([name]) => name !== 'conflicts' && name !== 'lastEventAtMs');

describe.each(answers)('a migration of which every first commit is %s, with an unknown result', (answer) => {
  it.each([
    ['transform', cities, { migrationHandler }],
    ['hand-written handler', 20, { migrationHandler: byHand }],
  ])('goes as any other, by %s', async (_by, count, options) => {
    const undisturbed = await migrate(count, options);
    await rig.close();
    rig = createTrapRig();
    expect(await migrate(count, options, answer)).toEqual(undisturbed);
  });
});

/** From now on a chunk is applied, and whoever sent it hears that it took too long: so it is tried again, smaller. */
function failFirstChunk(): void {
  rig.afterCommit = (commit) => {
    if (!commit.sets(rig.keys.touched)) return;
    rig.afterCommit = undefined;
    throw new KeyValueError(KeyValueErrorCode.timedOut);
  };
}

describe('a chunk that is applied, and is said to have timed out,', () => {
  const oneMover = { dataModelsById: models, maxBackfillConcurrency: 1 };

  it('is counted once', async () => {
    await rig.fill(cities);
    failFirstChunk();
    const store = await rig.open({ ...oneMover, migrationHandler });
    expect(rig.afterCommit).toBe(undefined);
    expect(await store.migrationMetrics(1)).toMatchObject({ recordsMoved: cities, failed: 0 });
  });

  it('leaves no record behind where what it has moved is gone from its place', async () => {
    await rig.fill(cities);
    failFirstChunk();
    const store = await rig.open({ ...toByName, maxBackfillConcurrency: 1 });
    expect(rig.afterCommit).toBe(undefined);
    expect(await store.model(ByName).count()).toBe(cities);
  });
});

it('a record that lies in its old key space behind the backfill is not swept, but keeps it from ending', async () => {
  await rig.fill(3);
  const { begin, end } = rangeOf(rig.keys.records(1));
  const [stray] = await rig.database.transact((tx) => tx.getRangeAll(begin, end, { limit: 1 }));
  if (stray === undefined) throw new Error('there are no cities');
  await rig.database.transact((tx) => Promise.resolve(tx.clear(stray.key)));
  rig.afterCommit = async (commit) => {
    if (!commit.sets(rig.keys.touched)) return;
    rig.afterCommit = undefined;
    await rig.database.transact((tx) => Promise.resolve(tx.set(stray.key, stray.value)));
  };
  const store = await rig.open({ ...toByName, ...inBackground, migrationVerification: 'off' });
  await expect(store.awaitMigration(1)).rejects.toThrow('VERIFICATION_FAILED');
  await store.resetMigration(1);
  await store.awaitMigration(1);
  expect(await store.model(ByName).count()).toBe(3);
});

it('a step whose end is applied, with an unknown result, keeps its lease', async () => {
  await rig.fill(3);
  let isDoubted = false;
  rig.afterCommit = (commit) => {
    if (isDoubted || !commit.sets(rig.keys.state) || commit.sets(rig.keys.owner)) return;
    isDoubted = true;
    throw new KeyValueError(KeyValueErrorCode.commitUnknownResult);
  };
  await rig.open({ dataModelsById: models, migrationHandler });
  trust();
  expect(isDoubted).toBe(true);
  expect(rig.events.filter(({ type }) => type === 'LeaseAcquired')).toHaveLength(1);
});

describe.each(answers)('an operator’s call that is %s, with an unknown result,', (answer) => {
  it('is obeyed and counted once', async () => {
    await rig.fill(3);
    const called = createLatch();
    const store = await rig.open({
      ...inBackground,
      dataModelsById: models,
      migrationHandler,
      migrationExpandHandler: async ({ signal }) => {
        called.open();
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        return MigrationOutcome.Partial();
      },
    });
    await called.opened;
    doubt(answer);
    await store.pauseMigration(1);
    await untilAudited('Paused');
    await store.cancelMigration(1);
    trust();
    expect(await store.migrationMetrics(1)).toMatchObject({ paused: 1, resumed: 0, canceled: 1, failed: 0 });
    const told = rig.events.map(({ type }) => type).filter((type) => /Paused|Canceled/.test(type));
    expect(told).toEqual(['Paused', 'Canceled']);
  });

  it('approves once, also where Contract is over before the answer is known', async () => {
    await rig.fill(3);
    const store = await rig.open({
      ...inBackground,
      dataModelsById: models,
      migrationHandler,
      migrationContractApproval: 'manual',
    });
    await waitForApproval(store);
    const operator = await rig.open({ dataModelsById: { 1: CityV1 } });
    let attempts = 0;
    const doubtful: CommitObserver = async (commit) => {
      if (!commit.sets(rig.keys.approval)) return;
      attempts += 1;
      if (commit.attempt > 0) return;
      if (answer === 'applied') await store.awaitMigration(1);
      throw new KeyValueError(KeyValueErrorCode.commitUnknownResult);
    };
    if (answer === 'applied') rig.afterCommit = doubtful;
    else rig.beforeCommit = doubtful;
    await operator.approveMigration(1);
    trust();
    await store.awaitMigration(1);
    expect(attempts).toBe(answer === 'applied' ? 1 : 2);
    expect(typesOf(rig.events).filter((type) => type === 'Contract PhaseStarted')).toHaveLength(1);
  });

  it('resets once', async () => {
    await rig.fill(cities);
    await rig.stopHalfWay({ dataModelsById: models, migrationHandler, maxBackfillConcurrency: 1 });
    // Of the old program: it does not begin anew what it has reset.
    const store = await rig.open({ dataModelsById: { 1: CityV1 } });
    doubt(answer);
    await store.resetMigration(1);
    trust();
    expect(await store.migrationMetrics(1)).toMatchObject({ canceled: 1 });
    expect(typesOf(rig.events).filter((type) => type.endsWith('Canceled'))).toEqual(['Backfill Canceled']);
  });

  it('puts a record in quarantine back once', async () => {
    await rig.fill(3);
    const poisoned = backfill({
      onPoison: 'quarantine',
      transform: (city: Readonly<Record<string, unknown>>) => {
        if (city['id'] === cityId(1)) throw new Error('poison');
        return toCityV2(city);
      },
    });
    await rig.open({ dataModelsById: models, migrationHandler: { City: poisoned } });
    const store = await rig.open({ dataModelsById: models, migrationHandler });
    doubt(answer);
    expect(await store.retryQuarantined(1)).toEqual({ restored: 1, left: [] });
    trust();
    expect(await store.model(CityV2).count()).toBe(3);
  });
});

it('a reset whose answer comes late resets nothing that began behind it', async () => {
  await rig.fill(cities);
  let hold = createLatch();
  rig.beforeCommit = async (commit) => {
    if (commit.sets(rig.keys.touched)) await hold.opened;
  };
  const store = await rig.open({ dataModelsById: models, migrationHandler, ...inBackground });
  await store.cancelMigration(1);
  hold.open();
  await untilAudited('Canceled');
  hold = createLatch();
  rig.afterCommit = async (commit) => {
    if (!commit.clears(rig.keys.state) || commit.attempt > 0) return;
    rig.afterCommit = undefined;
    await untilAudited('LeaseAcquired', 2);
    throw new KeyValueError(KeyValueErrorCode.commitUnknownResult);
  };
  await store.resetMigration(1);
  hold.open();
  await store.awaitMigration(1);
  expect(await store.migrationMetrics(1)).toMatchObject({ canceled: 2, started: 2, completed: 1 });
});

async function untilAudited(type: string, times = 1): Promise<void> {
  while (rig.events.filter((event) => event.type === type).length < times) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}
