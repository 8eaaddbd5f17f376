import type { NatsConnection } from 'nats';
import { RequestStrategy } from 'nats';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openNatsService } from '../../src/cluster/nats-service.ts';
import { controlMigration, followMigrations } from '../../src/nats.ts';
import type { ControlReply, FollowedMigration } from '../../src/nats.ts';
import { release } from '../../src/release.ts';
import type { FoundationDBDataStore } from '../../src/store/store.ts';
import type { NatsPlace } from '../rig/nats-place.ts';
import { findServices, openNatsPlace, openSteered } from '../rig/nats-place.ts';
import { natsServerBinary } from '../rig/nats-server.ts';
import type { Barrier, World } from '../rig/operators.ts';
import { codeOf, createBarrier, createWorld, waitUntil } from '../rig/operators.ts';

const timeoutMs = 20_000;

const service = {
  name: 'godwit',
  version: '1.0.0',
  description: '',
  metadata: {},
  subject: 'ask.>',
  group: 'g',
} as const;

describe.runIf(natsServerBinary !== undefined)('stores on one NATS server', () => {
  let place: NatsPlace;
  let outside: NatsConnection;
  let barrier: Barrier;
  const worlds: World[] = [];
  beforeEach(async () => {
    place = await openNatsPlace();
    outside = await place.connection();
    barrier = createBarrier();
    barrier.shut();
  });
  afterEach(async () => {
    barrier.open();
    await Promise.all(worlds.splice(0).map((world) => world.close()));
    await place.close();
  });

  /** A database of its own, with towns to migrate. */
  async function openWorld(): Promise<World> {
    const world = createWorld();
    worlds.push(world);
    await world.fill(30);
    return world;
  }

  async function open(world: World, nodeId: string, options: Partial<Parameters<World['open']>[0]> = {}) {
    const bus = await place.connectedBus();
    const store = await openSteered(world, barrier, { bus, nodeId, ...options });
    return { bus, store };
  }

  const status = (databaseId?: string): Promise<ControlReply> =>
    controlMigration(outside, { store: 'geo', model: 1, verb: 'status', databaseId, timeoutMs });

  const findNodes = async (connection = outside) =>
    (await findServices(connection)).map(({ metadata }) => metadata?.['nodeId'] ?? '').toSorted();

  describe('of one database', () => {
    let opened: Awaited<ReturnType<typeof open>>[];
    beforeEach(async () => {
      const world = await openWorld();
      opened = [];
      for (const nodeId of ['a', 'b', 'c']) opened.push(await open(world, nodeId));
      await waitUntil('all are found', async () => (await findNodes()).length === 3);
    });

    it('are found by the service tools of NATS: who they are, what they answer, how often they did', async () => {
      const { databaseId } = await status();
      const found = await findServices(outside);
      expect(await findNodes()).toEqual(['a', 'b', 'c']);
      const sessions = new Set(found.map(({ metadata }) => metadata?.['session']));
      expect(sessions.size).toBe(3);
      for (const one of found) {
        expect(one).toMatchObject({
          name: 'godwit',
          version: release,
          metadata: { store: 'geo', databaseId },
        });
      }
      const client = outside.services.client();
      for await (const { description, endpoints } of await client.info('godwit')) {
        expect(description).toBe('Migrations of the store geo');
        expect(endpoints).toMatchObject([
          { name: 'control', subject: 'godwit.geo.control.>', queue_group: `godwit-${databaseId}` },
        ]);
      }
      for (let n = 0; n < 20; n += 1) await status();
      let requests = 0;
      for await (const { endpoints } of await client.stats('godwit')) {
        requests += endpoints?.[0]?.num_requests ?? 0;
      }
      // Each request was one node's.
      expect(requests).toBe(21);
    });

    it('answer each request by exactly one of them', async () => {
      const answers = new Map<string, string[]>();
      const inbox = outside.subscribe('replies.*', {
        callback: (_, message) => {
          const { nodeId } = message.json<ControlReply>();
          answers.set(message.subject, [...(answers.get(message.subject) ?? []), nodeId]);
        },
      });
      const requests = 60;
      for (let n = 0; n < requests; n += 1) {
        outside.publish('godwit.geo.control.1.status', '', { reply: `replies.${n}` });
      }
      await waitUntil('all are answered', () => answers.size === requests);
      // Whatever else was answered to those came before the answer to a request behind them.
      for (let n = 0; n < 30; n += 1) await status();
      expect([...answers.values()].every(({ length }) => length === 1)).toBe(true);
      expect(new Set([...answers.values()].flat()).size).toBeGreaterThan(1);
      inbox.unsubscribe();
    });

    it('are found and asked again behind a restart of the server, and gone when they are closed', async () => {
      await place.server.kill();
      await waitUntil('all have lost it', () => opened.every(({ bus }) => bus.state.type !== 'connected'));
      await place.server.start();
      await waitUntil('all are back', () => opened.every(({ bus }) => bus.state.type === 'connected'));
      const later = await place.connection();
      await waitUntil('all are found', async () => (await findNodes(later)).length === 3);
      const control = { store: 'geo', model: 1, verb: 'status', timeoutMs } as const;
      expect(await controlMigration(later, control)).toMatchObject({ accepted: true });
      barrier.open();
      const [first, ...others] = opened;
      await first?.store.close();
      await waitUntil('it is gone', async () => (await findNodes(later)).join() === 'b,c');
      await Promise.all(others.map(({ store }) => store.close()));
      await waitUntil('all are gone', async () => (await findNodes(later)).length === 0);
      expect(await codeOf(controlMigration(later, { ...control, timeoutMs: 300 }))).toBe('BUS_UNANSWERED');
    });
  });

  describe('of two databases, by one name', () => {
    let one: Awaited<ReturnType<typeof open>>;
    let other: Awaited<ReturnType<typeof open>>;
    let ids: string[];
    const intents = () =>
      Promise.all([one, other].map(async ({ store }) => (await store.migrationStatus(1)).intentRevision));
    beforeEach(async () => {
      one = await open(await openWorld(), 'a');
      other = await open(await openWorld(), 'b');
      await waitUntil('both are found', async () => (await findNodes()).length === 2);
      const found = await findServices(outside);
      ids = ['a', 'b'].map(
        (nodeId) =>
          found.find(({ metadata }) => metadata?.['nodeId'] === nodeId)?.metadata?.['databaseId'] ?? '',
      );
      await waitUntil('both know', () => refusedByBoth());
    });

    /** Both are asked, and both say that they are not alone. */
    async function refusedByBoth(body = '', verb = 'pause'): Promise<boolean> {
      const replies: ControlReply[] = [];
      const options = { strategy: RequestStrategy.Count, maxMessages: 2, maxWait: 5_000 };
      const subject = `godwit.geo.control.1.${verb}`;
      for await (const message of await outside.requestMany(subject, body, options)) {
        replies.push(message.json<ControlReply>());
      }
      const nodes = new Set(replies.map(({ nodeId }) => nodeId));
      return nodes.size === 2 && replies.every(({ code }) => code === 'STORE_AMBIGUOUS');
    }

    it.each(['pause', 'resume', 'cancel'] as const)(
      'both refuse to %s where none is named, and change nothing',
      async (verb) => {
        for (let n = 0; n < 5; n += 1) expect(await refusedByBoth('', verb)).toBe(true);
        const control = { store: 'geo', model: 'Town', verb, timeoutMs };
        expect(await controlMigration(outside, control)).toMatchObject({
          accepted: false,
          code: 'STORE_AMBIGUOUS',
        });
        expect(await intents()).toEqual([0, 0]);
      },
    );

    it('the one that is named answers, always', async () => {
      for (let n = 0; n < 20; n += 1) {
        const at = n % 2;
        expect(await status(ids[at])).toMatchObject({ nodeId: at === 0 ? 'a' : 'b', databaseId: ids[at] });
      }
      const control = { store: 'geo', model: 1, verb: 'pause', timeoutMs, databaseId: ids[1] } as const;
      expect(await controlMigration(outside, control)).toMatchObject({ accepted: true, nodeId: 'b' });
      expect(await intents()).toEqual([0, 1]);
      expect(
        await codeOf(controlMigration(outside, { ...control, databaseId: 'nobody', timeoutMs: 300 })),
      ).toBe('TIMEOUT');
    });

    it('a follower ends where none is named, and hears that alone which is', async () => {
      const all = async (following: AsyncIterable<FollowedMigration>) => {
        const followed: FollowedMigration[] = [];
        for await (const message of following) followed.push(message);
        return followed;
      };
      const controller = new AbortController();
      const { signal } = controller;
      const following = [true, false].map((reads) =>
        codeOf(all(followMigrations(outside, { store: 'geo', reads, signal }))),
      );
      const named = all(followMigrations(outside, { store: 'geo', databaseId: ids[0], signal }));
      await outside.flush();
      barrier.open();
      expect(await Promise.all(following)).toEqual(['STORE_AMBIGUOUS', 'STORE_AMBIGUOUS']);
      await Promise.all([one, other].map(({ store }) => store.awaitMigration(1)));
      // Last words of both have been said by then.
      await Promise.all([one, other].map(({ store }) => store.close()));
      await Promise.all([one, other].map(({ bus }) => bus.close()));
      await outside.flush();
      controller.abort();
      const followed = await named;
      const heard = followed.flatMap((message) => (message.type === 'gap' ? [] : [message.databaseId]));
      expect(new Set(heard)).toEqual(new Set([ids[0]]));
      expect(followed.some(({ type }) => type === 'audit')).toBe(true);
    });

    it('once one is gone, and the other was connected again, none has to be named', async () => {
      barrier.open();
      await other.store.close();
      await place.server.kill();
      await waitUntil('it has lost the server', () => one.bus.state.type !== 'connected');
      await place.server.start();
      await waitUntil('it is back', () => one.bus.state.type === 'connected');
      const later = await place.connection();
      const control = { store: 'geo', model: 1, verb: 'status', timeoutMs } as const;
      expect(await controlMigration(later, control)).toMatchObject({ accepted: true, nodeId: 'a' });
    });

    it('a node that comes later knows of them too', async () => {
      const third = await open(worlds[0] ?? (await openWorld()), 'c');
      await waitUntil('it is found', async () => (await findNodes()).length === 3);
      const ask = () => controlMigration(outside, { store: 'geo', model: 1, verb: 'pause', timeoutMs });
      for (let n = 0; n < 20; n += 1) expect((await ask()).code).toBe('STORE_AMBIGUOUS');
      await third.store.close();
      expect(await intents()).toEqual([0, 0]);
    });
  });

  it('a service is to be opened anew once its connection is closed', async () => {
    const connection = await place.connection();
    const around = { hear: () => undefined, refused: () => undefined };
    const live = openNatsService(connection, { ...service, answer: (payload) => payload }, around);
    await waitUntil('it is found', async () => (await findServices(outside)).length === 1);
    expect(live.isClosed()).toBe(false);
    await connection.close();
    expect(live.isClosed()).toBe(true);
  });

  it.each([
    ['of another name', { storeName: 'geo2' }, { store: 'geo2' }],
    ['of another prefix', { subjectPrefix: 'team.two' }, { store: 'geo', prefix: 'team.two' }],
  ])('do not hear a store %s', async (_, options, remote) => {
    const here = await open(await openWorld(), 'a');
    const there = await open(await openWorld(), 'b', options);
    const subjects: string[] = [];
    outside.subscribe('>', {
      callback: (_error, { subject }) => {
        if (!subject.includes('.control.') && !/^(?:_INBOX|\$)/.test(subject)) subjects.push(subject);
      },
    });
    await waitUntil('both are found', async () => (await findNodes()).length === 2);
    const control = { model: 1, verb: 'pause', timeoutMs } as const;
    for (let n = 0; n < 10; n += 1) {
      expect(await controlMigration(outside, { store: 'geo', ...control })).toMatchObject({
        accepted: true,
        nodeId: 'a',
      });
      const reply = await controlMigration(outside, { ...remote, ...control, verb: 'status' });
      expect(reply).toMatchObject({ accepted: true, nodeId: 'b', revision: 0 });
    }
    const statuses = [here, there].map(async ({ store }: { store: FoundationDBDataStore }) => {
      const { intentRevision } = await store.migrationStatus(1);
      return intentRevision;
    });
    expect(await Promise.all(statuses)).toEqual([1, 0]);
    barrier.open();
    await there.store.awaitMigration(1);
    await there.store.close();
    await there.bus.close();
    await outside.flush();
    const { store, prefix = 'godwit' } = remote as { readonly store: string; readonly prefix?: string };
    const own = subjects.filter((subject) => subject.startsWith(`${prefix}.${store}.`));
    expect(own.length).toBeGreaterThan(0);
    for (const subject of subjects) expect(subject).toMatch(/^(?:godwit\.geo|godwit\.geo2|team\.two\.geo)\./);
  });
});
