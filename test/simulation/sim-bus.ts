import type { MessageBus } from '../../src/cluster/bus.ts';
import type { SimCluster } from './sim-database.ts';
import type { SimNode } from './sim-node.ts';

interface Receiver {
  /** Undefined: somebody outside of the cluster. */
  readonly node: SimNode | undefined;
  readonly subject: string;
  readonly receive: (payload: Uint8Array, subject: string) => void;
}

/** Who listens, on all nodes. */
export type SimBusReceivers = Set<Receiver>;

/** A bus between the nodes: what is published comes late, in another order, twice, or never. */
export function connectBus(cluster: SimCluster, receivers: SimBusReceivers, node: SimNode): MessageBus {
  const { world } = cluster;
  const own = new Set<Receiver>();
  return {
    publish(subject, payload) {
      if (cluster.busDownUntilMs > world.nowMs) return;
      for (const receiver of receivers) {
        if (!matches(receiver.subject, subject)) continue;
        const copies = world.random.pick([1, 1, 1, 1, 0, 2]);
        for (let copy = 0; copy < copies; copy += 1) {
          world.schedule(receiver.node, world.random.fraction() * 50, () =>
            receiver.receive(payload, subject),
          );
        }
      }
    },
    subscribe(subject, receive) {
      const receiver = { node, subject, receive };
      own.add(receiver);
      receivers.add(receiver);
      return {
        unsubscribe() {
          own.delete(receiver);
          receivers.delete(receiver);
        },
      };
    },
    close() {
      for (const receiver of own) receivers.delete(receiver);
      return Promise.resolve();
    },
  };
}

function matches(pattern: string, subject: string): boolean {
  return pattern === subject || (pattern.endsWith('.>') && subject.startsWith(pattern.slice(0, -1)));
}
