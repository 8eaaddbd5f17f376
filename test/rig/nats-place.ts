import type { ConnectionOptions, NatsConnection, NatsError, ServiceIdentity } from 'nats';
import { connect } from 'nats';
import type { WholeMessageBus } from '../../src/cluster/bus.ts';
import type { NatsBusOptions } from '../../src/cluster/nats-bus.ts';
import { natsBus } from '../../src/cluster/nats-bus.ts';
import { backfill } from '../../src/migration/backfill-spec.ts';
import type { FoundationDBDataStore } from '../../src/store/store.ts';
import type { NatsServer } from './nats-server.ts';
import { startNatsServer } from './nats-server.ts';
import type { Barrier, World } from './operators.ts';
import { heldHandler, TownV2, toV2, waitUntil } from './operators.ts';

/** A lost server is looked for this often, milliseconds: the tests wait for it. */
const reconnectTimeWait = 50;

/** A server, and whatever is connected to it. */
export interface NatsPlace {
  readonly server: NatsServer;
  /** Not connected yet. */
  bus(options?: ConnectionOptions & Pick<NatsBusOptions, 'logger'>): WholeMessageBus;
  connectedBus(options?: ConnectionOptions): Promise<WholeMessageBus>;
  connection(options?: ConnectionOptions): Promise<NatsConnection>;
  /** Everything; the server too. */
  close(): Promise<void>;
}

export async function openNatsPlace(configuration?: string): Promise<NatsPlace> {
  const server = await startNatsServer(configuration);
  const buses: WholeMessageBus[] = [];
  const connections: NatsConnection[] = [];
  const place: NatsPlace = {
    server,
    bus(options) {
      const bus = natsBus({ servers: server.address, reconnectTimeWait, ...options });
      buses.push(bus);
      return bus;
    },
    async connectedBus(options) {
      const bus = place.bus(options);
      await waitUntil('the bus is connected', () => bus.state.type === 'connected');
      return bus;
    },
    async connection(options) {
      const own = await connect({ servers: server.address, reconnectTimeWait, ...options });
      connections.push(own);
      return own;
    },
    async close() {
      await Promise.all(buses.map((bus) => bus.close()));
      await Promise.all(connections.map((own) => own.close()));
      await server.stop();
    },
  };
  return place;
}

/** The services `godwit` that answer to `$SRV.PING`. */
export async function findServices(connection: NatsConnection): Promise<readonly ServiceIdentity[]> {
  try {
    const found: ServiceIdentity[] = [];
    for await (const one of await connection.services.client().ping('godwit')) found.push(one);
    return found;
  } catch (error) {
    // Nobody is there at all.
    if ((error as NatsError).code === '503') return [];
    throw error;
  }
}

type Options = Partial<Parameters<World['open']>[0]>;

/** A store `geo` whose towns migrate in the background, held in Expand while the barrier is shut. */
export async function openSteered(
  world: World,
  barrier: Barrier,
  options: Options,
): Promise<FoundationDBDataStore> {
  return (await world.open({
    dataModelsById: { 1: TownV2 },
    migrationExpandHandler: heldHandler(barrier),
    migrationHandler: { Town: backfill({ transform: toV2 }) },
    migrationStartupBudgetMs: 0,
    continueMigrationsInBackground: true,
    persistMigrationAuditEvents: true,
    storeName: 'geo',
    ...options,
  })) as unknown as FoundationDBDataStore;
}
