import type { MessageBus } from '../cluster/bus.ts';
import type { NatsClient } from '../cluster/nats-bus.ts';
import { natsBus } from '../cluster/nats-bus.ts';

/** A connection of the package `nats`, which stays open; or a bus, `natsBus({ servers, ... })` for example. */
export type RemoteConnection = NatsClient | RemoteBus;

/** A bus on which others can be asked. */
export type RemoteBus = MessageBus & Required<Pick<MessageBus, 'request'>>;

const buses = new WeakMap<NatsClient, RemoteBus>();

/** One bus for all who use a connection; it ends when that is closed. */
export function busOf(connection: RemoteConnection): RemoteBus {
  if (isBus(connection)) return connection;
  const known = buses.get(connection);
  if (known !== undefined) return known;
  const bus = natsBus({ connection });
  buses.set(connection, bus);
  return bus;
}

const isBus = (connection: RemoteConnection): connection is RemoteBus => !('getServer' in connection);
