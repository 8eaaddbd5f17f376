import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConnectionOptions } from 'nats';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { repositoryTop } from '../../.scripts/architecture.ts';
import type { WholeMessageBus } from '../../src/cluster/bus.ts';
import type { FollowedMigration } from '../../src/nats.ts';
import { controlMigration, followMigrations } from '../../src/nats.ts';
import type { FoundationDBDataStore } from '../../src/store/store.ts';
import type { NatsPlace } from '../rig/nats-place.ts';
import { findServices, openNatsPlace, openSteered } from '../rig/nats-place.ts';
import { natsServerBinary } from '../rig/nats-server.ts';
import type { Barrier, World } from '../rig/operators.ts';
import { createBarrier, createWorld, errorFrom, waitForStatus, waitUntil } from '../rig/operators.ts';

/** What is shipped, as it is. */
const permissions = readFileSync(join(repositoryTop, 'docs/nats-permissions.conf'), 'utf8');
const users = ['node', 'operator', 'reader', 'observer'] as const;
type User = (typeof users)[number];

const as = (user: User): ConnectionOptions => ({
  user,
  pass: `secret-of-${user}`,
  ...(user === 'operator' || user === 'reader' ? { inboxPrefix: `_INBOX_${user}` } : {}),
});

/** The file with one right less, which is the first of the kind: the node's. */
function without(right: string): string {
  if (!permissions.includes(right)) throw new Error(`nobody has the right ${right}`);
  return permissions.replace(right, '');
}

