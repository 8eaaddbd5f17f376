import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationContext } from '../../src/migration/context.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { step } from '../../src/migration/step-spec.ts';
import { defineModel } from '../../src/model/index.ts';
import { CityV2, toCityV2 } from '../rig/migration.ts';
import { createTrapRig, inBackground } from '../rig/trap-rig.ts';
import { approvalRow, manual, startedPhases, waitForApproval, watching } from '../rig/approval.ts';
import type { Barrier, World } from '../rig/operators.ts';
import {
  codeOf,
  createBarrier,
  createWorld,
  expectIndexesToBeRight,
  toV2,
  toV3,
  TownV1,
  TownV2,
  TownV3,
  waitForStatus,
  waitUntil,
} from '../rig/operators.ts';

const towns = 20;

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

describe('with approval by hand, a migration', () => {
  it('waits behind the closed gate once it is verified, and begins Contract when any node approves', async () => {
    await world.fill(towns);
    let contracted = 0;
    const store = await world.open({
      ...manual,
      nodeId: 'leader',
      migrationContractHandler: ({ previousState }: MigrationContext) => {
        contracted += 1;
        expect(previousState?.message).toBe('approved by kim: looks well');
        return Promise.resolve(MigrationOutcome.Success);
      },
    });
    const operator = await world.open(watching);

    expect(await waitForApproval(operator)).toMatchObject({
      state: 'Waiting',
      phase: 'Verify',
      blocking: true,
      owner: { nodeId: 'leader' },
      progress: { fraction: 1 },
      lastError: null,
      reason: {
        code: 'approval',
        message: 'verification has passed; Contract begins once an operator calls approveMigration',
        sinceMs: expect.any(Number) as number,
      },
    });
    expect(await codeOf(store.model(TownV2).count())).toBe('MODEL_MIGRATING');
    expect(await store.migrationVerification(1)).toMatchObject({ passed: true });
    expect(contracted).toBe(0);

    const approved = await operator.approveMigration(1, 'looks well', { by: 'kim' });
    expect(approved).toMatchObject({ state: 'Running', phase: 'Verify', owner: { nodeId: 'leader' } });
    expect(approved.reason).toBeUndefined();
    await Promise.all([store.awaitMigration(1), operator.awaitMigration(1)]);
    expect(contracted).toBe(1);
    expect(await store.model(TownV2).count()).toBe(towns);
    await expectIndexesToBeRight(world);
    expect(startedPhases(world)).toEqual(['Expand', 'Backfill', 'Verify', 'Contract']);
    expect(world.audit.filter(({ phase, type }) => phase === 'Contract' && type === 'PhaseStarted')).toEqual([
      expect.objectContaining({ message: 'approved by kim: looks well', nodeId: 'leader' }),
    ]);
    expect(await approvalRow(world)).toBeUndefined();
  });

  it('waits although Contract has no handler, and says where nothing was verified', async () => {
    await world.fill(3);
    const store = await world.open({ ...manual, migrationVerification: 'off' });
    const { reason } = await waitForApproval(store);
    expect(reason?.message).toMatch(/^nothing was verified; /);
    expect(startedPhases(world)).toEqual(['Expand', 'Backfill', 'Verify']);
    await store.approveMigration(1, 'as ever', { by: 'kim' });
    await store.awaitMigration(1);
    expect(world.audit.find(({ phase }) => phase === 'Contract')?.message).toBe(
      'approved by kim: as ever (nothing was verified)',
    );
  });

  it('waits inside open, for as long as its budget lasts', async () => {
    await world.fill(3);
    const patient = { ...manual, continueMigrationsInBackground: false };
    const operator = await world.open(watching);
    const opening = world.open({ ...patient, migrationStartupBudgetMs: 20 });
    expect(await codeOf(opening)).toBe('MIGRATION_PENDING');
    const opened = world.open({ ...patient, migrationStartupBudgetMs: undefined });
    await waitUntil('somebody owns it', async () => (await operator.migrationStatus(1)).owner !== null);
    await waitForApproval(operator);
    await operator.approveMigration(1);
    expect(await (await opened).model(TownV2).count()).toBe(3);
  });

  it('remembers across restarts what was approved while nobody owned it', async () => {
    await world.fill(3);
    const first = await world.open(manual);
    await waitForApproval(first);
    await first.close();
    const operator = await world.open(watching);
    expect(await waitForApproval(operator)).toMatchObject({ state: 'Waiting', owner: null, phase: 'Verify' });
    expect(await operator.approveMigration(1)).toMatchObject({
      state: 'Waiting',
      reason: { code: 'lease' },
    });
    await operator.close();

    const second = await world.open(manual);
    await second.awaitMigration(1);
    expect(startedPhases(world)).toEqual(['Expand', 'Backfill', 'Verify', 'Contract']);
    expect(world.audit.find(({ phase }) => phase === 'Contract')?.message).toBe(
      'approved by operator: Approved by operator',
    );
  });

  it('goes on waiting with the node that takes it over', async () => {
    await world.fill(3);
    const first = await world.open({ ...manual, nodeId: 'first' });
    await waitForApproval(first);
    const second = await world.open({ ...manual, nodeId: 'second' });
    await first.close();
    await waitUntil('the second owns it', async () => {
      const { owner } = await second.migrationStatus(1);
      return owner?.nodeId === 'second';
    });
    expect((await waitForApproval(second)).owner?.nodeId).toBe('second');
    // Taken away by force, it comes back to whoever is there, and waits on.
    await second.releaseLease(1);
    await waitUntil('it is owned anew', async () => {
      const { owner } = await second.migrationStatus(1);
      return owner !== null && owner.epoch > 2;
    });
    expect(startedPhases(world)).toEqual(['Expand', 'Backfill', 'Verify']);
    await waitForApproval(second);
    await second.approveMigration(1);
    await second.awaitMigration(1);
    expect(await second.model(TownV2).count()).toBe(3);
  });

  it('is not held by the option of a node that does not own it', async () => {
    await world.fill(3);
    const first = await world.open(manual);
    await waitForApproval(first);
    const operator = await world.open(watching);
    await first.close();
    const second = await world.open({ ...manual, migrationContractApproval: 'automatic' });
    await Promise.all([second.awaitMigration(1), operator.awaitMigration(1)]);
    expect(world.audit.find(({ phase }) => phase === 'Contract')?.message).toBeNull();
  });

  it('waits also in the middle of Contract, where an owner of another option had begun that', async () => {
    await world.fill(3);
    barrier.shut();
    const migrationContractHandler = async () => {
      await barrier.pass();
      return MigrationOutcome.Partial();
    };
    const first = await world.open({
      ...manual,
      migrationContractApproval: 'automatic',
      migrationContractHandler,
    });
    await waitUntil('it is in Contract', () => barrier.waiting > 0);
    const closed = first.close();
    barrier.open();
    await closed;
    const second = await world.open({ ...manual, nodeId: 'second' });
    let status = await second.migrationStatus(1);
    await waitUntil('the second owns it', async () => {
      status = await second.migrationStatus(1);
      return status.owner?.nodeId === 'second';
    });
    expect(status).toMatchObject({ phase: 'Contract', state: 'Waiting', reason: { code: 'approval' } });
    await second.approveMigration(1);
    await second.awaitMigration(1);
  });

  it('is not approved by what was said of another one', async () => {
    await world.fill(3);
    const other = { migrationId: 'Town:1.0->2.0#0000', id: 'x', by: 'kim', reason: '', atMs: 1 };
    await world.database.transact((tx) => {
      tx.set(world.keys.approval, Buffer.from(JSON.stringify(other)));
      return Promise.resolve();
    });
    const store = await world.open({ ...manual });
    const { migrationId } = await waitForApproval(store);
    // As a release before this one may have left it, while it waits.
    await world.database.transact((tx) => {
      tx.set(world.keys.approval, Buffer.from(JSON.stringify(other)));
      return Promise.resolve();
    });
    expect((await store.migrationStatus(1)).reason?.code).toBe('approval');
    const status = await store.approveMigration(1);
    expect(status.migrationId).toBe(migrationId);
    const row = JSON.parse(String(await approvalRow(world))) as { readonly migrationId: string };
    expect(row.migrationId).toBe(migrationId);
    await store.awaitMigration(1);
  });
});

