import { Registry } from 'prom-client';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { BusState, MessageBus } from '../../src/cluster/bus.ts';
import type { World } from '../rig/operators.ts';
import { createWorld, TownV1 } from '../rig/operators.ts';

let world: World;
beforeEach(() => {
  world = createWorld();
});
afterEach(() => world.close());

const open = (bus: MessageBus, storeName: string, registry: Registry) =>
  world.open({ dataModelsById: { 1: TownV1 }, bus, storeName, registry });

/** Of which the test says how it is. */
function toldBus() {
  const told: { state: BusState; dropped: number; failures: number } = {
    state: { type: 'connected', sinceMs: 1 },
    dropped: 0,
    failures: 1,
  };
  const bus: MessageBus = {
    publish: () => undefined,
    subscribe: () => ({ unsubscribe: () => undefined }),
    close: () => Promise.resolve(),
    get state() {
      return told.state;
    },
    get counts() {
      return { dropped: told.dropped, failures: told.failures };
    },
  };
  return { bus, told };
}

const shown = async (registry: Registry) =>
  (await registry.metrics()).split('\n').filter((line) => line.startsWith('godwit_bus_'));

it('the state of the bus shows in status and metrics, of each store by itself', async () => {
  const registry = new Registry();
  const here = toldBus();
  const there = toldBus();
  const store = await open(here.bus, 'here', registry);
  const other = await open(there.bus, 'there', registry);
  expect((await store.migrationStatus(1)).bus).toEqual({ type: 'connected', sinceMs: 1 });

  const lastError = { code: 'PERMISSIONS_VIOLATION', message: 'the client may not publish', atMs: 2 };
  here.told.state = { type: 'reconnecting', sinceMs: 3, lastError };
  here.told.dropped = 5;
  here.told.failures = 3;
  expect((await store.migrationStatus(1)).bus).toEqual({ type: 'reconnecting', sinceMs: 3, lastError });
  expect((await other.migrationStatus(1)).bus?.type).toBe('connected');
  expect(await shown(registry)).toEqual([
    'godwit_bus_connected{store="here"} 0',
    'godwit_bus_connected{store="there"} 1',
    'godwit_bus_dropped_messages_total{store="here"} 5',
    'godwit_bus_dropped_messages_total{store="there"} 0',
    'godwit_bus_failures_total{store="here"} 2',
    'godwit_bus_failures_total{store="there"} 0',
  ]);

  await store.close();
  expect(await shown(registry)).toEqual([
    'godwit_bus_connected{store="there"} 1',
    'godwit_bus_dropped_messages_total{store="here"} 5',
    'godwit_bus_dropped_messages_total{store="there"} 0',
    'godwit_bus_failures_total{store="here"} 2',
    'godwit_bus_failures_total{store="there"} 0',
  ]);

  // The bus of the application goes on counting, and counts nothing of it twice.
  here.told.dropped = 7;
  await open(here.bus, 'here', registry);
  here.told.dropped = 8;
  expect(await shown(registry)).toContain('godwit_bus_dropped_messages_total{store="here"} 6');
});

it('a bus that does not tell its state is null in the status, and taken for connected', async () => {
  const registry = new Registry();
  const bus: MessageBus = {
    publish: () => undefined,
    subscribe: () => ({ unsubscribe: () => undefined }),
    close: () => Promise.resolve(),
  };
  const store = await open(bus, 'here', registry);
  expect((await store.migrationStatus(1)).bus).toBeNull();
  expect(await shown(registry)).toContain('godwit_bus_connected{store="here"} 1');
});
