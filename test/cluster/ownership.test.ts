import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readAuditEvents } from '../../src/migration/audit.ts';
import { integerOf } from '../../src/migration/counters.ts';
import { beatFormat, readOwner } from '../../src/migration/owner.ts';
import { readFence } from '../../src/records/fence.ts';
import { Cluster, isAudit, isOf, isReport } from './cluster-processes.ts';
import { crateAt, openCrates } from './crates.ts';
import { misdeeds } from './testimony.ts';

const totalCrates = 2_000;
/** Some records are moved for certain, most are not. */
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
  /** Whatever happened, each crate was moved once; answers the epochs of the owners, in their order. */
  const epochsOfOwners = async (): Promise<readonly number[]> => {
    const { database, address, keys } = cluster;
    const testimonies = await cluster.testimonies();
    expect(misdeeds(testimonies)).toEqual([]);
    const { store, crates } = await openCrates(database, address, 2);
    try {
      const found = [];
      for await (const crate of crates.scan()) found.push(crate);
      expect(found).toEqual(Array.from({ length: totalCrates }, (_, n) => crateAt(n, 2)));
    } finally {
      await store.close();
    }
    expect(await readMoved()).toBe(totalCrates);
    expect(cluster.failures).toEqual([]);
    const events = await database.transact((tx) => readAuditEvents(tx, keys, 1_000));
    const acquired = events.filter(({ type }) => type === 'LeaseAcquired').map(({ epoch }) => epoch);
    expect(acquired).toEqual(testimonies.filter(({ act }) => act === 'acquired').map(({ epoch }) => epoch));
    return acquired;
  };

  it(
    'lets no commit of an owner land that was frozen while another took over, and has it wait like the others',
    { timeout: timeoutMs },
    async () => {
      const { keys, address } = cluster;
      const ttlMs = address.leaseTimeoutMs;
      const lease = { leaseTimeoutMs: ttlMs, leaseHeartbeatMs: ttlMs / 5 };
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
      expect(await frozen.ask()).toBe('MODEL_MIGRATING');
      successor.hold(everything);
      const serving = await Promise.all([frozen, successor].map((one) => one.reported(isOf('serving', 2))));
      expect(serving.map((report) => [report.mark, report.states])).toEqual([
        [mark, ['Idle']],
        [mark, ['Idle']],
      ]);
      expect(await epochsOfOwners()).toEqual([1, 2]);
    },
  );

  it(
    'has one of those that open at once move the records, and all serve once it has published',
    { timeout: timeoutMs },
    async () => {
      const { keys } = cluster;
      const all = await Promise.all(Array.from({ length: 5 }, () => cluster.start()));
      const lease = { leaseTimeoutMs: 5_000, leaseHeartbeatMs: 100 };
      for (const one of all) one.open({ version: 2, ...lease, hold: midway });
      await Promise.all(all.map((one) => one.reported(isOf('opened', 2))));
      const owner = await Promise.race(all.map((one) => one.reported(isReport('held')).then(() => one)));
      const waiting = all.filter((one) => one !== owner);
      await Promise.all(waiting.map((one) => one.reported(isAudit('LeaseRejected'))));
      expect(await Promise.all(all.map((one) => one.ask()))).toEqual(all.map(() => 'MODEL_MIGRATING'));
      owner.hold(everything);
      await cluster.until('the publication', [keys.fence], async (tx) => {
        const fence = await readFence(tx, keys);
        return fence?.state === 'ready' ? fence : undefined;
      });
      // At once: nobody has to be told of it first.
      expect(await Promise.all(all.map((one) => one.ask()))).toEqual(all.map(() => mark));
      const serving = await Promise.all(all.map((one) => one.reported(isOf('serving', 2))));
      expect(serving.map(({ states }) => states)).toEqual(all.map(() => ['Idle']));
      expect(waiting.flatMap(({ reports }) => reports.filter(isAudit('LeaseAcquired')))).toEqual([]);
      expect(await epochsOfOwners()).toEqual([1]);
    },
  );
});
