import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { WholeMessageBus } from '../../src/cluster/bus.ts';
import { localBus } from '../../src/cluster/local-bus.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationContext } from '../../src/migration/context.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import type { ControlReply } from '../../src/remote/replies.ts';
import { approvalRow, manual, startedPhases, waitForApproval, watching } from '../rig/approval.ts';
import type { Barrier, World } from '../rig/operators.ts';
import {
  codeOf,
  createBarrier,
  createWorld,
  errorFrom,
  expectIndexesToBeRight,
  heldHandler,
  toV2,
  toV3,
  TownV1,
  TownV2,
  TownV3,
  waitForStatus,
  waitUntil,
} from '../rig/operators.ts';
import { expectWellFormed } from '../rig/subject-schemas.ts';

const towns = 20;

let world: World;
let barrier: Barrier;
let bus: WholeMessageBus;
beforeEach(async () => {
  world = createWorld();
  barrier = createBarrier();
  bus = localBus();
  await world.fill(towns);
});
afterEach(async () => {
  barrier.open();
  await world.close();
});

async function ask(about: string, body: object = {}): Promise<ControlReply> {
  const payload = Buffer.from(JSON.stringify(body));
  const reply = await bus.request(`godwit.geo.control.${about}`, payload, { timeoutMs: 10_000 });
  expectWellFormed('reply', reply);
  return JSON.parse(Buffer.from(reply).toString()) as ControlReply;
}

describe('a migration that waits for an approval', () => {
  it('is paused at once, may be approved then, and goes on with Contract when it is resumed', async () => {
    const store = await world.open(manual);
    await waitForApproval(store);
    expect(await store.pauseMigration(1, 'lunch')).toMatchObject({
      state: 'Waiting',
      reason: { code: 'pausing' },
    });
    await waitForStatus(store, 'Paused');
    expect(await store.approveMigration(1)).toMatchObject({ state: 'Paused', phase: 'Verify', attempt: 1 });
    await store.resumeMigration(1);
    await store.awaitMigration(1);
    expect(startedPhases(world)).toEqual(['Expand', 'Backfill', 'Verify', 'Contract']);
    expect(await store.model(TownV2).count()).toBe(towns);
  });

  it('is canceled at once, cannot be approved then, and waits again when it is resumed', async () => {
    const store = await world.open(manual);
    await waitForApproval(store);
    await store.cancelMigration(1, 'no');
    await waitForStatus(store, 'Canceled');
    const refusal = await errorFrom(store.approveMigration(1));
    expect(refusal.code).toBe('APPROVAL_NOT_AWAITED');
    expect(refusal.message).toContain('was canceled. Call resumeMigration');
    expect(refusal.details).toMatchObject({ modelId: 1, phase: 'Verify', state: 'Canceled' });
    await store.resumeMigration(1);
    await waitForApproval(store);
    expect(startedPhases(world)).toEqual(['Expand', 'Backfill', 'Verify']);
    await store.approveMigration(1);
    await store.awaitMigration(1);
    expect(await store.model(TownV2).count()).toBe(towns);
  });

  it('ends at once with its store, and nothing is forgotten', async () => {
    const store = await world.open(manual);
    await waitForApproval(store);
    await store.close();
    const operator = await world.open(watching);
    expect(await operator.migrationStatus(1)).toMatchObject({
      state: 'Waiting',
      owner: null,
      phase: 'Verify',
      attempt: 1,
      reason: { code: 'approval' },
    });
  });

  it('is reset, and the approval with it', async () => {
    const store = await world.open(manual);
    await waitForApproval(store);
    await store.pauseMigration(1);
    await waitForStatus(store, 'Paused');
    await store.approveMigration(1);
    expect(await approvalRow(world)).toBeDefined();
    await store.close();
    // Of another target: it does not begin anew what it has reset.
    const mended = await world.open({
      ...manual,
      dataModelsById: { 1: TownV3 },
      migrationHandler: backfill({ transform: toV3, accepts: ['1.0', '2.0'] }),
    });
    await mended.resetMigration(1);
    expect(await approvalRow(world)).toBeUndefined();
    await mended.resumeMigration(1);
    await waitForApproval(mended);
    await mended.approveMigration(1);
    await mended.awaitMigration(1);
    expect(await mended.model(TownV3).count()).toBe(towns);
    await expectIndexesToBeRight(world);
  });
});

it('a cancel takes back what was approved', async () => {
  barrier.shut();
  const store = await world.open({
    ...manual,
    migrationContractHandler: async ({ signal }: MigrationContext) => {
      await barrier.pass();
      return signal.aborted ? MigrationOutcome.Partial() : MigrationOutcome.Success;
    },
  });
  await waitForApproval(store);
  await store.approveMigration(1);
  await waitUntil('it is in Contract', () => barrier.waiting > 0);
  await store.cancelMigration(1);
  barrier.open();
  await waitForStatus(store, 'Canceled');
  expect(await approvalRow(world)).toBeUndefined();
  await store.resumeMigration(1);
  expect(await waitForApproval(store)).toMatchObject({ phase: 'Contract' });
  await store.approveMigration(1);
  await store.awaitMigration(1);
});

