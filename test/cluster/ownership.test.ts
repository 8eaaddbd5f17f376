import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readAuditEvents } from '../../src/migration/audit.ts';
import { integerOf, readMetrics } from '../../src/migration/counters.ts';
import { beatFormat, readOwner } from '../../src/migration/owner.ts';
import { readFence } from '../../src/records/fence.ts';
import { createLatch } from '../rig/migration.ts';
import { outcomeOf } from '../rig/trap-rig.ts';
import { watchCommits } from '../rig/watched-commits.ts';
import { waitedTimeoutMs } from './cluster-place.ts';
import type { ClusterProcess } from './cluster-processes.ts';
import { Cluster, isAudit, isOf, isReport } from './cluster-processes.ts';
import { crateAt, crateId, openCrates } from './crates.ts';
import { misdeeds } from './testimony.ts';

/** So few that nobody cuts what is left: a cut would make its mover conflict once. */
const totalCrates = 600;
/** Some records are moved for certain, some are not. */
const midway = { records: 300 } as const;
const everything = Number.MAX_SAFE_INTEGER;
/** Processes are started here: generous, for a machine that does something else too. */
const timeoutMs = 120_000;
const { mark } = crateAt(0, 2);

describe('several processes on one database', () => {
  let cluster: Cluster;
  beforeEach(async () => {
    cluster = await Cluster.create('ownership', totalCrates);
  });
  afterEach(() => cluster.close());

  const readMoved = () =>
    cluster.database.transact(async (tx) => integerOf(await tx.get(cluster.keys.counter('recordsMoved'))));
  const fenceTurns = (state: 'ready' | 'migrating') =>
    cluster.until(`the model ${state}`, [cluster.keys.fence], async (tx) =>
      (await readFence(tx, cluster.keys))?.state === state ? true : undefined,
    );
  const beatsOfOwner = () =>
    cluster.database.transact(
      async (tx) => beatFormat.parseOptional(await tx.get(cluster.keys.beat))?.n ?? 0,
    );
  const expectServing = (processes: readonly ClusterProcess[]) =>
    expect(Promise.all(processes.map((one) => one.reported(isOf('serving', 2))))).resolves.toEqual(
      processes.map(() => ({ type: 'serving', version: 2, mark, states: ['Idle'] })),
    );
  /** Under owners of these epochs, each crate was moved once, whatever happened. */
  const expectMovedUnder = async (epochs: readonly number[]) => {
    const { database, place, keys } = cluster;
    const events = await database.transact((tx) => readAuditEvents(tx, keys, 1_000));
    const acquired = events.filter(({ type }) => type === 'LeaseAcquired').map(({ epoch }) => epoch);
    expect(acquired).toEqual(epochs);
    const testimonies = await cluster.testimonies();
    expect(misdeeds(testimonies)).toEqual([]);
    expect(testimonies.flatMap(({ act, epoch }) => (act === 'acquired' ? [epoch] : []))).toEqual(epochs);
    expect(await readMoved()).toBe(totalCrates);
    const { store, crates } = await openCrates(database, place, 2);
    try {
      const found = [];
      for await (const crate of crates.scan()) found.push(crate);
      expect(found).toEqual(Array.from({ length: totalCrates }, (_, n) => crateAt(n, 2)));
    } finally {
      await store.close();
    }
    expect(cluster.failures).toEqual([]);
  };

  it(
    'lets no commit of an owner land that was frozen while another took over, and has it wait like the others',
    { timeout: timeoutMs },
    async () => {
      const { keys, place } = cluster;
      const ttlMs = waitedTimeoutMs(place);
      const lease = { leaseTimeoutMs: ttlMs, leaseHeartbeatMs: ttlMs / 10 };
      const [frozen, successor] = await Promise.all([cluster.start('frozen'), cluster.start('successor')]);
      frozen.open({ version: 2, ...lease, hold: { ...midway, freezes: true } });
      await frozen.reported(isReport('held'));
      const moved = await readMoved();
      successor.open({ version: 2, ...lease, hold: { records: moved + 1 } });
      // The frozen one is alive, as far as anybody can tell, and there are commits on its way to the engine.
      const taken = await cluster.until('the takeover', [keys.owner], async (tx) => {
        const owner = await readOwner(tx, keys);
        return owner?.pid === successor.pid ? owner : undefined;
      });
      // The successor has watched for one TTL; its own heartbeats count the others.
      const beats = (2 * ttlMs) / lease.leaseHeartbeatMs;
      await cluster.until('three TTLs', [keys.beat], async (tx) => {
        const beat = beatFormat.parseOptional(await tx.get(keys.beat));
        return beat?.epoch === taken.epoch && beat.n >= beats ? beat : undefined;
      });
      await successor.reported(isReport('held'));
      const movedMeanwhile = await readMoved();
      frozen.hold(everything);
      frozen.send('SIGCONT');
      await frozen.reported(isAudit('LeaseRejected'));
      expect(await readMoved()).toBe(movedMeanwhile);
      expect(await frozen.ask()).toMatchObject({ mark: 'MODEL_MIGRATING' });
      successor.hold(everything);
      await expectServing([frozen, successor]);
      await expectMovedUnder([1, 2]);
    },
  );

  it(
    'has those that open at once move the records together, and all serve once one has published',
    { timeout: timeoutMs },
    async () => {
      const { keys } = cluster;
      const all = await Promise.all(Array.from({ length: 5 }, () => cluster.start()));
      const lease = { leaseTimeoutMs: 5_000, leaseHeartbeatMs: 100 };
      for (const one of all) one.open({ version: 2, ...lease, hold: midway });
      await Promise.all(all.map((one) => one.reported(isOf('opened', 2))));
      const owner = await Promise.race(
        all.map((one) => one.reported(isAudit('LeaseAcquired')).then(() => one)),
      );
      await Promise.race(all.map((one) => one.reported(isReport('held'))));
      const waiting = all.filter((one) => one !== owner);
      await Promise.all(waiting.map((one) => one.reported(isAudit('LeaseRejected'))));
      const answers = await Promise.all(all.map((one) => one.ask()));
      const recordsDone = await readMoved();
      const { fraction } = answers[0] ?? {};
      // There is one range, and whoever has claimed it is held.
      expect(answers).toMatchObject(all.map(() => ({ mark: 'MODEL_MIGRATING', recordsDone, fraction })));
      // While commits of the owner are under way.
      const beatsSeen = await beatsOfOwner();
      await cluster.until('a heartbeat', [keys.beat], async () =>
        (await beatsOfOwner()) > beatsSeen ? true : undefined,
      );
      for (const one of all) one.hold(everything);
      await fenceTurns('ready');
      // At once: nobody has to be told of it first.
      const marks = (await Promise.all(all.map((one) => one.ask()))).map((answer) => answer.mark);
      expect(marks).toEqual(all.map(() => mark));
      await expectServing(all);
      // Each of those that waited finds that there is nothing to do, or somebody does it once more.
      await Promise.race([
        Promise.all(waiting.map((one) => one.reported(isReport('attempted')))),
        ...waiting.map((one) => one.reported(isAudit('LeaseAcquired'))),
      ]);
      for (const one of all) one.close();
      await Promise.allSettled(all.map((one) => one.reported(isReport('closed'))));
      expect(await cluster.database.transact((tx) => readMetrics(tx, keys))).toMatchObject({ conflicts: 0 });
      await expectMovedUnder([1]);
    },
  );

  it(
    'lets an older program write nothing once another process migrates, and serve nothing that is half-way',
    { timeout: timeoutMs },
    async () => {
      const { keys, database, place } = cluster;
      const [isInFlight, isClosed] = [createLatch(), createLatch()];
      const held = watchCommits(database, keys.records(1), {
        async before() {
          isInFlight.open();
          await isClosed.opened;
        },
      });
      const older = await openCrates(held, place, 1);
      // None of those that are moved before the process is held: nothing but the gate is in its way.
      const late = { ...crateAt(totalCrates - 1, 1), mark: 'late' };
      const owner = await cluster.start();
      const writing = outcomeOf(older.crates.put(late));
      await isInFlight.opened;
      owner.open({ version: 2, hold: midway });
      await fenceTurns('migrating');
      isClosed.open();
      const outcomesOf = (crates: typeof older.crates) =>
        Promise.all([crates.get(crateId(0)), crates.put(late), crates.scan().page()].map(outcomeOf));
      const refused = (code: string) => [code, code, code];
      expect(await writing).toBe('MODEL_MIGRATING');
      await owner.reported(isReport('held'));
      expect(await outcomesOf(older.crates)).toEqual(refused('MODEL_MIGRATING'));
      await owner.kill();
      const rolledBack = await openCrates(database, place, 1);
      expect(await outcomesOf(rolledBack.crates)).toEqual(refused('MODEL_MIGRATING'));
      expect(rolledBack.store.readiness().ready).toBe(false);
      const successor = await cluster.start();
      successor.open({ version: 2, hold: { records: everything } });
      await expectServing([successor]);
      for (const { crates, store } of [older, rolledBack]) {
        expect(await outcomesOf(crates)).toEqual(refused('MODEL_SCHEMA_CHANGED'));
        await store.close();
      }
      await expectMovedUnder([1, 2]);
    },
  );
});