it('Contract does not begin where the approval is taken away while it is about to', async () => {
  const rig = createTrapRig();
  try {
    await rig.fill(3);
    const store = await rig.open({
      ...inBackground,
      dataModelsById: { 1: CityV2 },
      migrationHandler: backfill({ transform: toCityV2 }),
      migrationContractApproval: 'manual',
    });
    const { owner } = await waitForApproval(store);
    let takenAway = 0;
    rig.beforeCommit = async (commit) => {
      if (!commit.sets(rig.keys.state) || takenAway > 0) return;
      takenAway += 1;
      await rig.database.transact((tx) => Promise.resolve(tx.clear(rig.keys.approval)));
    };
    await store.approveMigration(1);
    await waitUntil('it is owned anew, or over', async () => {
      const { state, owner: next } = await store.migrationStatus(1);
      return state === 'Idle' || (next !== null && next.epoch > (owner?.epoch ?? 0));
    });
    expect(takenAway).toBe(1);
    expect(rig.events.filter(({ phase }) => phase === 'Contract')).toEqual([]);
    await waitForApproval(store);
    await store.approveMigration(1);
    await store.awaitMigration(1);
    expect(await store.model(CityV2).count()).toBe(3);
  } finally {
    await rig.close();
  }
});

describe('an approval is void', () => {
  it('once the records are verified anew', async () => {
    // Nothing is written, so a failure opens the model again, and a resume begins with Expand.
    await world.fill(0);
    let calls = 0;
    const store = await world.open({
      ...manual,
      migrationContractHandler: () => {
        calls += 1;
        return Promise.resolve(calls === 1 ? MigrationOutcome.Fatal('not today') : MigrationOutcome.Success);
      },
    });
    await waitForApproval(store);
    await store.approveMigration(1);
    await waitForStatus(store, 'Failed');
    await store.resumeMigration(1);
    await waitForApproval(store);
    expect(await approvalRow(world)).toBeUndefined();
    expect(startedPhases(world).slice(4)).toEqual(['Expand', 'Backfill', 'Verify']);
    expect(calls).toBe(1);
    await store.approveMigration(1);
    await store.awaitMigration(1);
    expect(calls).toBe(2);
  });

  it('once it was used: the next version waits for its own', async () => {
    await world.fill(3);
    const store = await world.open({
      ...manual,
      dataModelsById: { 1: TownV3 },
      composeMigrationSteps: false,
      migrationHandler: undefined,
      migrations: {
        Town: [
          step('1.0', '2.0', { dataModel: TownV2, migrationHandler: backfill({ transform: toV2 }) }),
          step('2.0', '3.0', { migrationHandler: backfill({ transform: toV3 }) }),
        ],
      },
    });
    const first = await waitForApproval(store);
    await store.approveMigration(1);
    await waitUntil('the next step waits', async () => {
      const { migrationId, reason } = await store.migrationStatus(1);
      return migrationId !== first.migrationId && reason?.code === 'approval';
    });
    expect(await approvalRow(world)).toBeUndefined();
    await store.approveMigration(1);
    await store.awaitMigration(1);
    expect(await store.model(TownV3).count()).toBe(3);
    const contracts = world.audit.filter(
      ({ phase, type }) => phase === 'Contract' && type === 'PhaseStarted',
    );
    expect(contracts).toHaveLength(2);
  });
});

