import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { localBus } from '../../src/cluster/local-bus.ts';
import { KeyValueError, KeyValueErrorCode } from '../../src/kv/kv.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { readRanges } from '../../src/migration/passes/ledger.ts';
import type { MigrationState } from '../../src/migration/state.ts';
import { readState } from '../../src/migration/state.ts';
import { defineModel, string } from '../../src/model/index.ts';
import type { PassName } from '../../src/records/keys.ts';
import { rangeOf } from '../../src/records/keys.ts';
import { leaseTimes } from '../rig/leases.ts';
import { CityV1, cityOf, CityV2, createLatch, toCityV2 } from '../rig/migration.ts';
import { expectWellFormed } from '../rig/subject-schemas.ts';
import { waitForStatus, waitUntil } from '../rig/operators.ts';
import type { ObservedCommit, TrapRig } from '../rig/trap-rig.ts';
import { createTrapRig, inBackground, letThingsHappen } from '../rig/trap-rig.ts';

let rig: TrapRig;
beforeEach(() => {
  rig = createTrapRig();
});
afterEach(() => rig.close());

/** The first two stores of a test, behind the one that has filled the database. */
const [leader, helper] = [1, 2];
const moves = {
  dataModelsById: { 1: CityV2 },
  migrationHandler: backfill({ transform: toCityV2 }),
  migrationLeaseTimeoutMs: leaseTimes.timeoutMs,
  migrationLeaseHeartbeatMs: leaseTimes.heartbeatMs,
  ...inBackground,
} as const;

/** Cities of about a kilobyte each. A range has 256 of them or more. */
async function fill(cities: number): Promise<number> {
  const store = await rig.open({ dataModelsById: { 1: CityV1 } });
  for (let from = 0; from < cities; from += 200) {
    await store.transact(async (tx) => {
      for (let n = from; n < Math.min(cities, from + 200); n += 1) {
        const { lat, ...city } = cityOf(n);
        await tx.model(CityV1).add({ ...city, lat: lat.padEnd(1_000, ' ') });
      }
    });
  }
  await store.close();
  return cities;
}

const rangesOf = (pass: PassName = 'backfill') =>
  rig.database.transact((tx) => readRanges(tx, rig.keys, pass, { snapshot: true }));
const isChunkOf = (commit: ObservedCommit, store: number, pass: PassName = 'backfill') =>
  commit.store === store && commit.setsUnder(rig.keys.ranges(pass));
const movesRecords = (commit: ObservedCommit) => commit.sets(rig.keys.touched);

/** By record, the stores that have written it. */
async function markRecords() {
  const { begin, end } = rangeOf(rig.keys.records(1));
  const rows = await rig.database.transact((tx) => tx.getRangeAll(begin, end));
  const marks = rows.map(({ key }) => ({ key, stores: [] as number[] }));
  return {
    note(commit: ObservedCommit) {
      for (const { key, stores } of marks) if (commit.sets(key)) stores.push(commit.store);
    },
    /** How many each has moved; each record must have been moved once. */
    byStore() {
      const counts = new Map<number, number>();
      for (const { stores } of marks) {
        expect(stores).toHaveLength(1);
        const [store = 0] = stores;
        counts.set(store, (counts.get(store) ?? 0) + 1);
      }
      return counts;
    },
  };
}

