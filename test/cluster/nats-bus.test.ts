import type { NatsConnection } from 'nats';
import { connect } from 'nats';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BusState, WholeMessageBus } from '../../src/cluster/bus.ts';
import type { NatsBusOptions } from '../../src/cluster/nats-bus.ts';
import { natsBus } from '../../src/cluster/nats-bus.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationEvent } from '../../src/migration/events.ts';
import { reaches } from '../conformance/bus-suite.ts';
import { startDeafServer } from '../rig/deaf-nats-server.ts';
import type { NatsServer } from '../rig/nats-server.ts';
import { natsServerBinary, startNatsServer } from '../rig/nats-server.ts';
import type { World } from '../rig/operators.ts';
import { codeOf, createWorld, RegionV1, TownV1, TownV2, toV2, waitUntil } from '../rig/operators.ts';

/** A lost server is looked for this often: the tests wait for it. */
const reconnectTimeWait = 50;

describe.runIf(natsServerBinary !== undefined)('a bus on NATS', () => {
  let server: NatsServer;
  const buses: WholeMessageBus[] = [];
  const connections: NatsConnection[] = [];
  beforeEach(async () => {
    server = await startNatsServer();
  });
  afterEach(async () => {
    await Promise.all(buses.splice(0).map((bus) => bus.close()));
    await Promise.all(connections.splice(0).map((connection) => connection.close()));
    await server.stop();
  });

  const open = (options: NatsBusOptions = {}): WholeMessageBus => {
    const bus = natsBus({ servers: server.address, reconnectTimeWait, ...options });
    buses.push(bus);
    return bus;
  };
  const openConnection = async (): Promise<NatsConnection> => {
    const connection = await connect({ servers: server.address, reconnectTimeWait });
    connections.push(connection);
    return connection;
  };
  const becomes = (bus: WholeMessageBus, type: BusState['type']) =>
    waitUntil(`it is ${type}`, () => bus.state.type === type);
  const listen = (bus: WholeMessageBus): BusState['type'][] => {
    const told: BusState['type'][] = [];
    bus.onState(({ type }) => told.push(type));
    return told;
  };

  describe('when its server is killed and started again', () => {
    it.each([
      ['of its own', () => Promise.resolve(open())],
      [
        'of the application',
        async () => {
          const bus = natsBus({ connection: await openConnection() });
          buses.push(bus);
          return bus;
        },
      ],
    ])('tells it by a connection %s, and all its subscriptions work again', async (_, openOne) => {
      const bus = await openOne();
      const told = listen(bus);
      await becomes(bus, 'connected');
      told.length = 0;
      const heard: string[] = [];
      bus.subscribe('a.>', (payload) => heard.push(Buffer.from(payload).toString()));
      bus.respond('ask', 'g', (payload) => payload);
      for (let round = 1; round <= 2; round += 1) {
        await server.kill();
        await becomes(bus, 'reconnecting');
        const { dropped } = bus.counts;
        bus.publish('a.b', Buffer.from('into the void'));
        expect(bus.counts.dropped).toBe(dropped + 1);
        expect(await codeOf(bus.request('ask', Buffer.from(''), { timeoutMs: 600_000 }))).toBe(
          'BUS_UNANSWERED',
        );
        await server.start();
        await becomes(bus, 'connected');
        const outside = open();
        await reaches(outside, bus);
        outside.publish('a.b', Buffer.from(`round ${round}`));
        await waitUntil('it heard', () => heard.length >= round);
        expect(
          Buffer.from(await outside.request('ask', Buffer.from('?'), { timeoutMs: 20_000 })).toString(),
        ).toBe('?');
      }
      expect(told).toEqual(['reconnecting', 'connected', 'reconnecting', 'connected']);
      expect(heard).toEqual(['round 1', 'round 2']);
    });

    it('begins without one too: what subscribed before the first connection hears after it', async () => {
      await server.kill();
      const bus = open();
      const heard: string[] = [];
      bus.subscribe('a', (payload) => heard.push(Buffer.from(payload).toString()));
      await waitUntil('an attempt has failed', () => bus.counts.failures > 0);
      expect(bus.state).toMatchObject({ type: 'reconnecting', lastError: { code: 'CONNECTION_REFUSED' } });
      await server.start();
      await becomes(bus, 'connected');
      bus.publish('a', Buffer.from('at last'));
      await waitUntil('it heard', () => heard.length > 0);
      expect(heard).toEqual(['at last']);
    });

    it('ends at once when it is closed without a connection', async () => {
      await server.kill();
      const bus = open({ reconnectTimeWait: 600_000 });
      await waitUntil('an attempt has failed', () => bus.counts.failures > 0);
      await bus.close();
      expect(bus.state.type).toBe('closed');
    });
  });

  describe('of a user who may not', () => {
    const permissions = (allowed: string) =>
      `authorization { users = [{ user: reader, password: secret, permissions: { publish: ${allowed}, subscribe: "probe.>" } }, { user: all, password: secret }] }`;
    const reader = { user: 'reader', pass: 'secret' };
    const all = { user: 'all', pass: 'secret' };

    it('publish, goes on, and sees each refusal: counted, kept, and logged once', async () => {
      await server.kill();
      await server.start(permissions('"probe.>"'));
      const logged: string[] = [];
      const bus = open({ ...reader, logger: { warn: (_, message) => logged.push(message) } });
      const outside = open(all);
      await becomes(bus, 'connected');
      await becomes(outside, 'connected');
      const heard: string[] = [];
      outside.subscribe('a', (payload) => heard.push(Buffer.from(payload).toString()));
      await reaches(bus, outside);
      bus.publish('a', Buffer.from('1'));
      bus.publish('a', Buffer.from('2'));
      await waitUntil('both are refused', () => bus.counts.failures === 2);
      expect(bus.state).toMatchObject({
        type: 'connected',
        lastError: { code: 'PERMISSIONS_VIOLATION', message: 'the client may not publish to a' },
      });
      expect(logged).toEqual(['the message bus: the client may not publish to a']);
      await reaches(bus, outside);
      expect(heard).toEqual([]);
    });

    it('subscribe, sees that too, and hears once it may', async () => {
      await server.kill();
      await server.start(permissions('">"'));
      const bus = open(reader);
      await becomes(bus, 'connected');
      const heard: string[] = [];
      bus.subscribe('a', (payload) => heard.push(Buffer.from(payload).toString()));
      await waitUntil('it is refused', () => bus.counts.failures === 1);
      expect(bus.state.lastError?.message).toBe('the client may not subscribe to a');
      await server.kill();
      await becomes(bus, 'reconnecting');
      await server.start('authorization { user: reader, password: secret }');
      await becomes(bus, 'connected');
      bus.publish('a', Buffer.from('granted'));
      await waitUntil('it heard', () => heard.length > 0);
    });

    it('connect, tries again until he may', async () => {
      await server.kill();
      await server.start('authorization { user: somebody, password: else }');
      const bus = open(reader);
      await waitUntil('it is refused several times', () => bus.counts.failures >= 3);
      expect(bus.state).toMatchObject({
        type: 'reconnecting',
        lastError: { code: 'AUTHORIZATION_VIOLATION' },
      });
      await server.kill();
      await server.start('authorization { user: reader, password: secret }');
      await becomes(bus, 'connected');
      // And so where he was there before.
      await server.kill();
      await server.start('authorization { user: somebody, password: else }');
      const { failures } = bus.counts;
      await waitUntil('it is refused several times', () => bus.counts.failures >= failures + 3);
      await server.kill();
      await server.start('authorization { user: reader, password: secret }');
      await becomes(bus, 'connected');
    });
  });

  it('sends all that was published before it is closed', async () => {
    const bus = open();
    const outside = open();
    await becomes(bus, 'connected');
    await becomes(outside, 'connected');
    let heard = 0;
    outside.subscribe('a', () => (heard += 1));
    await reaches(bus, outside);
    const messages = 15;
    for (let n = 0; n < messages; n += 1) bus.publish('a', Buffer.alloc(500_000));
    await bus.close();
    expect(bus.counts.dropped).toBe(0);
    await waitUntil('all were heard', () => heard === messages);
  });

  it('leaves the connection of the application as it was', async () => {
    const connection = await openConnection();
    const bus = natsBus({ connection });
    bus.subscribe('a', () => undefined);
    await becomes(bus, 'connected');
    await bus.close();
    expect([connection.isClosed(), connection.isDraining()]).toEqual([false, false]);
    const own = connection.subscribe('b', { max: 1 });
    connection.publish('b', 'still there');
    for await (const message of own) expect(message.string()).toBe('still there');
  });

  it('is closed when the application closes its connection', async () => {
    const connection = await openConnection();
    const bus = natsBus({ connection });
    const told = listen(bus);
    await connection.close();
    await becomes(bus, 'closed');
    expect(told.at(-1)).toBe('closed');
    bus.publish('a', Buffer.from('too late'));
    expect(bus.counts.dropped).toBe(1);
    const late = natsBus({ connection });
    await becomes(late, 'closed');
  });

  it('drops a message that is larger than the server takes, and goes on', async () => {
    const bus = open();
    await becomes(bus, 'connected');
    bus.publish('a', Buffer.alloc(1_048_577));
    expect(bus.counts).toEqual({ dropped: 1, failures: 1 });
    expect(bus.state.lastError?.code).toBe('MAX_PAYLOAD_EXCEEDED');
    await reaches(bus, bus);
  });

  it('carries much more than may be pending where the server reads', async () => {
    const bus = open();
    const outside = open();
    await becomes(bus, 'connected');
    await becomes(outside, 'connected');
    let bytes = 0;
    outside.subscribe('a', (payload) => (bytes += payload.byteLength));
    await reaches(bus, outside);
    const payload = Buffer.alloc(500_000);
    const messages = 60;
    for (let n = 1; n <= messages; n += 1) {
      bus.publish('a', payload);
      await waitUntil('it arrives', () => bytes === n * payload.byteLength);
    }
    expect(bus.counts).toEqual({ dropped: 0, failures: 0 });
  });

  describe('under a store', () => {
    let world: World;
    beforeEach(() => {
      world = createWorld();
    });
    afterEach(() => world.close());

    /** Everything that is published below `godwit`, as text. */
    const follow = async () => {
      const connection = await openConnection();
      const events: (MigrationEvent & { readonly subject: string })[] = [];
      connection.subscribe('godwit.>', {
        callback: (_, message) =>
          events.push({ subject: message.subject, ...message.json<MigrationEvent>() }),
      });
      await connection.flush();
      return events;
    };

    it('is opened by its address and closed with the store, last words included', async () => {
      const events = await follow();
      await world.fill(200);
      const store = await world.open({
        dataModelsById: { 1: TownV2 },
        migrationHandler: backfill({ transform: toV2 }),
        bus: `nats://127.0.0.1:1, nats://${server.address}`,
        storeName: 'geo',
        migrationStartupBudgetMs: 0,
        continueMigrationsInBackground: true,
      });
      await waitUntil('the store is heard', () => events.length > 0);
      await store.awaitMigration(1);
      await store.close();
      await waitUntil('it ended', () =>
        events.some((event) => event.type === 'status' && event.status.state === 'Idle'),
      );
      expect(new Set(events.map(({ subject }) => subject.split('.')[1]))).toEqual(new Set(['geo']));
    });

    it('publishes the present status of every model again after a reconnect', async () => {
      const events = await follow();
      // Later than the one who follows, as a rule; where it was not, the next round will tell.
      const bus = open({ reconnectTimeWait: 300 });
      await becomes(bus, 'connected');
      const models = { 1: TownV1, 2: RegionV1 };
      const store = await world.open({ dataModelsById: models, bus, storeName: 'geo' });
      const told: number[] = [];
      const telling = (async () => {
        for await (const { type, modelId } of store.migrationEvents())
          if (type === 'status') told.push(modelId);
      })();
      const statuses = () =>
        events.flatMap((event) =>
          event.type === 'status' ? [`${event.subject} ${event.modelId} ${event.status.state}`] : [],
        );
      const expected = ['godwit.geo.status.1 1 Idle', 'godwit.geo.status.2 2 Idle'];
      for (let round = 0; round < 20 && statuses().length < expected.length; round += 1) {
        events.length = told.length = 0;
        await server.kill();
        await becomes(bus, 'reconnecting');
        await server.start();
        await waitUntil('both were told in the process', () => told.length >= 2);
        const { length } = events;
        await waitUntil('the one who follows hears again', () => {
          bus.publish('godwit.marker', Buffer.from('{}'));
          return events.length > length;
        });
      }
      expect(statuses().toSorted()).toEqual(expected);
      await store.close();
      await telling;
      expect(bus.state.type).toBe('connected');
    });

    it('lets two stores of other names on one server not hear each other', async () => {
      await world.fill(50);
      const outside = open();
      await becomes(outside, 'connected');
      const heard: Record<string, Set<string>> = { here: new Set(), there: new Set() };
      for (const name of ['here', 'there']) {
        outside.subscribe(`godwit.${name}.>`, (_, subject) => heard[name]?.add(subject));
      }
      const bus = open();
      await becomes(bus, 'connected');
      await reaches(bus, outside);
      const store = await world.open({
        dataModelsById: { 1: TownV2 },
        migrationHandler: backfill({ transform: toV2 }),
        bus,
        storeName: 'here',
      });
      await store.close();
      await reaches(bus, outside);
      expect(heard['here']).toEqual(
        new Set(['node', 'work', 'audit.1', 'status.1', 'metrics.1'].map((end) => `godwit.here.${end}`)),
      );
      expect(heard['there']).toEqual(new Set());
    });
  });
});

describe('a bus that is of no use', () => {
  let world: World;
  beforeEach(() => {
    world = createWorld();
  });
  afterEach(() => world.close());

  it.each(['is away', 'has stopped reading'])('holds up no migration where its server %s', async (how) => {
    const server = await startDeafServer();
    if (how === 'is away') await server.close();
    const towns = 500;
    await world.fill(towns);
    const store = await world.open({
      dataModelsById: { 1: TownV2 },
      migrationHandler: backfill({ transform: toV2 }),
      bus: `nats://${server.address}`,
    });
    expect(await store.model(TownV2).count()).toBe(towns);
    await store.close();
    await server.close();
  });
});
