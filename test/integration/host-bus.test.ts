import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Registry } from 'prom-client';
import type { BusState, MessageBus } from '../../src/cluster/bus.ts';
import { localBus } from '../../src/cluster/local-bus.ts';
import { shelter } from '../../src/cluster/shelter.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import { publishEvents } from '../../src/migration/event-messages.ts';
import type { MigrationEvent } from '../../src/migration/events.ts';
import type { World } from '../rig/operators.ts';
import { createWorld, TownV2, toV2, waitUntil } from '../rig/operators.ts';

let world: World;
beforeEach(() => {
  world = createWorld();
});
afterEach(() => world.close());

const boom = (): never => {
  throw new Error('the bus of the application failed');
};
const reject = (): never => Promise.reject(new Error('the bus of the application failed')) as never;

/** With one part that fails; null: all of them do. */
function failing(part: string | null, how: () => never): MessageBus {
  const bus = localBus();
  return new Proxy(bus, {
    get(target, name) {
      if (part !== null && name !== part) return Reflect.get(target, name) as unknown;
      return name === 'state' || name === 'counts' ? how() : how;
    },
  });
}

const subscriptionsFail = (): MessageBus => {
  const subscription = { unsubscribe: boom };
  const bus = localBus();
  return {
    ...bus,
    subscribe: () => subscription,
    serve: () => subscription,
    respond: () => subscription,
    onState: () => boom,
  };
};

describe('a bus of the application', () => {
  it.each([
    ...['publish', 'subscribe', 'serve', 'onState', 'state', 'counts', 'close', null].map(
      (part) => [`throws in ${part ?? 'all of its parts'}`, () => failing(part, boom)] as const,
    ),
    ['rejects in publish', () => failing('publish', reject)] as const,
    ['cannot be unsubscribed from', subscriptionsFail] as const,
    [
      'counts and is nonsense',
      () => ({ ...localBus(), counts: { dropped: NaN, failures: -1 }, state: { type: 'odd' } }),
    ] as const,
    [
      'answers nothing where a subscription is due',
      () => ({ publish: () => undefined, subscribe: () => undefined, close: (): void => undefined }),
    ] as const,
  ])('that %s disturbs no migration', async (_, make) => {
    await world.fill(120);
    const rejections: unknown[] = [];
    const onRejection = (error: unknown) => rejections.push(error);
    process.on('unhandledRejection', onRejection);
    const registry = new Registry();
    const store = await world.open({
      dataModelsById: { 1: TownV2 },
      migrationHandler: backfill({ transform: toV2 }),
      bus: make() as unknown as MessageBus,
      registry,
    });
    expect(await store.model(TownV2).count()).toBe(120);
    const { state, bus } = await store.migrationStatus(1);
    expect(state).toBe('Idle');
    expect(bus?.type ?? 'connected').toBe('connected');
    expect(await registry.metrics()).toContain('godwit_bus_connected');
    await store.close();
    await new Promise(setImmediate);
    process.off('unhandledRejection', onRejection);
    expect(rejections).toEqual([]);
  });
});

it('a bus that does not tell when it is back carries what waited for it before what comes next', () => {
  let tell: (event: MigrationEvent) => void = () => undefined;
  const hub = {
    subscribe(receive: (event: MigrationEvent) => void) {
      tell = receive;
      return () => undefined;
    },
  };
  let type: BusState['type'] = 'reconnecting';
  const carried: string[] = [];
  const bus = {
    get state() {
      return { type, sinceMs: 0 };
    },
    publish: (subject: string) => void carried.push(subject),
  };
  const source = { store: 'geo', databaseId: 'd', nodeId: 'a', session: 's' };
  publishEvents(hub, bus, 'godwit.geo', source);
  for (const modelId of [1, 2]) tell({ type: 'audit', seq: 1, modelId } as MigrationEvent);
  expect(carried).toEqual([]);
  type = 'connected';
  tell({ type: 'status', seq: 2, modelId: 3 } as MigrationEvent);
  expect(carried).toEqual(['godwit.geo.audit.1', 'godwit.geo.audit.2', 'godwit.geo.status.3']);
});

describe('a shelter', () => {
  it('tells each failure, and has what the bus has but a way to ask', async () => {
    const failures: unknown[] = [];
    const sheltered = shelter(failing(null, boom), (error) => failures.push(error));
    expect([sheltered.state, sheltered.counts]).toEqual([undefined, undefined]);
    sheltered.publish('a', Buffer.from(''));
    sheltered.subscribe('a', () => undefined).unsubscribe();
    sheltered.respond?.('a', 'g', (payload) => payload).unsubscribe();
    sheltered.onState?.(() => undefined)();
    expect(failures).toHaveLength(6);
    expect('request' in sheltered).toBe(false);
    const rejecting = shelter(failing('publish', reject), (error) => failures.push(error));
    rejecting.publish('a', Buffer.from(''));
    await waitUntil('it is told', () => failures.length === 7);
  });

  it('hands on what the bus hears', async () => {
    const bus = localBus();
    const sheltered = shelter(bus, boom);
    const answer = (payload: Uint8Array) => payload;
    sheltered.respond?.('ask', 'g', answer);
    const reply = await bus.request('ask', Buffer.from('1'), { timeoutMs: 10_000 });
    expect(Buffer.from(reply).toString()).toBe('1');
    const told: string[] = [];
    sheltered.onState?.(({ type }) => told.push(type));
    await sheltered.close();
    expect([told, sheltered.state?.type]).toEqual([['closed'], 'closed']);
  });
});
