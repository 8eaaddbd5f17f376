import type { MessageBus } from '../cluster/bus.ts';
import { serveControl } from '../cluster/control-service.ts';
import { watchForNamesakes } from '../cluster/namesakes.ts';
import { publishEvents } from '../migration/event-messages.ts';
import { meterBus } from '../telemetry/bus-meters.ts';
import { release } from '../release.ts';
import { carryOut } from './control.ts';
import type { StoreCore } from './core.ts';

/** Events out and controls in, from the moment on at which the store knows its database. */
export interface BusLink {
  /** No more requests are answered; events go on. */
  endControl(): void;
  /** Nothing more is published. */
  end(): void;
}

export function linkBus(core: StoreCore, bus: MessageBus, databaseId: string): BusLink {
  const { runtime, hub, models, options } = core;
  const { clock, logger, nodeId, session } = runtime;
  const subjects = `${options.subjectPrefix}.${options.storeName}`;
  const self = { store: options.storeName, databaseId, nodeId, session };

  const namesakes = watchForNamesakes({
    bus,
    subject: `${subjects}.node`,
    self,
    clock,
    onFound: (other) =>
      logger.warn(
        { store: self.store, databaseId, otherDatabaseId: other },
        'a store of another database has the same name on the bus: control requests have to name a database',
      ),
  });
  const events = publishEvents(hub, bus, subjects, self);
  const endHints = core.hints.connect(bus, `${subjects}.work`, self);
  const control = serveControl({
    bus,
    clock,
    subject: `${subjects}.control`,
    service: {
      name: 'godwit',
      version: release,
      description: `Migrations of the store ${self.store}`,
      metadata: self,
    },
    self: { store: self.store, databaseId, nodeId },
    namesakes: () => namesakes.databaseIds,
    carryOut: (request, signal) => carryOut(core, request, signal),
    onFailure: (error) => logger.error({ err: error }, 'a control request could not be carried out'),
  });
  const ignoreState = bus.onState?.(({ type }) => {
    if (type !== 'connected') return;
    events.connected();
    namesakes.renew();
    // Those who listen have missed something.
    for (const model of models) hub.changed(model);
  });

  // A bus of the application's counts on when the store is closed, and may have served another one before.
  const before = typeof options.bus === 'object' ? { ...bus.counts } : {};
  const endMeter =
    options.registry &&
    meterBus(options.registry, self.store, () => ({
      isConnected: (bus.state?.type ?? 'connected') === 'connected',
      dropped: Math.max(0, (bus.counts?.dropped ?? 0) - (before.dropped ?? 0)),
      failures: Math.max(0, (bus.counts?.failures ?? 0) - (before.failures ?? 0)),
    }));

  return {
    endControl() {
      control.unsubscribe();
    },
    end() {
      ignoreState?.();
      events.end();
      endHints();
      namesakes.end();
      endMeter?.();
    },
  };
}
