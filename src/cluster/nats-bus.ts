import type { ConnectionOptions, NatsConnection, NatsError } from 'nats';
import { limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import { systemClock } from '../ports/clock.ts';
import { askWithin, unanswered } from './ask.ts';
import type { BusAnswer, BusLogger, BusService, Subscription, WholeMessageBus } from './bus.ts';
import { keepBusState, messageOf } from './bus-state.ts';
import { openNats } from './nats-connect.ts';
import { createNatsOutlet } from './nats-outlet.ts';
import type { Heard, LiveListener } from './nats-service.ts';
import { openNatsService } from './nats-service.ts';
import { checkedGroup, isSubject, matcherOf } from './subject.ts';

/** A connection of the package `nats`. */
export type NatsClient = NatsConnection;

/** The options of the client; or a connection of the application's own, which stays open and is never drained. */
export type NatsBusOptions = (ConnectionOptions | { readonly connection: NatsConnection }) & {
  /** Is told of each kind of failure once. Default: none. */
  readonly logger?: BusLogger | undefined;
};

/** Who listens, whatever becomes of the connection. */
interface Listener {
  readonly subject: string;
  readonly queue?: string;
  /** It has a name that is told as long as the server allows it. */
  readonly service?: BusService;
  readonly hear: (message: Heard) => void;
  live?: LiveListener;
}

/**
 * A message bus on NATS.
 *
 * Given the options of the client it connects in the background and for ever: it waits 2 s between attempts
 * (`reconnectTimeWait`) and 5 s for one to succeed (`timeout`), and is closed by its `close()`. What is published without
 * a connection is dropped and counted, and so is what a server that has stopped reading leaves in memory beyond 8 MB.
 *
 * Subscriptions outlive the connection. An open connection keeps the process alive.
 */
export function natsBus(
  options: NatsBusOptions = {},
  { clock = systemClock }: { readonly clock?: Clock } = {},
): WholeMessageBus {
  const { logger, ...given } = options;
  const keeper = keepBusState(clock, 'reconnecting', logger);
  const listeners = new Set<Listener>();
  const closing = new AbortController();
  const outlet = createNatsOutlet(keeper);
  const own = 'connection' in given ? undefined : given;
  let connection: NatsConnection | undefined;

  const listen = (listener: Listener) => {
    const { subject, queue, service } = listener;
    // Without a connection it waits in the set for the next one.
    if (connection === undefined || connection.isClosed() || connection.isDraining()) return;
    const hear = (message: Heard) => {
      try {
        listener.hear(message);
      } catch (thrown) {
        // Left to the client it would end the reading of the connection.
        keeper.failed('RECEIVER_THREW', messageOf(thrown));
      }
    };
    if (service !== undefined) {
      const refused = (why: string) =>
        keeper.failed('SERVICE_REFUSED', `${service.name} has no name: ${why}`);
      listener.live = openNatsService(connection, service, { hear, refused });
      return;
    }
    listener.live = connection.subscribe(subject, {
      ...(queue === undefined ? {} : { queue }),
      // The client tells of an error in its news too.
      callback: (error: NatsError | null, message) => {
        if (error === null) hear(message);
      },
    });
  };

  const connected = () => {
    // Those that were refused are asked for again: permissions may have changed.
    for (const listener of listeners) {
      if (listener.live?.isClosed() === false) continue;
      listener.live?.unsubscribe();
      listen(listener);
    }
    outlet.open(connection);
    keeper.change('connected');
  };

  const disconnected = () => {
    outlet.open(undefined);
    keeper.change('reconnecting');
  };

  /** Until the connection is closed, by whomever. */
  const attend = async (nc: NatsConnection): Promise<void> => {
    if (nc.isClosed()) return;
    connection = nc;
    const news = nc.status();
    const stop = () => stopReading(news);
    closing.signal.addEventListener('abort', stop, { once: true });
    // The client leaves its news open when it is closed.
    void nc.closed().then(stop);
    if (nc.info !== undefined) connected();
    for await (const { type, data, permissionContext } of news) {
      if (closing.signal.aborted) return;
      if (type === 'reconnect') connected();
      else if (type === 'disconnect') disconnected();
      else if (type === 'error') {
        const about = permissionContext;
        const what =
          about === undefined ? 'was refused' : `may not ${verbOf(about.operation)} ${about.subject}`;
        keeper.failed(typeof data === 'string' ? data : type, `the client ${what}`);
      }
    }
    closing.signal.removeEventListener('abort', stop);
  };

  const life = async (): Promise<void> => {
    if (own === undefined) {
      await attend((given as { readonly connection: NatsConnection }).connection);
      outlet.open(undefined);
      keeper.change('closed');
      return;
    }
    while (!closing.signal.aborted) {
      const nc = await openNats(own, { clock, keeper, signal: closing.signal });
      if (nc === undefined) return;
      if (closing.signal.aborted) return nc.close();
      await attend(nc);
      // Only a client that was made to give up ends here with the bus still open.
      if (!closing.signal.aborted) disconnected();
    }
  };
  void life().catch((error: unknown) => keeper.failed('CLIENT_FAILED', messageOf(error)));

  const add = (listener: Listener): Subscription => {
    matcherOf(listener.subject);
    if (closing.signal.aborted) return { unsubscribe: () => undefined };
    listeners.add(listener);
    listen(listener);
    return {
      unsubscribe() {
        listeners.delete(listener);
        listener.live?.unsubscribe();
      },
    };
  };

  const ask = async (subject: string, payload: Uint8Array, timeoutMs: number): Promise<Uint8Array> => {
    if (connection === undefined || keeper.state.type !== 'connected') {
      throw unanswered(subject, 'there is no connection');
    }
    try {
      // A little longer than the one who asks waits: it is his clock that tells.
      const { data } = await connection.request(subject, payload, { timeout: timeoutMs + 100 });
      return data;
    } catch (error) {
      const { code, message } = error as NatsError;
      const refused = code === 'PERMISSIONS_VIOLATION';
      throw unanswered(subject, code === '503' ? 'nobody responds to it' : message, refused);
    }
  };

  const respondTo = (request: Heard, answer: BusAnswer) => {
    // Published, not asked: there is nobody to answer.
    if (request.reply === undefined || request.reply === '') return;
    Promise.resolve()
      .then(() => answer(request.data, request.subject))
      .then((reply) => reply !== undefined && void request.respond(reply))
      .catch((error: unknown) => keeper.failed('RESPONDER_THREW', messageOf(error)));
  };

  let closed: Promise<void> | undefined;
  const end = async (): Promise<void> => {
    closing.abort();
    keeper.change('closed');
    outlet.open(undefined);
    for (const { live } of listeners) live?.unsubscribe();
    listeners.clear();
    if (own !== undefined && connection !== undefined) await closeNats(connection, clock);
  };

  return {
    get state() {
      return keeper.state;
    },
    get counts() {
      return keeper.counts;
    },
    onState: (listener) => keeper.onState(listener),
    publish(subject, payload) {
      if (isSubject(subject)) return outlet.publish(subject, payload);
      keeper.dropped();
      keeper.failed('BAD_SUBJECT', `'${subject}' is no subject`);
    },
    subscribe: (subject, receive) =>
      add({ subject, hear: (message) => receive(message.data, message.subject) }),
    request: (subject, payload, how) =>
      askWithin(clock, subject, how, () => ask(subject, payload, how.timeoutMs)),
    respond: (subject, group, answer) =>
      add({ subject, queue: checkedGroup(group), hear: (request) => respondTo(request, answer) }),
    serve: (service) =>
      add({
        subject: service.subject,
        service: { ...service, group: checkedGroup(service.group) },
        hear: (request) => respondTo(request, service.answer),
      }),
    close: () => (closed ??= end()),
  };
}

const verbOf = (operation: string) => (operation === 'publish' ? 'publish to' : 'subscribe to');

/** The client's iterators can be stopped from outside, which their type does not say. */
function stopReading(news: object): void {
  const { stop } = news as { readonly stop?: () => void };
  stop?.call(news);
}

async function closeNats(nc: NatsConnection, clock: Clock): Promise<void> {
  let timer: unknown;
  const tooLate = new Promise<void>((resolve) => {
    timer = clock.setTimeout(resolve, limits.cluster.drainMs.value, { ref: true });
  });
  // Without a server there is nobody to take last words.
  if (!nc.isClosed() && nc.info !== undefined) {
    const drained = nc.drain().catch(() => undefined);
    await Promise.race([drained, tooLate]);
  }
  clock.clearTimeout(timer);
  await nc.close();
}
