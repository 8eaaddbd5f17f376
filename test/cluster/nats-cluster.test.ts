import { connect } from 'nats';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { WholeMessageBus } from '../../src/cluster/bus.ts';
import { natsBus } from '../../src/cluster/nats-bus.ts';
import { readAuditEvents } from '../../src/migration/audit.ts';
import { integerOf } from '../../src/migration/counters.ts';
import { readAnyIntent } from '../../src/migration/intent.ts';
import type { Intent } from '../../src/migration/intent.ts';
import { readState } from '../../src/migration/state.ts';
import type { MigrationStateStatus } from '../../src/migration/state.ts';
import { controlMigration } from '../../src/remote/control-migration.ts';
import { followMigrations } from '../../src/remote/follow-migrations.ts';
import type { FollowedMigration } from '../../src/remote/follow-migrations.ts';
import type { NatsServer } from '../rig/nats-server.ts';
import { natsServerBinary, startNatsServer } from '../rig/nats-server.ts';
import { waitUntil } from '../rig/operators.ts';
import { createSeededRandom, drawSeed } from '../rig/seed.ts';
import { malformed } from '../rig/subject-schemas.ts';
import { crateModelId } from './cluster-place.ts';
import type { ClusterProcess } from './cluster-processes.ts';
import { Cluster, isOf, isReport } from './cluster-processes.ts';
import { crateAt, openCrates } from './crates.ts';
import { misdeeds } from './testimony.ts';

const totalCrates = 4_000;
const everything = Number.MAX_SAFE_INTEGER;
/** Processes are started here: generous, for a machine that does something else too. */
const timeoutMs = 120_000;
const seed = drawSeed('points of progress at which the server of the bus is killed');

