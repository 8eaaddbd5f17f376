import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationContext } from '../../src/migration/context.ts';
import { externalOwner } from '../../src/migration/external-owner.ts';
import { MigrationOutcome } from '../../src/migration/outcome.ts';
import { readRange, writeRange } from '../../src/migration/passes/ledger.ts';
import { answers, CityV2, cityId, createLatch, thing, toCityV2 } from '../rig/migration.ts';
import { createRowLease, leaseTimes } from '../rig/leases.ts';
import { waitForStatus, waitUntil } from '../rig/operators.ts';
import type { TrapRig } from '../rig/trap-rig.ts';
import { createTrapRig, inBackground, outcomeOf } from '../rig/trap-rig.ts';

let rig: TrapRig;
beforeEach(async () => {
  rig = createTrapRig();
  await rig.fill(cities);
});
afterEach(() => rig.close());

const cities = 30;
const moves = { dataModelsById: { 1: CityV2 }, migrationHandler: backfill({ transform: toCityV2 }) };
const quick = {
  migrationLeaseTimeoutMs: leaseTimes.timeoutMs,
  migrationLeaseHeartbeatMs: leaseTimes.heartbeatMs,
};

/** An Expand handler that stays under way until its process is not the owner any more. */
function createStay() {
  const [begun, told] = [createLatch(), createLatch()];
  let calls = 0;
  const handler = async ({ signal }: MigrationContext) => {
    if (calls++ > 0) return MigrationOutcome.Success;
    begun.open();
    if (!signal.aborted) {
      await new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
    told.open();
    throw new Error('told to stop');
  };
  return { handler, begun: begun.opened, told: told.opened };
}

const epochsOf = () =>
  rig.events.filter(({ type }) => type === 'LeaseAcquired').map(({ nodeId, epoch }) => `${nodeId} ${epoch}`);

describe('externalOwner', () => {
  it.each(['is told', 'asks with each heartbeat'])(
    'hands over in the middle of a migration: the former owner %s, stops, waits, and serves what the next one published',
    async (how) => {
      let chosen = 'a';
      let lose: () => void = () => undefined;
      let isListening = false;
      const onLost = (lost: () => void) => {
        lose = lost;
        isListening = true;
        return () => {
          isListening = false;
        };
      };
      const migrationLease = externalOwner({
        isOwner: ({ nodeId }) => nodeId === chosen,
        ...(how === 'is told' ? { onLost } : {}),
      });
      const stay = createStay();
      const options = { ...moves, ...quick, ...inBackground, migrationLease };
      const a = await rig.open({ ...options, nodeId: 'a', migrationExpandHandler: stay.handler });
      await stay.begun;
      const b = await rig.open({ ...options, nodeId: 'b' });
      expect((await b.migrationStatus(1)).owner).toMatchObject({ nodeId: 'a' });
      chosen = 'b';
      lose();
      await stay.told;
      await Promise.all([a.awaitMigration(1), b.awaitMigration(1)]);
      expect(await outcomeOf(a.model(CityV2).get(cityId(1)))).toBe('done');
      expect(epochsOf()).toEqual(['a 1', 'b 2']);
      // Until its lease is released, behind the publication.
      await waitUntil('nobody listens any more', () => !isListening);
      expect(await b.migrationMetrics(1)).toMatchObject({ recordsMoved: cities, failed: 0, retries: 0 });
    },
  );

  it('takes the lease from an owner that was not told, and nothing of that one commits', async () => {
    let chosen = 'a';
    const hold = createLatch();
    const migrationLease = externalOwner({
      isOwner: ({ nodeId }) => nodeId === chosen,
      onLost: () => () => undefined,
    });
    const [begun, late] = [createLatch(), createLatch<unknown>()];
    const options = { ...moves, ...quick, ...inBackground, migrationLease };
    await rig.open({
      ...options,
      nodeId: 'a',
      migrationExpandHandler: async (context: MigrationContext) => {
        begun.open();
        await hold.opened;
        late.open(await outcomeOf(context.transact((tx) => Promise.resolve(tx.advance('late')))));
        return MigrationOutcome.Success;
      },
    });
    await begun.opened;
    chosen = 'b';
    const b = await rig.open({ ...options, nodeId: 'b' });
    await b.awaitMigration(1);
    hold.open();
    expect(['LEASE_LOST', 'CONTEXT_EXPIRED']).toContain(await late.opened);
    expect(epochsOf()).toEqual(['a 1', 'b 2']);
    expect(rig.events.find(({ type, epoch }) => type === 'LeaseAcquired' && epoch === 2)?.message).toBe(
      'taken over',
    );
  });

  it('asks again when it could not be told who is to migrate', async () => {
    let asked = 0;
    const migrationLease = externalOwner({
      isOwner() {
        if (asked++ < 2) throw new Error('the orchestrator is away');
        return true;
      },
    });
    const store = await rig.open({ ...moves, ...quick, migrationLease });
    expect(asked).toBeGreaterThan(2);
    expect(await store.migrationStatus(1)).toMatchObject({ state: 'Idle', lastError: null });
  });
});

describe("an application's own lease", () => {
  it('is enough to migrate under, to pause, to resume, and to be explained', async () => {
    const migrationLease = createRowLease({ database: rig.database, keys: rig.storeKeys });
    const [begun, hold] = [createLatch(), createLatch()];
    const handler = answers(async () => {
      begun.open();
      await hold.opened;
      return MigrationOutcome.Success;
    });
    const store = await rig.open({
      ...moves,
      ...inBackground,
      migrationLease,
      migrationExpandHandler: handler,
    });
    await begun.opened;
    expect(await store.explainLease(1)).toMatchObject({ held: true, epoch: 1 });
    await store.pauseMigration(1);
    hold.open();
    await waitForStatus(store, 'Paused');
    await store.resumeMigration(1);
    await store.awaitMigration(1);
    // Released behind the publication.
    await waitUntil('the lease is free', async () => (await store.explainLease(1))?.held === false);
    expect((await store.migrationMetrics(1)).recordsMoved).toBe(cities);
    expect(await outcomeOf(store.releaseLease(1))).toBe('LEASE_NOT_RELEASABLE');
  });
});

it('a chunk in flight does not commit over a claim that another mover has taken', async () => {
  let isTaken = false;
  rig.beforeCommit = async (commit) => {
    if (isTaken || !commit.sets(rig.keys.touched) || !commit.setsUnder(rig.keys.ranges('backfill'))) return;
    isTaken = true;
    await rig.database.transact(async (tx) => {
      const row = await readRange(tx, rig.keys, 'backfill', 0);
      if (row === undefined) throw new Error('there is no range');
      const claim = { session: 'another', claimSeq: row.claimSeq + 1 };
      writeRange(tx, rig.keys, 'backfill', 0, { ...row, claimSeq: claim.claimSeq, claim });
    });
  };
  const store = await rig.open({ ...moves, nodeId: 'owner' });
  expect(isTaken).toBe(true);
  // It lost its range, and began again from the database.
  expect(epochsOf()).toEqual(['owner 1', 'owner 2']);
  expect(await store.migrationMetrics(1)).toMatchObject({ recordsMoved: cities, failed: 0, retries: 0 });
});

describe('a lease that an operator releases', () => {
  it('is acquired anew by the same process, which goes on where the last commit stands', async () => {
    const operator = await rig.open({ ...moves, ...inBackground, migrationRole: 'wait', nodeId: 'operator' });
    let released: unknown;
    let chunks = 0;
    rig.beforeCommit = async (commit) => {
      if (!commit.setsUnder(rig.keys.ranges('backfill')) || !commit.sets(rig.keys.touched)) return;
      if (chunks++ > 0) return;
      released = await operator.releaseLease(1, 'it hangs', { by: 'ops' });
    };
    const owner = await rig.open({ ...moves, ...quick, ...inBackground, nodeId: 'owner' });
    await owner.awaitMigration(1);
    expect(released).toMatchObject({ nodeId: 'owner', epoch: 1, held: true });
    expect(epochsOf()).toEqual(['owner 1', 'owner 3']);
    const { message } = rig.events.find(({ type }) => type === 'LeaseRejected') ?? {};
    expect(message).toBe('taken from owner: it hangs (by ops)');
    expect(await owner.migrationMetrics(1)).toMatchObject({ recordsMoved: cities, failed: 0, retries: 0 });
    // Its own release follows the publication.
    await waitUntil('the lease is free', async () => (await owner.explainLease(1))?.held === false);
    expect(await owner.releaseLease(1)).toBeUndefined();
  });

  it('was never held where nobody migrated', async () => {
    const store = await rig.open({ ...moves, ...inBackground, migrationRole: 'wait' });
    expect(await store.explainLease(1)).toBeUndefined();
    expect(await store.releaseLease(1)).toBeUndefined();
    expect(await outcomeOf(store.releaseLease(7))).toBe('MODEL_UNKNOWN');
    expect(await outcomeOf(store.explainLease(7))).toBe('MODEL_UNKNOWN');
  });
});

describe("migrationRole: 'wait'", () => {
  const waits = { dataModelsById: { 1: CityV2 }, migrationRole: 'wait' } as const;

  it('needs no handlers, owns nothing, and is open as soon as another process has published', async () => {
    const opening = rig.open({ ...waits, nodeId: 'waits' });
    const other = await rig.open({ ...moves, nodeId: 'moves' });
    const waiting = await opening;
    expect(await waiting.model(CityV2).get(cityId(1))).toEqual(await other.model(CityV2).get(cityId(1)));
    expect(epochsOf()).toEqual(['moves 1']);
  });

  it('says in the background what it waits for, and refuses requests meanwhile', async () => {
    const waiting = await rig.open({ ...waits, ...inBackground });
    expect(await waiting.migrationStatus(1)).toMatchObject({
      state: 'Waiting',
      reason: { code: 'lease', message: 'this process waits until another one has migrated it' },
    });
    expect(await outcomeOf(waiting.model(CityV2).get(cityId(1)))).toBe('MODEL_MIGRATING');
    await rig.open(moves);
    await waiting.awaitMigration(1);
    expect(await outcomeOf(waiting.model(CityV2).get(cityId(1)))).toBe('done');
  });

  it('waits no longer than the startup budget', async () => {
    const opening = rig.open({ ...waits, migrationStartupBudgetMs: 30 });
    expect(await outcomeOf(opening)).toBe('MIGRATION_PENDING');
  });

  it('does not wait for what an operator has to resume, and can be the one that resumes it', async () => {
    const handler = answers(MigrationOutcome.Fatal('not today'));
    const mover = await rig.open({
      ...moves,
      continueMigrationsInBackground: true,
      migrationExpandHandler: handler,
    });
    expect((await mover.migrationStatus(1)).state).toBe('Failed');
    expect(await outcomeOf(rig.open(waits))).toBe('MIGRATION_FAILED');
    const waiting = await rig.open({ ...waits, continueMigrationsInBackground: true });
    await waiting.resumeMigration(1);
    await Promise.all([waiting.awaitMigration(1), mover.awaitMigration(1)]);
    expect(handler.calls).toHaveLength(2);
    expect(await outcomeOf(waiting.model(CityV2).get(cityId(1)))).toBe('done');
  });

  it('waits for no migration to another definition than its own', async () => {
    const other = thing('City', '2.0');
    await rig.stopHalfWay(moves);
    const opening = rig.open({ ...waits, dataModelsById: { 1: other } });
    expect(await outcomeOf(opening)).toBe('MIGRATION_TARGET_CHANGED');
  });
});