describe('two stores', () => {
  it('share one backfill, and each record is moved once', async () => {
    const cities = await fill(2_000);
    const marks = await markRecords();
    const other = createLatch();
    rig.beforeCommit = async (commit) => {
      if (commit.store === leader && movesRecords(commit)) await other.opened;
    };
    rig.afterCommit = (commit) => {
      marks.note(commit);
      if (commit.store === helper && movesRecords(commit)) other.open();
    };
    const a = await rig.open({ ...moves, nodeId: 'a' });
    await waitForStatus(a, 'Running');
    const b = await rig.open({ ...moves, nodeId: 'b' });
    await Promise.all([a.awaitMigration(1), b.awaitMigration(1)]);
    const counts = marks.byStore();
    expect(new Set(counts.keys())).toEqual(new Set([leader, helper]));
    expect((counts.get(leader) ?? 0) + (counts.get(helper) ?? 0)).toBe(cities);
    expect(await a.migrationMetrics(1)).toMatchObject({ recordsMoved: cities, failed: 0, takeovers: 0 });
    // Nobody is left who would have claims.
    const { begin, end } = rangeOf(rig.storeKeys.sessions);
    await waitUntil('all sessions have ended', async () => {
      const rows = await rig.database.transact((tx) => tx.getRangeAll(begin, end));
      return rows.length === 0;
    });
  });

  it('share a verification', async () => {
    await fill(300);
    const chunks = leaderComesSecond('verify');
    const a = await rig.open({ ...moves, nodeId: 'a' });
    const b = await rig.open({ ...moves, nodeId: 'b' });
    await Promise.all([a.awaitMigration(1), b.awaitMigration(1)]);
    expect(chunks.get(leader)).toBeGreaterThan(0);
    expect(chunks.get(helper)).toBeGreaterThan(0);
  });

  it('share the building of an index behind an open gate', async () => {
    await fill(1_000);
    const indexed = defineModel({
      name: 'City',
      version: '1.1',
      key: ['id'],
      properties: {
        id: string({ number: 1, required: true }),
        name: string({ number: 2, required: true }),
        lat: string({ number: 3, required: true }),
        lng: string({ number: 4, required: true }),
      },
      indexes: [
        { name: 'byName', on: ['name'] },
        { name: 'byLng', on: ['lng'] },
      ],
    });
    const chunks = leaderComesSecond('index');
    const options = { ...inBackground, dataModelsById: { 1: indexed } } as const;
    const a = await rig.open({ ...options, nodeId: 'a' });
    const b = await rig.open({ ...options, nodeId: 'b' });
    await Promise.all([a.awaitMigration(1), b.awaitMigration(1)]);
    expect(chunks.get(leader)).toBeGreaterThan(0);
    expect(chunks.get(helper)).toBeGreaterThan(0);
  });
});

/** The leader writes its first chunk of a pass once another store has. Answers how many each has written. */
function leaderComesSecond(pass: PassName) {
  const other = createLatch();
  const chunks = new Map<number, number>();
  let [seen, isClaimed] = [0, false];
  rig.beforeCommit = async (commit) => {
    if (isChunkOf(commit, leader, pass) && isClaimed) await other.opened;
  };
  rig.afterCommit = async (commit) => {
    if (!commit.setsUnder(rig.keys.ranges(pass))) return;
    const rows = await rangesOf(pass);
    isClaimed ||= rows.some(({ claim }) => claim !== null);
    const commits = rows.reduce((sum, { seq }) => sum + seq, 0);
    if (commits <= seen) return;
    seen = commits;
    chunks.set(commit.store, (chunks.get(commit.store) ?? 0) + 1);
    if (commit.store === helper) other.open();
  };
  return chunks;
}

