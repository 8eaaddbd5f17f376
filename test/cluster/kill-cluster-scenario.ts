import { expect } from 'vitest';
import { integerOf, readMetrics } from '../../src/migration/counters.ts';
import { readAuditEvents } from '../../src/migration/audit.ts';
import { readOwner } from '../../src/migration/owner.ts';
import type { SeededRandom } from '../rig/seed.ts';
import { createSeededRandom } from '../rig/seed.ts';
import type { ClusterProcess } from './cluster-processes.ts';
import { Cluster, isOf, isReport } from './cluster-processes.ts';
import { crateAt, openCrates } from './crates.ts';
import { misdeeds } from './testimony.ts';

const totalCrates = 20_000;
const processesAtOnce = 3;
const killsPerRound = 2;
/** Slower than the machine, so that there is something between two looks at the database. */
const recordsPerSecond = 30_000;
/** A living owner is not taken for dead on a machine that does something else too; a dead one is recognised at once. */
const lease = { leaseTimeoutMs: 5_000, leaseHeartbeatMs: 100 } as const;
/** Parts of a round's records between which kills are drawn. */
const drawn = { from: 0.05, to: 0.74 } as const;
/**
 * So much further, and by one chunk, the others may get until the kill is made, whatever else the machine does: they
 * are not found standing still.
 */
const leeway = 0.1;

export interface KillOfRound {
  readonly round: number;
  readonly victim: 'owner' | 'waiter';
  /** Part of the round's records that were moved, by the database, when the victim had ended. */
  readonly moved: number;
}

/**
 * Three processes migrate one model from version to version. In each round, processes are drawn at drawn points of
 * progress, killed, and started again; then the round ends. Expects, from the database alone, that each record was moved
 * once by each round, under one owner at a time.
 */
export async function killProcesses(seed: number, rounds: number): Promise<readonly KillOfRound[]> {
  const random = createSeededRandom(seed);
  const cluster = await Cluster.create('kill-cluster', totalCrates);
  const kills: KillOfRound[] = [];
  try {
    const living = await Promise.all(Array.from({ length: processesAtOnce }, () => cluster.start()));
    // Loading takes longer than a migration: the next one to be started does it beforehand.
    let spare = cluster.start();
    for (let round = 1; round <= rounds; round += 1) {
      const points = Array.from({ length: killsPerRound }, () => drawPoint(random)).toSorted((a, b) => a - b);
      const open = openingOf(round);
      for (const one of living) one.open(open(points[0]));
      for (const [at, point] of points.entries()) {
        const { index, ...kill } = await killOne(cluster, random, round, point, living);
        kills.push(kill);
        const restarted = await spare;
        const isLast = round === rounds && at === killsPerRound - 1;
        if (!isLast) spare = cluster.start();
        living[index] = restarted;
        const next = open(points[at + 1]);
        restarted.open(next);
        for (const one of living) one.hold(next.hold.records);
      }
      await expectAllServing(living, round + 1);
      await expectEachMarked(cluster, round + 1);
    }
    const ownersKilled = kills.filter(({ victim }) => victim === 'owner').length;
    await expectOneOwnerAtATime(cluster, rounds, ownersKilled);
    for (const one of living) one.close();
    await Promise.all(living.map((one) => one.reported(isReport('closed'))));
    expect(cluster.failures).toEqual([]);
    return kills;
  } finally {
    await cluster.close();
  }
}

const drawPoint = (random: SeededRandom) => drawn.from + random.fraction() * (drawn.to - drawn.from);
const movedBefore = (round: number) => totalCrates * (round - 1);

/** How the processes of a round open, and how far they get: to the next kill. */
const openingOf =
  (round: number) =>
  (point = Number.MAX_SAFE_INTEGER) => ({
    version: round + 1,
    recordsPerSecond,
    ...lease,
    hold: { records: movedBefore(round) + totalCrates * (point + leeway) },
  });