describe.runIf(natsServerBinary !== undefined)('three nodes on NATS', () => {
  let server: NatsServer;
  let cluster: Cluster;
  let outside: WholeMessageBus;
  let nodes: readonly ClusterProcess[];
  /** Everything that an outside follower was told, in order. */
  let followed: FollowedMigration[];
  let following: Promise<void>;
  let problems: string[];
  beforeEach(async () => {
    server = await startNatsServer();
    outside = natsBus({ servers: server.address, reconnectTimeWait: 50 });
    await waitUntil('it is connected', () => outside.state.type === 'connected');
    followed = [];
    problems = [];
    outside.subscribe('godwit.>', (payload, subject) => {
      if (subject.includes('.control.')) return;
      const problem = malformed(subject, payload);
      if (problem !== undefined) problems.push(problem);
    });
    following = (async () => {
      for await (const event of followMigrations(outside, { store: 'crates' })) followed.push(event);
    })();
    cluster = await Cluster.create('nats-cluster', totalCrates);
    nodes = await Promise.all([cluster.start(), cluster.start(), cluster.start()]);
  });
  afterEach(async () => {
    await outside.close();
    await following;
    await cluster.close();
    await server.stop();
  });

  const openAll = (records: number) => {
    for (const node of nodes) node.open({ version: 2, bus: server.address, hold: { records } });
    return Promise.all(nodes.map((node) => node.reported(isOf('opened', 2))));
  };
  const holdAll = (records: number) => {
    for (const node of nodes) node.hold(records);
  };
  const steer = (verb: 'pause' | 'resume' | 'cancel') =>
    controlMigration(outside, {
      store: 'crates',
      model: crateModelId,
      verb,
      by: 'a test',
      reason: `${verb} it`,
      timeoutMs: 30_000,
    });
  const readMoved = () =>
    cluster.database.transact(async (tx) => integerOf(await tx.get(cluster.keys.counter('recordsMoved'))));
  const movedTo = (records: number) => {
    const counter = cluster.keys.counter('recordsMoved');
    return cluster.until(`${records} records moved`, [counter], async (tx) => {
      const moved = integerOf(await tx.get(counter));
      return moved >= records ? moved : undefined;
    });
  };
  const becomes = (status: MigrationStateStatus) =>
    cluster.until(`the migration is ${status}`, [cluster.keys.state], async (tx) =>
      (await readState(tx, cluster.keys))?.status === status ? true : undefined,
    );
  const wanted = (want: Intent['want']) =>
    cluster.until(`an intent to ${want}`, [cluster.keys.intent], async (tx) =>
      (await readAnyIntent(tx, cluster.keys))?.want === want ? true : undefined,
    );
  const statesEverywhere = async () => {
    const answers = await Promise.all(nodes.map((node) => node.ask()));
    return answers.map(({ state }) => state);
  };
  const expectAllServing = async () => {
    const serving = await Promise.all(nodes.map((node) => node.reported(isOf('serving', 2))));
    const { mark } = crateAt(0, 2);
    expect(serving).toEqual(nodes.map(() => ({ type: 'serving', version: 2, mark, states: ['Idle'] })));
  };
  const expectEachMovedOnce = async () => {
    // An operator's word lets a migration go on that stands still: a step by whoever carried it out.
    const others = misdeeds(await cluster.testimonies()).filter((deed) => !deed.includes(' stepped '));
    expect(others).toEqual([]);
    expect(await readMoved()).toBe(totalCrates);
    const { store, crates } = await openCrates(cluster.database, cluster.place, 2);
    try {
      const found = [];
      for await (const crate of crates.scan()) found.push(crate);
      expect(found).toEqual(Array.from({ length: totalCrates }, (_, n) => crateAt(n, 2)));
    } finally {
      await store.close();
    }
  };
  const closeAll = async () => {
    for (const node of nodes) node.close();
    await Promise.all(nodes.map((node) => node.reported(isReport('closed'))));
  };
  /** The last state that the follower knows of. */
  const knownState = () =>
    followed
      .flatMap((event) => (event.type === 'status' || event.type === 'read' ? [event.status.state] : []))
      .at(-1);

  it(
    'are steered from outside, and whoever listens can tell their whole history',
    { timeout: timeoutMs },
    async () => {
      await openAll(1_000);
      await movedTo(1);
      expect(await steer('pause')).toMatchObject({ accepted: true, revision: 1 });
      // Each chunk reads the intent: what had not been committed by now is not.
      const moved = await readMoved();
      holdAll(2_500);
      await becomes('Paused');
      expect(await readMoved()).toBe(moved);

      expect(await steer('resume')).toMatchObject({ accepted: true, revision: 2 });
      await movedTo(moved + 1);
      expect(await steer('cancel')).toMatchObject({ accepted: true, revision: 3 });
      holdAll(everything);
      await becomes('Canceled');
      expect(await statesEverywhere()).toEqual(['Canceled', 'Canceled', 'Canceled']);
      await waitUntil('it is heard of outside', () => knownState() === 'Canceled');

      expect(await steer('resume')).toMatchObject({ accepted: true, revision: 4 });
      await expectAllServing();
      await expectEachMovedOnce();
      await closeAll();

      const persisted = await cluster.database.transact((tx) => readAuditEvents(tx, cluster.keys, 1_000));
      const history = () =>
        followed
          .flatMap((event) => (event.type === 'audit' ? [event] : []))
          .toSorted((a, b) => ((a.position ?? '') < (b.position ?? '') ? -1 : 1))
          .map(({ event }) => event);
      await waitUntil('all is heard', () => history().length >= persisted.length);
      expect(history()).toEqual(persisted);
      expect(followed.filter(({ type }) => type === 'gap')).toEqual([]);
      await waitUntil('the end is heard', () => knownState() === 'Idle');
      expect(problems).toEqual([]);
      expect(cluster.failures).toEqual([]);
    },
  );

  it(
    'go on while the server of the bus is killed again and again, and are told apart by nobody',
    { timeout: timeoutMs },
    async () => {
      const random = createSeededRandom(seed);
      const points = Array.from({ length: 5 }, () => 0.05 + 0.65 * random.fraction()).toSorted(
        (a, b) => a - b,
      );
      const held = (at: number) => totalCrates * ((points[at] ?? 1) + 0.05);
      await openAll(held(0));
      for (const [at, point] of points.entries()) {
        await movedTo(totalCrates * point);
        await server.kill();
        const share = (await readMoved()) / totalCrates;
        expect(share).toBeGreaterThanOrEqual(0.05);
        expect(share).toBeLessThanOrEqual(0.95);
        await waitUntil('all have noticed', async () => {
          const answers = await Promise.all(nodes.map((node) => node.ask()));
          return answers.every(({ bus }) => bus === 'reconnecting');
        });
        if (at % 2 === 1) {
          // By a node that need not be the owner.
          random.pick(nodes).operate('pause');
          await wanted('pause');
          holdAll(everything);
          await becomes('Paused');
          holdAll(held(at + 1));
          random.pick(nodes).operate('resume');
          await becomes('Running');
        }
        await server.start();
        holdAll(at === 4 ? everything : held(at + 1));
      }
      await expectAllServing();
      await expectEachMovedOnce();
      await waitUntil('the true state is known outside', () => knownState() === 'Idle');
      // From outside again, by whoever is there.
      const connection = await connect({ servers: server.address });
      const status = await controlMigration(connection, { store: 'crates', model: 'Crate', verb: 'status' });
      expect(status).toMatchObject({ accepted: true, status: { state: 'Idle', bus: { type: 'connected' } } });
      await connection.close();
      await closeAll();
      expect(problems).toEqual([]);
      expect(cluster.failures).toEqual([]);
    },
  );
});