describe('a helper', () => {
  it('goes on where the leader stands still, takes what that one had claimed, and leaves the end to another', async () => {
    const cities = await fill(1_200);
    const marks = await markRecords();
    const thaw = createLatch();
    let isFrozen = false;
    rig.beforeCommit = async (commit) => {
      if (commit.store === leader && movesRecords(commit)) isFrozen = true;
      if (commit.store === leader && isFrozen) await thaw.opened;
    };
    rig.afterCommit = (commit) => marks.note(commit);
    const a = await rig.open({ ...moves, nodeId: 'a' });
    await waitUntil('the leader stands still', () => isFrozen);
    const b = await rig.open({ ...moves, nodeId: 'b', migrationRole: 'assist' });
    await waitUntil('all ranges are moved', async () => (await rangesOf()).every(({ done }) => done));
    expect((await b.migrationStatus(1)).owner).toMatchObject({ nodeId: 'a' });
    expect((await b.migrationStatus(1)).state).not.toBe('Idle');
    const c = await rig.open({ ...moves, nodeId: 'c' });
    await Promise.all([b.awaitMigration(1), c.awaitMigration(1)]);
    thaw.open();
    await a.awaitMigration(1);
    expect(marks.byStore()).toEqual(new Map([[helper, cities]]));
    expect(await a.migrationMetrics(1)).toMatchObject({ recordsMoved: cities, failed: 0 });
  });

  it('has its range cut under a chunk that is ready, throws that away, and moves each record once', async () => {
    const cities = await fill(220);
    const marks = await markRecords();
    const cut = createLatch();
    let chunks = 0;
    rig.beforeCommit = async (commit) => {
      if (commit.store !== leader || !movesRecords(commit)) return;
      chunks += 1;
      if (chunks === 1) await cut.opened;
    };
    rig.afterCommit = async (commit) => {
      marks.note(commit);
      if (commit.store === helper && (await rangesOf()).length > 1) cut.open();
    };
    const few = (firstChunk: number) => ({ fewRecords: { firstChunk, leastSplit: 10 } });
    const a = await rig.open({ ...moves, nodeId: 'a' }, few(1_000));
    await waitUntil('its only chunk is ready', () => chunks > 0);
    expect(await rangesOf()).toHaveLength(1);
    const b = await rig.open({ ...moves, nodeId: 'b' }, few(10));
    await Promise.all([a.awaitMigration(1), b.awaitMigration(1)]);
    const counts = marks.byStore();
    expect(counts.get(leader)).toBeGreaterThan(0);
    expect(counts.get(helper)).toBeGreaterThan(0);
    expect(await a.migrationMetrics(1)).toMatchObject({ recordsMoved: cities, failed: 0 });
  });

  it('commits nothing any more once an operator has released the lease under which it moves', async () => {
    const cities = await fill(1_200);
    const [ready, released, again] = [createLatch(), createLatch(), createLatch()];
    let [isReleased, movedAfter] = [false, 0];
    rig.beforeCommit = async (commit) => {
      // The next owner waits, so that nobody has the lease.
      if (isReleased && commit.sets(rig.keys.owner)) await again.opened;
      if (!movesRecords(commit)) return;
      if (commit.store === helper) ready.open();
      await released.opened;
    };
    rig.afterCommit = (commit) => {
      if (isReleased && movesRecords(commit)) movedAfter += 1;
    };
    const a = await rig.open({ ...moves, nodeId: 'a' });
    await waitForStatus(a, 'Running');
    const b = await rig.open({ ...moves, nodeId: 'b' });
    await ready.opened;
    await a.releaseLease(1, 'it hangs', { by: 'ops' });
    isReleased = true;
    released.open();
    await waitUntil('all have given back', async () =>
      (await rangesOf()).every(({ claim }) => claim === null),
    );
    expect(movedAfter).toBe(0);
    isReleased = false;
    again.open();
    await Promise.all([a.awaitMigration(1), b.awaitMigration(1)]);
    expect(await a.migrationMetrics(1)).toMatchObject({ recordsMoved: cities, failed: 0 });
  });

  it('whose database fails for a moment gives its range back, and helps on', async () => {
    const cities = await fill(1_200);
    const marks = await markRecords();
    const helped = createLatch();
    let failures = 0;
    rig.beforeCommit = async (commit) => {
      if (!movesRecords(commit)) return;
      if (commit.store === leader) await helped.opened;
      else if ((failures += 1) === 1) throw new KeyValueError(KeyValueErrorCode.ioError);
    };
    rig.afterCommit = (commit) => {
      marks.note(commit);
      if (commit.store === helper && movesRecords(commit)) helped.open();
    };
    const a = await rig.open({ ...moves, nodeId: 'a', maxBackfillConcurrency: 1 });
    await waitForStatus(a, 'Running');
    const b = await rig.open({ ...moves, nodeId: 'b', maxBackfillConcurrency: 1 });
    await Promise.all([a.awaitMigration(1), b.awaitMigration(1)]);
    expect(failures).toBeGreaterThan(1);
    expect(marks.byStore().get(helper)).toBeGreaterThan(0);
    expect(await a.migrationMetrics(1)).toMatchObject({ recordsMoved: cities, failed: 0 });
  });

  it('gives its claims back when it closes, at once, and is no session any more', async () => {
    const cities = await fill(1_200);
    const [begun, closing, second] = [createLatch(), createLatch(), createLatch()];
    const bus = localBus();
    const hinted: string[] = [];
    bus.subscribe('godwit.>', (payload, subject) => {
      if (!subject.endsWith('.work')) return;
      expectWellFormed(subject, payload);
      hinted.push((JSON.parse(Buffer.from(payload).toString()) as { nodeId: string }).nodeId);
    });
    rig.beforeCommit = async (commit) => {
      if (!movesRecords(commit)) return;
      if (commit.store === leader) await second.opened;
      if (commit.store !== helper) return;
      begun.open();
      await closing.opened;
    };
    const a = await rig.open({ ...moves, bus, nodeId: 'a', maxBackfillConcurrency: 1 });
    await waitForStatus(a, 'Running');
    const b = await rig.open({ ...moves, bus, nodeId: 'b', maxBackfillConcurrency: 1 });
    await begun.opened;
    const closed = b.close();
    closing.open();
    await closed;
    const rows = await rangesOf();
    expect(new Set(rows.flatMap(({ claim }) => (claim === null ? [] : [claim.session]))).size).toBe(1);
    // Who planned them has said so, and who gave its own back.
    await letThingsHappen();
    expect(hinted).toEqual(['a', 'b']);
    // It has finished the chunk that was under way, and no other.
    expect(rows.filter(({ seq }) => seq > 0)).toHaveLength(1);
    const { begin, end } = rangeOf(rig.storeKeys.sessions);
    expect(await rig.database.transact((tx) => tx.getRangeAll(begin, end))).toHaveLength(1);
    second.open();
    await a.awaitMigration(1);
    expect(await a.migrationMetrics(1)).toMatchObject({ recordsMoved: cities, failed: 0 });
  });

  it.each([
    ['another transform', { migrationHandler: backfill({ transform: (city) => toCityV2(city) }) }],
    ['another policy', { migrationHandler: backfill({ transform: toCityV2, onPoison: 'quarantine' }) }],
    ['another bound', { migrationHandler: backfill({ transform: toCityV2, maxQuarantined: 1 }) }],
    ['another verification', { migrationVerification: { sampleRatio: 0.5 } }],
    ['no verification', { migrationVerification: 'off' }],
  ] as const)('with %s than the leader claims nothing, and says so', async (_, differences) => {
    await fill(600);
    const said = createLatch();
    let isClaimed = false;
    rig.beforeCommit = async (commit) => {
      isClaimed ||= commit.store === helper && commit.setsUnder(rig.keys.ranges());
      if (commit.store === leader && movesRecords(commit)) await said.opened;
    };
    const a = await rig.open({ ...moves, nodeId: 'a', maxBackfillConcurrency: 1 });
    await waitUntil('it has ranges', async () => (await rangesOf()).length > 0);
    const b = await rig.open({ ...moves, ...differences, nodeId: 'b', migrationRole: 'assist' });
    let reason: string | undefined;
    await waitUntil('it says why, or claims', async () => {
      ({ code: reason } = (await b.migrationStatus(1)).reason ?? { code: undefined });
      return reason === 'transformMismatch' || isClaimed;
    });
    said.open();
    await Promise.all([a.awaitMigration(1), b.awaitMigration(1)]);
    expect({ isClaimed, reason }).toEqual({ isClaimed: false, reason: 'transformMismatch' });
  });
});

