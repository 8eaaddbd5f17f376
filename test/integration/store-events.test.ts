import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { localBus } from '../../src/cluster/local-bus.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { MigrationMessage } from '../../src/migration/event-messages.ts';
import type { MigrationEvent } from '../../src/migration/events.ts';
import type { MigrationLease } from '../../src/migration/lease.ts';
import type { MigrationStatus } from '../../src/migration/status.ts';
import type { Barrier, World } from '../rig/operators.ts';
import { createBarrier, createWorld, heldHandler, TownV2, toV2, waitUntil } from '../rig/operators.ts';
import { malformed } from '../rig/subject-schemas.ts';

const textOf = (payload: Uint8Array) => Buffer.from(payload).toString();
const towns = 350;
const background = { migrationStartupBudgetMs: 0, continueMigrationsInBackground: true } as const;
const moves = { dataModelsById: { 1: TownV2 }, migrationHandler: backfill({ transform: toV2 }) } as const;

let world: World;
let barrier: Barrier;
beforeEach(() => {
  world = createWorld();
  barrier = createBarrier();
});
afterEach(async () => {
  barrier.open();
  await world.close();
});

/** Held in Expand: nothing of interest has happened yet. */
async function openHeld(options: Partial<Parameters<World['open']>[0]> = {}) {
  await world.fill(towns);
  barrier.shut();
  const store = await world.open({
    ...options,
    ...moves,
    ...background,
    migrationExpandHandler: heldHandler(barrier),
  });
  await waitUntil('it is held', () => barrier.waiting > 0);
  return store;
}

/** The default lease, which is given back when the barrier is open. */
function releasingAt(barrier: Barrier, lease: MigrationLease): MigrationLease {
  return {
    explain: (modelId) => lease.explain(modelId),
    async acquire(request) {
      const handle = await lease.acquire(request);
      if (handle.refused === true) return handle;
      const { release, ...rest } = handle;
      return { ...rest, release: () => barrier.pass().then(release) };
    },
  };
}

const collect = async (events: AsyncIterable<MigrationEvent>): Promise<MigrationEvent[]> => {
  const collected: MigrationEvent[] = [];
  for await (const event of events) collected.push(event);
  return collected;
};