describe.runIf(natsServerBinary !== undefined)('with the permissions of docs/nats-permissions.conf', () => {
  let world: World;
  let barrier: Barrier;
  let place: NatsPlace;
  let store: FoundationDBDataStore;
  beforeEach(async () => {
    for (const user of users) process.env[`GODWIT_${user.toUpperCase()}_PASSWORD`] = `secret-of-${user}`;
    world = createWorld();
    barrier = createBarrier();
    await world.fill(120);
  });
  afterEach(async () => {
    barrier.open();
    await world.close();
    await place.close();
    for (const user of users) delete process.env[`GODWIT_${user.toUpperCase()}_PASSWORD`];
  });

  /** Held, on a bus of the user `node`. */
  async function begin(configuration = permissions): Promise<{ bus: WholeMessageBus; logged: string[] }> {
    place = await openNatsPlace(configuration);
    const logged: string[] = [];
    const bus = place.bus({
      ...as('node'),
      logger: { warn: (details) => logged.push((details as { code: string }).code) },
    });
    await waitUntil('the bus is connected', () => bus.state.type === 'connected');
    barrier.shut();
    store = await openSteered(world, barrier, { bus, nodeId: 'node-a' });
    await waitUntil('it is held', () => barrier.waiting > 0);
    return { bus, logged };
  }

  /** Until it has been told so. */
  async function followUntil(
    following: AsyncIterable<FollowedMigration>,
    isEnough: (one: FollowedMigration) => boolean,
  ): Promise<readonly FollowedMigration[]> {
    const followed: FollowedMigration[] = [];
    for await (const one of following) {
      followed.push(one);
      if (isEnough(one)) break;
    }
    return followed;
  }

  /** The server dies, and comes back with every right granted. */
  async function grant(bus: WholeMessageBus): Promise<void> {
    await place.server.kill();
    await waitUntil('the bus has lost it', () => bus.state.type === 'reconnecting');
    await place.server.start(permissions);
    await waitUntil('the bus is connected', () => bus.state.type === 'connected');
  }

  const isDone = (one: FollowedMigration) => one.type === 'status' && one.status.state === 'Idle';

  async function expectNothingToHaveChanged(): Promise<void> {
    expect(await store.migrationStatus(1)).toMatchObject({ state: 'Running', intentRevision: 0 });
    const types = (await store.migrationAuditEvents(1)).map(({ type }) => type);
    expect(types.filter((type) => ['Paused', 'Resumed', 'Canceled'].includes(type))).toEqual([]);
  }

  it('a node has what it needs: it tells, is asked, is found, and is refused nothing', async () => {
    const { bus } = await begin();
    const operator = await place.connection(as('operator'));
    const following = followMigrations(operator, { store: 'geo' });
    const paused = await controlMigration(operator, {
      store: 'geo',
      model: 'Town',
      verb: 'pause',
      by: 'ann',
      timeoutMs: 20_000,
    });
    expect(paused).toMatchObject({ accepted: true, nodeId: 'node-a', revision: 1 });
    barrier.open();
    await waitForStatus(store, 'Paused');
    expect(await findServices(operator)).toMatchObject([{ metadata: { store: 'geo', nodeId: 'node-a' } }]);
    expect(
      await controlMigration(operator, { store: 'geo', model: 1, verb: 'resume', timeoutMs: 20_000 }),
    ).toMatchObject({ accepted: true, revision: 2 });
    const followed = await followUntil(following, isDone);
    expect(new Set(followed.map(({ type }) => type))).toEqual(
      new Set(['read', 'status', 'audit', 'metrics']),
    );
    await store.awaitMigration(1);
    expect(bus.counts).toEqual({ dropped: 0, failures: 0 });
  });

  it.each(['pause', 'resume', 'cancel', 'approve'] as const)(
    'the server refuses a reader who wants to %s: he sees it, and nothing changes',
    async (verb) => {
      await begin();
      const bus = await place.connectedBus(as('reader'));
      const error = await errorFrom(controlMigration(bus, { store: 'geo', model: 1, verb }));
      expect(error).toMatchObject({ code: 'BUS_UNANSWERED', details: { refused: true } });
      expect(bus.state.lastError).toMatchObject({
        code: 'PERMISSIONS_VIOLATION',
        message: `the client may not publish to godwit.geo.control.1.${verb}`,
      });
      const byName = controlMigration(bus, { store: 'geo', model: 'Town', verb });
      expect((await errorFrom(byName)).details).toMatchObject({ refused: true });
      // Asked behind those: had they come, they would have been carried out by now.
      const status = await controlMigration(bus, {
        store: 'geo',
        model: 1,
        verb: 'status',
        timeoutMs: 20_000,
      });
      expect(status).toMatchObject({ accepted: true, revision: 0 });
      await expectNothingToHaveChanged();
    },
  );

  it('a reader changes nothing by an answer that he has sent to where controls are asked for', async () => {
    await begin();
    const reader = await place.connection(as('reader'));
    for (const verb of ['pause', 'cancel']) {
      const reply = `godwit.geo.control.1.${verb}`;
      const requestId = '{"accepted":true}';
      reader.publish('godwit.geo.control.1.status', JSON.stringify({ requestId }), { reply });
    }
    const status = await controlMigration(reader, {
      store: 'geo',
      model: 1,
      verb: 'status',
      timeoutMs: 20_000,
    });
    expect(status.revision).toBe(0);
    await expectNothingToHaveChanged();
  });

  it('a reader follows, and reads what is true', async () => {
    await begin();
    const bus = await place.connectedBus(as('reader'));
    const following = followMigrations(bus, { store: 'geo' });
    const [first] = await followUntil(followMigrations(bus, { store: 'geo' }), ({ type }) => type === 'read');
    expect(first).toMatchObject({ type: 'read', modelId: 1, status: { state: 'Running' } });
    barrier.open();
    await followUntil(following, isDone);
    expect(bus.counts.failures).toBe(0);
  });

  it('an observer follows without reading, and can say nothing', async () => {
    await begin();
    const bus = await place.connectedBus(as('observer'));
    const following = followMigrations(bus, { store: 'geo', reads: false });
    // Subscribed, once something published behind that has been refused.
    bus.publish('godwit.geo.status.1', Buffer.from('{}'));
    await waitUntil('it is refused', () => bus.counts.failures === 1);
    barrier.open();
    const followed = await followUntil(following, isDone);
    expect(followed.some(({ type }) => type === 'audit')).toBe(true);
    expect(bus.counts.failures).toBe(1);
    const asking = controlMigration(bus, { store: 'geo', model: 1, verb: 'status' });
    expect((await errorFrom(asking)).details).toMatchObject({ refused: true });
  });

  it('a node that may not be found is asked all the same, and shows that', async () => {
    const { bus, logged } = await begin(without(', "$SRV.*", "$SRV.*.godwit", "$SRV.*.godwit.*"'));
    await waitUntil('it is refused', () => logged.includes('PERMISSIONS_VIOLATION'));
    expect((await store.migrationStatus(1)).bus?.lastError?.message).toContain('may not subscribe to $SRV.');
    const operator = await place.connection(as('operator'));
    for (const verb of ['pause', 'resume'] as const) {
      const control = { store: 'geo', model: 1, verb, timeoutMs: 20_000 };
      expect(await controlMigration(operator, control)).toMatchObject({ accepted: true });
    }
    expect((await store.migrationStatus(1)).intentRevision).toBe(2);
    expect(await findServices(operator)).toEqual([]);
    await grant(bus);
    const later = await place.connection(as('operator'));
    await waitUntil('it is found', async () => (await findServices(later)).length > 0);
  });

  it('a node that may not be asked goes on, and shows that', async () => {
    const { bus } = await begin(without('"godwit.geo.control.>", '));
    const message = 'the client may not subscribe to godwit.geo.control.>';
    await waitUntil('it is refused for good', () => bus.state.lastError?.message === message);
    expect((await store.migrationStatus(1)).bus).toMatchObject({
      type: 'connected',
      lastError: { code: 'PERMISSIONS_VIOLATION', message },
    });
    const operator = await place.connection(as('operator'));
    const following = followMigrations(operator, { store: 'geo', reads: false });
    await operator.flush();
    barrier.open();
    await followUntil(following, isDone);
    await store.awaitMigration(1);
    await grant(bus);
    const later = await place.connection(as('operator'));
    const status = await controlMigration(later, {
      store: 'geo',
      model: 1,
      verb: 'status',
      timeoutMs: 20_000,
    });
    expect(status).toMatchObject({ accepted: true, nodeId: 'node-a' });
    await waitUntil('it is found', async () => (await findServices(later)).length > 0);
  });

  it('a node of another store is refused everything of this one', async () => {
    await begin();
    const bus = await place.connectedBus(as('node'));
    const other = await openSteered(world, createBarrier(), {
      bus,
      storeName: 'geo2',
      migrationExpandHandler: undefined,
      migrationRole: 'wait',
    });
    await waitUntil('it is refused', () => bus.counts.failures > 0);
    expect(bus.state.lastError?.code).toMatch(/PERMISSIONS_VIOLATION|SERVICE_REFUSED/);
    await other.close();
  });
});
