import type { Msg, NatsConnection, NatsError, Subscription as NatsSubscription } from 'nats';
import type { BusService } from './bus.ts';
import { messageOf } from './bus-state.ts';

/** A message, or a request to a service. */
export type Heard = Pick<Msg, 'data' | 'subject' | 'reply' | 'respond'>;

/** What listens on one connection. */
export interface LiveListener {
  /** There is nothing, or less than was wished: worth another try on the next connection. */
  isClosed(): boolean;
  unsubscribe(): void;
}

interface Around {
  readonly hear: (message: Heard) => void;
  readonly refused: (why: string) => void;
}

/**
 * Serves under a name that `nats service` and its like find (`$SRV`). A user who may not subscribe to those subjects
 * serves without a name: requests are answered all the same. (The client, 2.29, overlooks a refusal of those subjects; where
 * the requests themselves are refused it gives the service up.)
 */
export function openNatsService(
  connection: NatsConnection,
  { name, version, description, metadata, subject, group }: BusService,
  { hear, refused }: Around,
): LiveListener {
  let isOver = false;
  let nameless: NatsSubscription | undefined;
  let stop: (() => void) | undefined;
  const callback = (error: NatsError | null, message: Heard) => {
    if (error === null) hear(message);
  };

  const serveNameless = (why: string) => {
    if (isOver || connection.isClosed() || connection.isDraining()) return;
    refused(why);
    nameless = connection.subscribe(subject, { queue: group, callback });
  };

  const serve = async (): Promise<void> => {
    const config = { name, version, description, metadata: { ...metadata }, queue: group };
    const service = await connection.services.add(config);
    stop = () => void service.stop();
    if (isOver) return stop();
    service.addEndpoint('control', { subject, queue: group, handler: callback });
    const error = await service.stopped;
    serveNameless(error?.message ?? 'it was stopped');
  };
  serve().catch((error: unknown) => {
    stop?.();
    serveNameless(messageOf(error));
  });

  return {
    isClosed: () => nameless !== undefined || connection.isClosed(),
    unsubscribe() {
      isOver = true;
      stop?.();
      nameless?.unsubscribe();
    },
  };
}