describe('migrationEvents', () => {
  it('has status, audit and metrics events, numbered without gaps, and ends when the store closes', async () => {
    const store = await openHeld();
    const collecting = collect(store.migrationEvents());
    barrier.open();
    await store.awaitMigration(1);
    await store.close();
    const events = await collecting;
    const first = events[0]?.seq ?? 0;
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_, at) => first + at));
    expect(new Set(events.map(({ type }) => type))).toEqual(new Set(['status', 'audit', 'metrics']));
    expect(events.flatMap((event) => (event.type === 'audit' ? [event.event.type] : [])).at(-1)).toBe(
      'Completed',
    );
    const statuses = events.flatMap((event) => (event.type === 'status' ? [event.status] : []));
    expect(statuses.at(-1)).toMatchObject({ modelId: 1, state: 'Idle' });
    const metrics = events.flatMap((event) => (event.type === 'metrics' ? [event.metrics] : []));
    expect(metrics.at(-1)).toMatchObject({ completed: 1, recordsMoved: towns });
  });

  it('misses nothing between the call and the first reading', async () => {
    const store = await openHeld();
    const events = store.migrationEvents();
    await store.pauseMigration(1);
    barrier.open();
    await waitUntil('it is paused', async () => (await store.migrationStatus(1)).state === 'Paused');
    await store.close();
    const types = (await collect(events)).flatMap((event) =>
      event.type === 'audit' ? [event.event.type] : [],
    );
    expect(types).toContain('Paused');
  });

  it('tells that nobody owns a migration any more, however long its owner takes to let go', async () => {
    const letsGo = createBarrier();
    letsGo.shut();
    const store = await openHeld({ migrationLease: ({ lease }) => releasingAt(letsGo, lease) });
    const statuses: MigrationStatus[] = [];
    const following = (async () => {
      for await (const event of store.migrationEvents()) {
        if (event.type === 'status') statuses.push(event.status);
      }
    })();
    await store.pauseMigration(1);
    barrier.open();
    await waitUntil('it is told to be paused', () => statuses.at(-1)?.state === 'Paused');
    expect(statuses.at(-1)?.owner).not.toBeNull();
    letsGo.open();
    await waitUntil('it is told to be nobody’s', () => statuses.at(-1)?.owner === null);
    await store.close();
    await following;
  });

  it('ends when its signal aborts, also one that has aborted before', async () => {
    const store = await openHeld();
    const controller = new AbortController();
    const collecting = collect(store.migrationEvents({ signal: controller.signal }));
    controller.abort();
    await collecting;
    expect(await collect(store.migrationEvents({ signal: AbortSignal.abort() }))).toEqual([]);
  });

  it('keeps the latest 1,000 for a slow reader, who sees the gap by the numbers', async () => {
    const store = await openHeld();
    const slow = store.migrationEvents()[Symbol.asyncIterator]();
    const quick = collect(store.migrationEvents());
    // Each resume is an audit event.
    const resumes = 1_100;
    for (let n = 0; n < resumes; n += 1) {
      await store.pauseMigration(1);
      await store.resumeMigration(1);
    }
    const closed = store.close();
    barrier.open();
    await closed;
    const all = await quick;
    expect(all.length).toBeGreaterThanOrEqual(resumes);
    const kept: MigrationEvent[] = [];
    for (let next = await slow.next(); next.done !== true; next = await slow.next()) kept.push(next.value);
    expect(kept).toEqual(all.slice(-1_000));
    expect(kept[0]?.seq).toBeGreaterThan(all[0]?.seq ?? 0);
  });

  it('serves several readers, and one that leaves disturbs nobody', async () => {
    const store = await openHeld();
    const all = collect(store.migrationEvents());
    const leaving = (async () => {
      for await (const event of store.migrationEvents()) return event;
      return undefined;
    })();
    barrier.open();
    const only = await leaving;
    await store.awaitMigration(1);
    await store.close();
    const events = await all;
    expect(events).toContainEqual(only);
    // Statuses that follow each other closely are told as one: how many there are depends on the machine.
    expect(events.length).toBeGreaterThan(5);
  });
});

it('the bus carries the same events as JSON, under subjects of their type and model, each counted by itself', async () => {
  const bus = localBus();
  const received: { subject: string; message: MigrationMessage }[] = [];
  const problems: (string | undefined)[] = [];
  bus.subscribe('godwit.geo.>', (payload, subject) => {
    problems.push(malformed(subject, payload));
    if (subject !== 'godwit.geo.node' && subject !== 'godwit.geo.work')
      received.push({ subject, message: JSON.parse(textOf(payload)) as MigrationMessage });
  });
  const store = await openHeld({ bus, storeName: 'geo' });
  const collecting = collect(store.migrationEvents());
  const before = received.length;
  barrier.open();
  await store.awaitMigration(1);
  await store.close();
  const events = await collecting;
  expect(
    received
      .slice(before)
      .map(
        ({ message: { v: _v, store: _s, databaseId: _d, nodeId: _n, session: _o, seq: _q, ...event } }) =>
          event,
      ),
  ).toEqual(events.map(({ seq: _, ...event }) => JSON.parse(JSON.stringify(event)) as unknown));
  expect(new Set(problems)).toEqual(new Set([undefined]));
  for (const type of ['status', 'audit', 'metrics']) {
    const ofType = received.filter(({ subject }) => subject === `godwit.geo.${type}.1`);
    expect(ofType.length).toBeGreaterThan(1);
    expect(ofType.map(({ message }) => message.type)).toEqual(ofType.map(() => type));
    expect(ofType.map(({ message }) => message.seq)).toEqual(ofType.map((_, at) => at + 1));
  }
});

it('a bus that throws fails nothing, and is not closed by the store', async () => {
  await world.fill(towns);
  const store = await world.open({
    ...moves,
    bus: {
      publish() {
        throw new Error('the bus is broken');
      },
      subscribe: () => ({ unsubscribe: () => undefined }),
      close: () => Promise.reject(new Error('it is not ours to close')),
    },
  });
  expect(await store.model(TownV2).count()).toBe(towns);
  await store.close();
});
