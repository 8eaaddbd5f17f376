import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { MessageBus, WholeMessageBus } from '../../src/cluster/bus.ts';
import { localBus } from '../../src/cluster/local-bus.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationStatus } from '../../src/migration/status.ts';
import { controlMigration } from '../../src/remote/control-migration.ts';
import { followMigrations } from '../../src/remote/follow-migrations.ts';
import type { FollowedMigration, FollowOptions } from '../../src/remote/follow-migrations.ts';
import type { Barrier, World } from '../rig/operators.ts';
import {
  codeOf,
  createBarrier,
  createWorld,
  heldHandler,
  RegionV1,
  TownV2,
  toV2,
  waitUntil,
} from '../rig/operators.ts';

const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));

let bus: WholeMessageBus;
beforeEach(() => {
  bus = localBus();
});
afterEach(() => bus.close());

/** Collects until the end of the loop, which the end of the bus brings about at the latest. */
function follow(options: Partial<FollowOptions> = {}, on: MessageBus = bus) {
  const followed: FollowedMigration[] = [];
  const over = (async () => {
    const events = followMigrations(on as WholeMessageBus, { store: 'geo', ...options });
    for await (const event of events) followed.push(event);
  })();
  over.catch(() => undefined);
  return { followed, over };
}

const states = (followed: readonly FollowedMigration[]) =>
  followed.flatMap((event) =>
    event.type === 'status' || event.type === 'read' ? [`${event.type} ${event.version}`] : [event.type],
  );

describe('followMigrations, of what is published', () => {
  const head = {
    v: 1,
    store: 'geo',
    databaseId: 'd',
    nodeId: 'a',
    session: 's',
    modelId: 1,
    epoch: 1,
    atMs: 1,
  };
  const publish = (type: string, message: object, subject = `godwit.geo.${type}.1`) =>
    bus.publish(subject, bytes({ ...head, type, ...message }));
  const status = (seq: number, version: number, more: object = {}) =>
    publish('status', { seq, version, status: { state: 'Running' }, ...more });
  const settled = () => new Promise((resolve) => setImmediate(resolve));

  it('yields each message once, also one that comes twice', async () => {
    const { followed } = follow({ reads: false });
    status(1, 10);
    status(1, 10);
    status(2, 11);
    await settled();
    expect(states(followed)).toEqual(['status 10', 'status 11']);
  });

  it('leaves out a status that is older than one before, of whichever node', async () => {
    const { followed } = follow({ reads: false });
    status(1, 10);
    status(1, 9, { session: 'other' });
    status(2, 12, { session: 'other' });
    status(2, 11);
    await settled();
    expect(states(followed)).toEqual(['status 10', 'status 12']);
  });

  it('shows a gap, of one session on one subject, and counts what is missing', async () => {
    const { followed } = follow({ reads: false });
    status(4, 10);
    status(1, 11, { session: 'other' });
    status(7, 12);
    publish('metrics', { seq: 9, version: 1, metrics: {} });
    await settled();
    expect(states(followed)).toEqual(['status 10', 'status 11', 'gap', 'status 12', 'metrics']);
    expect(followed[2]).toEqual({ type: 'gap', modelId: 1, missed: 2 });
  });

  it('yields the models that are asked for alone', async () => {
    const { followed } = follow({ reads: false, models: [2] });
    status(1, 10);
    publish('status', { seq: 1, version: 1, modelId: 2, status: {} }, 'godwit.geo.status.2');
    await settled();
    expect(states(followed)).toEqual(['status 1']);
  });

  it.each([
    ['no JSON', Buffer.from('{')],
    ['no object', bytes(null)],
    [
      'another version of the format',
      bytes({ ...head, v: 2, type: 'status', seq: 1, version: 1, status: {} }),
    ],
    ['a type that it does not know', bytes({ ...head, type: 'weather', seq: 1 })],
    ['a number that is none', bytes({ ...head, type: 'status', seq: '1', version: 1, status: {} })],
    ['no status', bytes({ ...head, type: 'status', seq: 1, version: 1, status: null })],
  ])('passes over %s', async (_, payload) => {
    const { followed } = follow({ reads: false });
    bus.publish('godwit.geo.status.1', payload);
    status(1, 10);
    await settled();
    expect(states(followed)).toEqual(['status 10']);
  });

  it('ends with an error where two databases are heard and none is named', async () => {
    const named = follow({ reads: false, databaseId: 'd' });
    const unnamed = follow({ reads: false });
    status(1, 10);
    status(1, 20, { databaseId: 'e' });
    status(2, 11);
    expect(await codeOf(unnamed.over)).toBe('STORE_AMBIGUOUS');
    expect(states(unnamed.followed)).toEqual(['status 10']);
    expect(states(named.followed)).toEqual(['status 10', 'status 11']);
  });

  it('shows one gap of all models to a reader who is slow, and goes on from there', async () => {
    const events = followMigrations(bus, { store: 'geo', reads: false })[Symbol.asyncIterator]();
    for (let seq = 1; seq <= 1_001; seq += 1) status(seq, seq);
    await settled();
    status(1_002, 1_002);
    await settled();
    expect((await events.next()).value).toEqual({ type: 'gap', modelId: null, missed: 1_001 });
    expect((await events.next()).value).toMatchObject({ type: 'status', version: 1_002 });
    await events.return?.();
  });

  it('ends with its signal, with the loop and with the bus, and listens no longer', async () => {
    const controller = new AbortController();
    const aborted = follow({ reads: false, signal: controller.signal });
    controller.abort();
    await aborted.over;
    await follow({ reads: false, signal: AbortSignal.abort() }).over;
    const left = (async () => {
      for await (const event of followMigrations(bus, { store: 'geo', reads: false })) return event;
      return undefined;
    })();
    status(1, 10);
    expect(await left).toMatchObject({ type: 'status' });
    const last = follow({ reads: false });
    await bus.close();
    await last.over;
    await follow({ reads: false }).over;
    expect([...aborted.followed, ...last.followed]).toEqual([]);
  });
});