describe('an operator who says pause', () => {
  it('is obeyed by all movers at their next chunk, and answered when none of them has a claim', async () => {
    await fill(1_200);
    const [ready, told, back] = [createLatch(), createLatch(), createLatch()];
    const states: MigrationState['status'][] = [];
    let isTold = false;
    let movedAfter = 0;
    let isGivingBack = false;
    rig.beforeCommit = async (commit) => {
      if (movesRecords(commit) && !isTold) {
        if (commit.store === helper) ready.open();
        await told.opened;
      }
      if (!isTold || commit.store !== helper || !commit.setsUnder(rig.keys.ranges())) return;
      if (movesRecords(commit)) return;
      isGivingBack = true;
      await back.opened;
    };
    const claimed: boolean[] = [];
    rig.afterCommit = async (commit) => {
      if (isTold && movesRecords(commit)) movedAfter += 1;
      if (!commit.sets(rig.keys.state)) return;
      const state = await rig.database.transact((tx) => readState(tx, rig.keys));
      if (state === undefined) return;
      states.push(state.status);
      if (state.status === 'Paused') claimed.push((await rangesOf()).some(({ claim }) => claim !== null));
    };
    const a = await rig.open({ ...moves, nodeId: 'a', maxBackfillConcurrency: 1 });
    await waitForStatus(a, 'Running');
    const b = await rig.open({ ...moves, nodeId: 'b', maxBackfillConcurrency: 1 });
    await ready.opened;
    await b.pauseMigration(1, 'enough');
    isTold = true;
    told.open();
    await waitUntil('the helper gives back', () => isGivingBack || states.includes('Paused'));
    await letThingsHappen();
    expect(states).not.toContain('Paused');
    back.open();
    await waitForStatus(a, 'Paused');
    expect(claimed).toEqual([false]);
    expect(movedAfter).toBe(0);
    await a.resumeMigration(1);
    await Promise.all([a.awaitMigration(1), b.awaitMigration(1)]);
  });

  it('is answered where nobody leads, and takes away what a helper still has', async () => {
    await fill(1_200);
    const [ready, paused] = [createLatch(), createLatch()];
    let movedAfter = 0;
    let isPaused = false;
    rig.beforeCommit = async (commit) => {
      if (!movesRecords(commit) || isPaused) return;
      // The leader has others to move meanwhile; this one it cannot end without.
      if (commit.store === leader) return ready.opened;
      ready.open();
      await paused.opened;
    };
    rig.afterCommit = (commit) => {
      if (isPaused && movesRecords(commit)) movedAfter += 1;
    };
    const a = await rig.open({ ...moves, nodeId: 'a', maxBackfillConcurrency: 1 });
    await waitForStatus(a, 'Running');
    const b = await rig.open({
      ...moves,
      nodeId: 'b',
      migrationRole: 'assist',
      maxBackfillConcurrency: 1,
    });
    await ready.opened;
    await a.close();
    const rowsBefore = await rangesOf();
    expect(rowsBefore.filter(({ claim }) => claim !== null)).toHaveLength(1);
    const status = await b.pauseMigration(1, 'enough');
    isPaused = true;
    const claimed = (await rangesOf()).filter(({ claim }) => claim !== null);
    expect({ state: status.state, claimed }).toEqual({ state: 'Paused', claimed: [] });
    paused.open();
    await letThingsHappen();
    expect(movedAfter).toBe(0);
    isPaused = false;
    await b.resumeMigration(1);
    const c = await rig.open({ ...moves, nodeId: 'c' });
    await Promise.all([b.awaitMigration(1), c.awaitMigration(1)]);
    expect(await c.migrationMetrics(1)).toMatchObject({ recordsMoved: 1_200, failed: 0 });
  });
});

describe('a claim', () => {
  it('of a living session is left to it by others', async () => {
    await fill(1_200);
    const hold = createLatch();
    rig.beforeCommit = async (commit) => {
      if (commit.store === leader && movesRecords(commit)) await hold.opened;
    };
    const a = await rig.open({ ...moves, nodeId: 'a', maxBackfillConcurrency: 2 });
    const claimedRanges = async () =>
      (await rangesOf()).flatMap(({ claim }, number) => (claim === null ? [] : [number]));
    await waitUntil('it has claimed two', async () => (await claimedRanges()).length === 2);
    const held = await claimedRanges();
    await rig.open({ ...moves, nodeId: 'b' });
    await waitUntil('all others are moved', async () => {
      const rows = await rangesOf();
      return rows.every(({ done }, number) => done || held.includes(number));
    });
    await letThingsHappen();
    const rows = await rangesOf();
    expect(held.map((number) => rows[number]?.claimSeq)).toEqual([1, 1]);
    hold.open();
    await a.awaitMigration(1);
  });
});
