import type { MessageBus } from '../cluster/bus.ts';
import { limits } from '../limits.ts';
import type { MigrationEvent, MigrationEventHub } from './events.ts';

/** Who tells of something on the bus. */
export interface MessageSource {
  readonly store: string;
  /** Of the subspace, written at its first open: tells two stores of one name apart. */
  readonly databaseId: string;
  readonly nodeId: string;
  /** One per open store: another one after a restart of the same node. */
  readonly session: string;
}

/**
 * What is published to `<prefix>.<store>.<type>.<model id>`, as JSON. `seq` counts the messages of a session on one
 * subject, from 1: whoever follows some subjects alone sees a gap in those.
 */
export type MigrationMessage = { readonly v: 1 } & MessageSource & MigrationEvent;

/** Carries the events of a hub to the bus. */
export interface EventPublisher {
  /** The bus is connected again: what was kept is published. */
  connected(): void;
  end(): void;
}

/** Audit events wait for the bus, so that an outage leaves no hole in the history; of the rest only the latest matters. */
const maxKept = limits.cluster.keptAuditMessages.value;

export function publishEvents(
  hub: Pick<MigrationEventHub, 'subscribe'>,
  bus: Pick<MessageBus, 'publish' | 'state'>,
  subjects: string,
  source: MessageSource,
): EventPublisher {
  const counted = new Map<string, number>();
  const kept: (readonly [subject: string, payload: Uint8Array])[] = [];
  const publishKept = (left: number) => {
    while (kept.length > left) {
      const oldest = kept.shift();
      if (oldest !== undefined) bus.publish(...oldest);
    }
  };
  const unsubscribe = hub.subscribe((event) => {
    const subject = `${subjects}.${event.type}.${event.modelId}`;
    const seq = (counted.get(subject) ?? 0) + 1;
    counted.set(subject, seq);
    const message: MigrationMessage = { v: 1, ...source, ...event, seq };
    const payload = Buffer.from(JSON.stringify(message));
    const isConnected = (bus.state?.type ?? 'connected') === 'connected';
    // A bus may be back without a word.
    if (isConnected) publishKept(0);
    if (event.type !== 'audit' || isConnected) return bus.publish(subject, payload);
    kept.push([subject, payload]);
    // Given to a bus that is away: it drops them and counts that.
    publishKept(maxKept);
  });
  return {
    connected: () => publishKept(0),
    end() {
      unsubscribe();
      publishKept(0);
    },
  };
}
