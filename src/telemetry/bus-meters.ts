import type { Registry } from 'prom-client';
import { Counter, Gauge } from 'prom-client';

/** What a bus tells of itself when it is asked. */
export interface BusReading {
  readonly isConnected: boolean;
  readonly dropped: number;
  readonly failures: number;
}

interface Source {
  readonly store: string;
  readonly read: () => BusReading;
}

/** Metrics are made once per registry, and ask the buses of all its stores. */
const sourcesByRegistry = new WeakMap<Registry, Set<Source>>();

/** Shows the bus of a store in a registry until that is ended. */
export function meterBus(registry: Registry, store: string, read: () => BusReading): () => void {
  const source = { store, read };
  const known = sourcesByRegistry.get(registry);
  const sources = known ?? new Set<Source>();
  sources.add(source);
  if (known === undefined) {
    sourcesByRegistry.set(registry, sources);
    register(registry, sources);
  }
  return () => void sources.delete(source);
}

function register(registry: Registry, sources: ReadonlySet<Source>): void {
  const registers = [registry];
  const labelNames = ['store'] as const;
  void new Gauge({
    name: 'godwit_bus_connected',
    help: '1 while the message bus is connected.',
    labelNames,
    registers,
    collect() {
      this.reset();
      for (const { store, read } of sources) this.set({ store }, read().isConnected ? 1 : 0);
    },
  });
  void new Counter({
    name: 'godwit_bus_dropped_messages_total',
    help: 'Messages that the bus did not take.',
    labelNames,
    registers,
    collect() {
      this.reset();
      for (const { store, read } of sources) this.inc({ store }, read().dropped);
    },
  });
  void new Counter({
    name: 'godwit_bus_failures_total',
    help: 'What went wrong with the bus: refused, thrown, no connection.',
    labelNames,
    registers,
    collect() {
      this.reset();
      for (const { store, read } of sources) this.inc({ store }, read().failures);
    },
  });
}