describe('followMigrations, of what is asked for', () => {
  const answers = new Map<string, { version: number; state: string }>();
  const asked: string[] = [];
  beforeEach(() => {
    answers.clear();
    asked.length = 0;
  });

  const answer = () =>
    bus.respond('godwit.geo.control.>', 'g', (_, subject) => {
      const about = subject.split('.').at(-2) ?? '';
      asked.push(about);
      const found = answers.get(about);
      const models = [...answers.keys()].map((id) => ({ modelId: Number(id), modelName: `M${id}` }));
      const told = about === 'all' ? { models } : { version: found?.version, status: found };
      return bytes({ v: 1, store: 'geo', databaseId: 'd', nodeId: 'a', accepted: true, ...told });
    });

  it('begins with the present status of every model', async () => {
    answers.set('1', { version: 5, state: 'Idle' }).set('2', { version: 6, state: 'Running' });
    answer();
    const { followed } = follow();
    await waitUntil('both are read', () => followed.length === 2);
    expect(followed).toMatchObject([
      { type: 'read', modelId: 1, version: 5, status: { state: 'Idle' } },
      { type: 'read', modelId: 2, version: 6, status: { state: 'Running' } },
    ]);
  });

  it('asks again until somebody is there', async () => {
    answers.set('1', { version: 5, state: 'Idle' });
    const { followed } = follow();
    await new Promise((resolve) => setImmediate(resolve));
    answer();
    await waitUntil('it is read', () => followed.length === 1);
    expect(followed).toMatchObject([{ type: 'read', version: 5 }]);
  });

  it('asks again behind a gap, for that model, and never goes back', async () => {
    answers.set('1', { version: 5, state: 'Idle' }).set('2', { version: 5, state: 'Idle' });
    answer();
    const { followed } = follow();
    await waitUntil('both are read', () => followed.length === 2);
    asked.length = 0;
    answers.set('1', { version: 29, state: 'Idle' });
    const head = {
      v: 1,
      store: 'geo',
      databaseId: 'd',
      nodeId: 'a',
      session: 's',
      modelId: 1,
      epoch: 1,
      atMs: 1,
    };
    const status = { state: 'Running' };
    bus.publish('godwit.geo.status.1', bytes({ ...head, type: 'status', seq: 1, version: 20, status }));
    bus.publish('godwit.geo.status.1', bytes({ ...head, type: 'status', seq: 3, version: 30, status }));
    await waitUntil('it is asked', () => asked.length > 0);
    await new Promise((resolve) => setImmediate(resolve));
    expect(asked).toEqual(['1']);
    // What was answered is older than what was heard.
    expect(states(followed)).toEqual(['read 5', 'read 5', 'status 20', 'gap', 'status 30']);
  });

  it('asks again when the bus is connected again', async () => {
    answers.set('1', { version: 5, state: 'Idle' });
    answer();
    let connected: () => void = () => undefined;
    const reconnecting: MessageBus = {
      ...bus,
      onState: (listener) => {
        connected = () => listener({ type: 'connected', sinceMs: 0 });
        return () => undefined;
      },
    };
    const { followed } = follow({}, reconnecting);
    await waitUntil('it is read', () => followed.length === 1);
    answers.set('1', { version: 7, state: 'Paused' });
    connected();
    await waitUntil('it is read again', () => followed.length === 2);
    expect(followed[1]).toMatchObject({ type: 'read', version: 7, status: { state: 'Paused' } });
  });
});