it('a chain of versions that is taken in one pass is approved once', async () => {
  await world.fill(3);
  const store = await world.open({
    ...manual,
    dataModelsById: { 1: TownV3 },
    migrationHandler: undefined,
    migrations: {
      Town: [
        step('1.0', '2.0', { dataModel: TownV2, migrationHandler: backfill({ transform: toV2 }) }),
        step('2.0', '3.0', { migrationHandler: backfill({ transform: toV3 }) }),
      ],
    },
  });
  await waitForApproval(store);
  await store.approveMigration(1);
  await store.awaitMigration(1);
  expect(await store.model(TownV3).count()).toBe(3);
  expect(startedPhases(world)).toEqual(['Expand', 'Backfill', 'Verify', 'Contract']);
});

it('an added index waits for nobody', async () => {
  await world.fill(3);
  const Town = defineModel({
    name: 'Town',
    version: '1.1',
    key: ['id'],
    properties: TownV1.properties,
    indexes: [...TownV1.indexes, { name: 'byId', on: ['id'] }],
  });
  const store = await world.open({ ...manual, dataModelsById: { 1: Town }, migrationHandler: undefined });
  await store.awaitMigration(1);
  expect(startedPhases(world)).toEqual(['Backfill', 'Verify']);
  await expectIndexesToBeRight(world);
});