describe('an approval', () => {
  it('is refused where there is nothing to approve, with the phase and what to do', async () => {
    const old = await world.open({ dataModelsById: { 1: TownV1 } });
    expect(await codeOf(old.approveMigration(1))).toBe('MIGRATION_NOT_PENDING');
    barrier.shut();
    const store = await world.open({ ...manual, migrationVerifyHandler: heldHandler(barrier) });
    await waitUntil('it is in Verify', () => barrier.waiting > 0);
    const early = await errorFrom(store.approveMigration(1));
    expect(early.code).toBe('APPROVAL_NOT_AWAITED');
    expect(early.message).toBe(
      'Town is in Verify: only what has passed Verify can be approved. ' +
        'Wait until migrationStatus has the reason approval, and approve it then.',
    );
    expect(await approvalRow(world)).toBeUndefined();
    barrier.open();
    await waitForApproval(store);
    await old.approveMigration(1);
    await store.awaitMigration(1);
    expect(await codeOf(store.approveMigration(1))).toBe('MIGRATION_NOT_PENDING');
  });

  it('is refused for a verification that failed, and for what was never begun', async () => {
    const store = await world.open({
      ...manual,
      migrationVerification: { check: () => 'never' },
    });
    await waitForStatus(store, 'Failed');
    const failed = await errorFrom(store.approveMigration(1));
    expect(failed.code).toBe('APPROVAL_NOT_AWAITED');
    expect(failed.message).toContain('has failed. Mend the cause and call resumeMigration');
  });

  it('is one, whoever gives it how often: the first', async () => {
    barrier.shut();
    const store = await world.open({ ...manual, migrationContractHandler: heldHandler(barrier) });
    const operator = await world.open(watching);
    await waitForApproval(store);
    await Promise.all([
      store.approveMigration(1, 'first', { by: 'ann' }),
      operator.approveMigration(1, 'second', { by: 'kim' }),
      operator.approveMigration(1, 'third', { by: 'lee' }),
    ]);
    await waitUntil('it is in Contract', () => barrier.waiting > 0);
    const row = await approvalRow(world);
    expect(await operator.approveMigration(1, 'late')).toMatchObject({ phase: 'Contract', state: 'Running' });
    expect(await approvalRow(world)).toEqual(row);
    const { by, reason } = JSON.parse(String(row)) as { readonly by: string; readonly reason: string };
    expect((await store.migrationStatus(1)).message).toBe(`approved by ${by}: ${reason}`);
    barrier.open();
    await store.awaitMigration(1);
  });
});

describe('over the bus', () => {
  const onBus = () => ({ ...manual, bus, storeName: 'geo', nodeId: 'node-a' });

  it('approve is answered like the other verbs, once for each id', async () => {
    barrier.shut();
    const store = await world.open({ ...onBus(), migrationContractHandler: heldHandler(barrier) });
    await waitForApproval(store);
    const request = { by: 'ann', reason: 'counted', requestId: 'a-1' };
    const first = await ask('1.approve', request);
    expect(first).toMatchObject({
      accepted: true,
      modelId: 1,
      modelName: 'Town',
      requestId: 'a-1',
      revision: 0,
      status: { state: 'Running', phase: 'Verify' },
    });
    await waitUntil('it is in Contract', () => barrier.waiting > 0);
    expect((await store.migrationStatus(1)).message).toBe('approved by ann: counted');
    expect(await ask('1.approve', request)).toEqual(first);
    expect(await ask('byName.approve', { model: 'Town' })).toMatchObject({ accepted: true });
    expect(await ask('1.pause', { requestId: 'a-1' })).toMatchObject({
      accepted: false,
      code: 'REQUEST_ID_REUSED',
    });
    barrier.open();
    await store.awaitMigration(1);
    expect(await ask('1.approve', request)).toEqual(first);
    expect(await ask('1.approve')).toMatchObject({ accepted: false, code: 'MIGRATION_NOT_PENDING' });
  });

  it('a refusal says why, is kept, and approves nothing later', async () => {
    barrier.shut();
    const store = await world.open({
      ...onBus(),
      migrationHandler: backfill({ transform: toV2 }),
      migrationExpandHandler: heldHandler(barrier),
    });
    await waitUntil('it is in Expand', () => barrier.waiting > 0);
    const early = await ask('1.approve', { requestId: 'a-1' });
    expect(early).toMatchObject({
      accepted: false,
      code: 'APPROVAL_NOT_AWAITED',
      retryable: false,
      status: { phase: 'Expand' },
    });
    expect(early.message).toContain('Town is in Expand: only what has passed Verify');
    barrier.open();
    await waitForApproval(store);
    expect(await ask('1.approve', { requestId: 'a-1' })).toEqual(early);
    expect(await approvalRow(world)).toBeUndefined();
    expect(await ask('1.approve', { requestId: 'a-2' })).toMatchObject({ accepted: true });
    await store.awaitMigration(1);
  });
});
