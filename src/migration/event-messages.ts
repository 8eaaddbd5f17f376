import type { MessageBus } from '../cluster/bus.ts';
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

/** Carries the events of a hub to the bus, until that is ended. */
export function publishEvents(
  hub: Pick<MigrationEventHub, 'subscribe'>,
  bus: Pick<MessageBus, 'publish'>,
  subjects: string,
  source: MessageSource,
): () => void {
  const published = new Map<string, number>();
  return hub.subscribe((event) => {
    const subject = `${subjects}.${event.type}.${event.modelId}`;
    const seq = (published.get(subject) ?? 0) + 1;
    published.set(subject, seq);
    const message: MigrationMessage = { v: 1, ...source, ...event, seq };
    bus.publish(subject, Buffer.from(JSON.stringify(message)));
  });
}
