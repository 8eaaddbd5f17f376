import { afterEach, beforeEach, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { FoundationDBMigrationLease } from '../../src/migration/foundationdb-lease.ts';
import { startBeats } from '../../src/migration/lease-beats.ts';
import type { MigrationLease } from '../../src/migration/lease.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { readOwner } from '../../src/migration/owner.ts';
import { readRanges } from '../../src/migration/passes/ledger.ts';
import { readState } from '../../src/migration/state.ts';
import { systemClock } from '../../src/ports/clock.ts';
import { systemProcess } from '../../src/ports/process.ts';
import { systemRandom } from '../../src/ports/random.ts';
import { readFence } from '../../src/records/fence.ts';
import type { FoundationDBDataStore } from '../../src/store/store.ts';
import { answers, CityV1, CityV2, cityId, createLatch, succeed, toCityV2 } from '../rig/migration.ts';
import type { TrapRig } from '../rig/trap-rig.ts';
import { createTrapRig, inBackground, letThingsHappen, outcomeOf } from '../rig/trap-rig.ts';
import { createVirtualClock } from '../rig/virtual-clock.ts';

/** Traps 1 to 4, 8, 9 and 14 of the design, each of which `npm run traps` shows to be caught here. */

let rig: TrapRig;
beforeEach(() => {
  rig = createTrapRig();
});
afterEach(() => rig.close());

const models = { 1: CityV2 };
const migrationHandler = backfill({ transform: toCityV2 });

/** For a node that never gets to migrate. */
const lookingOn: MigrationLease = {
  acquire: () =>
    Promise.resolve({
      refused: true,
      holder: undefined,
      worthRetrying: (signal) =>
        new Promise((resolve) => {
          signal.addEventListener('abort', () => resolve());
        }),
    }),
  explain: () => Promise.resolve(undefined),
};

const readOwnership = () =>
  rig.database.transact(async (tx) => {
    const [fence, state, owner, rows] = await Promise.all([
      readFence(tx, rig.keys),
      readState(tx, rig.keys),
      readOwner(tx, rig.keys),
      readRanges(tx, rig.keys),
    ]);
    return { fence, state, ranges: rows.length, isOwned: (owner?.token ?? '') !== '' };
  });

/** The default lease, as an application may put it into one of its own. */
function createLease(session: string): FoundationDBMigrationLease {
  systemProcess.sessions.add(session);
  return new FoundationDBMigrationLease({
    database: rig.database,
    keys: rig.storeKeys,
    session,
    timeoutMs: 10_000,
    heartbeatMs: 2_500,
    startBeats,
    clock: systemClock,
    random: systemRandom,
    process: systemProcess,
  });
}

it('trap 1: no commit publishes a definition and leaves state or ranges, nor the other way round', async () => {
  await rig.fill(20);
  const found: string[] = [];
  rig.afterCommit = async () => {
    const { fence, state, ranges } = await readOwnership();
    if (fence === undefined) return;
    const isUnderWay = fence.state === 'migrating';
    const what = `${fence.state} ${state === undefined ? 'without' : 'with'} state, ${ranges} ranges`;
    if (isUnderWay !== (state !== undefined) || (!isUnderWay && ranges > 0)) found.push(what);
  };
  await rig.open({ dataModelsById: models, migrationHandler });
  expect(found).toEqual([]);
});

it('trap 2: a plan that another node carried out before the lease was acquired is not carried out again', async () => {
  await rig.fill(3);
  const finished = createLatch();
  const late = createLease('late');
  const migrationLease: MigrationLease = {
    async acquire(request) {
      await finished.opened;
      return late.acquire(request);
    },
    explain: (modelId) => late.explain(modelId),
  };
  const handler = answers();
  const opening = rig.open({
    dataModelsById: models,
    migrationExpandHandler: handler,
    migrationHandler,
    migrationLease,
  });
  await rig.open({ dataModelsById: models, migrationHandler });
  const { fence } = await readOwnership();
  finished.open();
  await outcomeOf(opening);
  expect(handler.calls).toHaveLength(0);
  expect((await readOwnership()).fence).toEqual(fence);
  expect(await outcomeOf(opening)).toBe('done');
});

it('trap 3: a node that waited serves as soon as another node has published', async () => {
  await rig.fill(3);
  const [go, finished] = [createLatch(), createLatch()];
  const options = { dataModelsById: models, migrationHandler, ...inBackground };
  await rig.open({
    ...options,
    migrationExpandHandler: async () => {
      await go.opened;
      return MigrationOutcome.Success;
    },
    migrationAuditEventReporter({ type }) {
      if (type === 'Completed') finished.open();
    },
  });
  const waiting = await rig.open(options);
  const reading = () => outcomeOf(waiting.model(CityV2).get(cityId(1)));
  expect(await reading()).toBe('MODEL_MIGRATING');
  go.open();
  await finished.opened;
  expect(await reading()).toBe('done');
});

it('trap 4: whoever is told of the completion can use the model', async () => {
  await rig.fill(3);
  const told = createLatch();
  const go = createLatch();
  let reading: Promise<unknown> = Promise.resolve();
  const store: FoundationDBDataStore<typeof models> = await rig.open({
    dataModelsById: models,
    migrationExpandHandler: async () => {
      await go.opened;
      return MigrationOutcome.Success;
    },
    migrationHandler,
    migrationAuditEventReporter({ type }) {
      if (type !== 'Completed') return;
      reading = outcomeOf(store.model(CityV2).get(cityId(1)));
      told.open();
    },
    ...inBackground,
  });
  go.open();
  await told.opened;
  expect(await reading).toBe('done');
});

it('trap 8: a lease is given back when a step fails before its handler is called', async () => {
  await rig.fill(3);
  rig.beforeCommit = async (commit) => {
    // The start of the first phase: the one after the acquisition that writes the state alone.
    const isStart = commit.sets(rig.keys.state) && !commit.sets(rig.keys.owner);
    if (isStart) throw new TypeError('a fault of this library');
  };
  const store = await rig.open({
    dataModelsById: models,
    migrationHandler,
    continueMigrationsInBackground: true,
  });
  expect(await store.migrationStatus(1)).toMatchObject({ state: 'Failed', owner: null });
  expect((await readOwnership()).isOwned).toBe(false);
});

it('trap 8: a lease of the application is given back when the plan turns out to be carried out', async () => {
  await rig.fill(3);
  const inner = createLease('theirs');
  const finished = createLatch();
  const migrationLease: MigrationLease = {
    async acquire({ modelId, migrationId, nodeId, signal }) {
      await finished.opened;
      return inner.acquire({ modelId, migrationId, nodeId, signal });
    },
    explain: (modelId) => inner.explain(modelId),
  };
  const opening = rig.open({ dataModelsById: models, migrationHandler, migrationLease });
  await rig.open({ dataModelsById: models, migrationHandler });
  finished.open();
  await opening;
  expect(await readOwnership()).toMatchObject({ isOwned: false });
});

it('trap 9: a heartbeat in the middle of a chunk costs the chunk nothing', async () => {
  await rig.fill(50);
  const clock = createVirtualClock();
  const beats = async () => (await rig.database.transact((tx) => tx.get(rig.keys.beat)))?.toString();
  let beaten = 0;
  rig.beforeCommit = async (commit) => {
    if (commit.attempt > 0 || !commit.setsUnder(rig.keys.ranges('backfill')) || beaten > 0) return;
    if (!commit.sets(rig.keys.touched)) return;
    beaten += 1;
    const before = await beats();
    clock.advance(2_500);
    while ((await beats()) === before) await letThingsHappen();
  };
  const store = await rig.open({ dataModelsById: models, migrationHandler }, { clock });
  expect(beaten).toBe(1);
  expect(await store.migrationMetrics(1)).toMatchObject({ recordsMoved: 50, conflicts: 0 });
});

it('trap 14: a cancel that commits before the publication does has won, and everybody says so', async () => {
  await rig.fill(3);
  const operator = await rig.open({
    dataModelsById: models,
    migrationHandler,
    migrationExpandHandler: succeed,
    migrationLease: lookingOn,
    ...inBackground,
  });
  let answer: string | undefined;
  rig.beforeCommit = async (commit) => {
    if (!commit.clears(rig.keys.state) || answer !== undefined) return;
    answer = 'asked';
    answer = (await operator.cancelMigration(1)).reason?.code;
  };
  const owner = await rig.open({
    dataModelsById: models,
    migrationHandler,
    migrationExpandHandler: succeed,
    continueMigrationsInBackground: true,
  });
  expect(answer).toBe('canceling');
  expect((await owner.migrationStatus(1)).state).toBe('Canceled');
  expect((await operator.migrationStatus(1)).state).toBe('Canceled');
  expect((await readOwnership()).fence?.state).toBe('migrating');
  expect(rig.events.map(({ type }) => type)).not.toContain('Completed');
});

it('trap 14: a publication that commits before the cancel does has won, and the cancel is told', async () => {
  await rig.fill(3);
  const store = await rig.open({ dataModelsById: models, migrationHandler });
  expect(await outcomeOf(store.cancelMigration(1))).toBe('MIGRATION_NOT_PENDING');
  const old = await rig.open({ dataModelsById: { 1: CityV1 } });
  expect(await outcomeOf(old.cancelMigration(1))).toBe('MIGRATION_NOT_PENDING');
});