/** Kills the owner or another one, once so much is moved. `index`: of the victim. */
async function killOne(
  cluster: Cluster,
  random: SeededRandom,
  round: number,
  point: number,
  living: readonly ClusterProcess[],
): Promise<KillOfRound & { readonly index: number }> {
  const ownerPid = await ownerBehind(cluster, movedBefore(round) + totalCrates * point, living);
  const role = random.pick(['owner', 'waiter'] as const);
  const victim = random.pick(living.filter(({ pid }) => (pid === ownerPid) === (role === 'owner')));
  await victim.kill();
  const moved = ((await readMoved(cluster)) - movedBefore(round)) / totalCrates;
  expect(moved).toBeGreaterThanOrEqual(drawn.from);
  expect(moved).toBeLessThanOrEqual(0.95);
  return { round, victim: role, moved, index: living.indexOf(victim) };
}

async function expectAllServing(living: readonly ClusterProcess[], version: number): Promise<void> {
  const serving = await Promise.all(living.map((one) => one.reported(isOf('serving', version))));
  const { mark } = crateAt(0, version);
  expect(serving).toEqual(living.map(() => ({ type: 'serving', version, mark, states: ['Idle'] })));
}

/** The pid of the owner, once so many records were moved: one that lives, and not the last victim. */
function ownerBehind(cluster: Cluster, moved: number, living: readonly ClusterProcess[]): Promise<number> {
  const { keys } = cluster;
  const counter = keys.counter('recordsMoved');
  return cluster.until(`${moved} records moved`, [counter, keys.owner], async (tx) => {
    const [count, owner] = await Promise.all([tx.get(counter), readOwner(tx, keys)]);
    const isLiving = living.some(({ pid }) => pid === owner?.pid) && owner?.token !== '';
    return isLiving && integerOf(count) >= moved ? owner?.pid : undefined;
  });
}

const readMoved = ({ database, keys }: Cluster): Promise<number> =>
  database.transact(async (tx) => integerOf(await tx.get(keys.counter('recordsMoved'))));

async function expectEachMarked({ database, place }: Cluster, version: number): Promise<void> {
  const { store, crates } = await openCrates(database, place, version);
  try {
    let n = 0;
    for await (const crate of crates.scan()) {
      const { mark } = crateAt(n, version);
      if (crate.mark !== mark) expect(crate).toEqual(crateAt(n, version));
      n += 1;
    }
    expect(n).toBe(totalCrates);
  } finally {
    await store.close();
  }
}

async function expectOneOwnerAtATime(cluster: Cluster, rounds: number, ownersKilled: number): Promise<void> {
  const testimonies = await cluster.testimonies();
  expect(misdeeds(testimonies)).toEqual([]);
  const moved = testimonies.reduce((sum, said) => sum + (said.act === 'moved' ? said.records : 0), 0);
  expect(moved).toBe(totalCrates * rounds);
  const { keys, database } = cluster;
  const { events, metrics } = await database.transact(async (tx) => ({
    events: await readAuditEvents(tx, keys, 1_000),
    metrics: await readMetrics(tx, keys),
  }));
  expect(metrics).toMatchObject({
    started: rounds,
    completed: rounds,
    failed: 0,
    retries: 0,
    recordsMoved: totalCrates * rounds,
    takeovers: ownersKilled,
  });
  // The audit is written by the product, the testimonies by the rig: they tell the same ownerships.
  const audited = events
    .filter(({ type }) => type === 'LeaseAcquired')
    .map(({ nodeId, epoch }) => `${nodeId} ${epoch}`);
  const testified = testimonies
    .filter(({ act }) => act === 'acquired')
    .map(({ node, epoch }) => `${node} ${epoch}`);
  expect(audited).toEqual(testified);
  // What a process did as the owner is in the order of the epochs; rejections name the holder's.
  const epochs = events.filter(({ type }) => type !== 'LeaseRejected').map(({ epoch }) => epoch);
  expect(epochs).toEqual(epochs.toSorted((a, b) => a - b));
}