describe('controlMigration', () => {
  let world: World;
  let barrier: Barrier;
  beforeEach(async () => {
    world = createWorld();
    barrier = createBarrier();
    await world.fill(250);
  });
  afterEach(async () => {
    barrier.open();
    await world.close();
  });

  const open = async () => {
    barrier.shut();
    const store = await world.open({
      dataModelsById: { 1: TownV2, 2: RegionV1 },
      migrationExpandHandler: heldHandler(barrier),
      migrationHandler: { Town: backfill({ transform: toV2 }) },
      migrationStartupBudgetMs: 0,
      continueMigrationsInBackground: true,
      storeName: 'geo',
      bus,
    });
    await waitUntil('it is held', () => barrier.waiting > 0);
    return store;
  };
  const lastKnown = (followed: readonly FollowedMigration[]): MigrationStatus | undefined =>
    followed
      .flatMap((event) => (event.type === 'status' || event.type === 'read' ? [event.status] : []))
      .findLast(({ modelId }) => modelId === 1);

  it('steers a migration that is followed: the effect shows with the revision of the reply', async () => {
    const store = await open();
    const { followed } = follow();
    const { accepted, revision = 0 } = await controlMigration(bus, {
      store: 'geo',
      model: 'Town',
      verb: 'pause',
      by: 'ann',
      reason: 'lunch',
    });
    expect(accepted).toBe(true);
    barrier.open();
    await waitUntil('its effect is seen', () => {
      const known = lastKnown(followed);
      return known?.state === 'Paused' && known.intentRevision >= revision;
    });
    expect(lastKnown(followed)?.message).toBe('lunch');
    await controlMigration(bus, { store: 'geo', model: 1, verb: 'resume' });
    await store.awaitMigration(1);
    await waitUntil('the end is seen', () => lastKnown(followed)?.state === 'Idle');
  });

  it('answers a refusal, and throws where nobody answers', async () => {
    const store = await open();
    expect(await controlMigration(bus, { store: 'geo', model: 2, verb: 'pause' })).toMatchObject({
      accepted: false,
      code: 'MIGRATION_NOT_PENDING',
    });
    barrier.open();
    await store.close();
    const nobody = controlMigration(bus, { store: 'geo', model: 1, verb: 'pause', timeoutMs: 1 });
    expect(await codeOf(nobody)).toBe('BUS_UNANSWERED');
    const givenUp = controlMigration(bus, {
      store: 'geo',
      model: 1,
      verb: 'pause',
      signal: AbortSignal.abort(),
    });
    expect(await codeOf(givenUp)).toBe('ABORTED');
  });

  it('asks again under the same id where the answer was lost, and it is carried out once', async () => {
    const store = await open();
    const bodies: string[] = [];
    const losing: WholeMessageBus = {
      ...bus,
      async request(subject, payload, options) {
        bodies.push(Buffer.from(payload).toString());
        const reply = await bus.request(subject, payload, options);
        if (bodies.length > 1) return reply;
        return bus.request('godwit.geo.nobody', payload, options);
      },
    };
    expect(await controlMigration(losing, { store: 'geo', model: 1, verb: 'pause' })).toMatchObject({
      accepted: true,
      revision: 1,
    });
    expect(bodies).toHaveLength(2);
    expect(new Set(bodies).size).toBe(1);
    expect((await store.migrationStatus(1)).intentRevision).toBe(1);
  });
});
