import { systemClock } from '../ports/clock.ts';
import type { Clock } from '../ports/clock.ts';
import { askWithin, unanswered } from './ask.ts';
import type { BusAnswer, Subscription, WholeMessageBus } from './bus.ts';
import { keepBusState, messageOf } from './bus-state.ts';
import { checkedGroup, isSubject, matcherOf } from './subject.ts';

interface Receiver {
  readonly matches: (subject: string) => boolean;
  receive(payload: Uint8Array, subject: string): void;
}

interface Responder {
  readonly matches: (subject: string) => boolean;
  readonly group: string;
  readonly answer: BusAnswer;
}

/** The default bus: it never leaves its process. Delivers in order, each message in a turn of its own. */
export function localBus({ clock = systemClock }: { readonly clock?: Clock } = {}): WholeMessageBus {
  const receivers = new Set<Receiver>();
  const responders = new Set<Responder>();
  const keeper = keepBusState(clock, 'connected', undefined);
  const isClosed = () => keeper.state.type === 'closed';

  const deliver = (subject: string, payload: Uint8Array): number => {
    const those = [...receivers].filter(({ matches }) => matches(subject));
    for (const receiver of those) {
      queueMicrotask(() => {
        if (isClosed() || !receivers.has(receiver)) return;
        try {
          receiver.receive(payload, subject);
        } catch (error) {
          keeper.failed('RECEIVER_THREW', messageOf(error));
        }
      });
    }
    return those.length;
  };

  /** One of each group, who then goes to the end of the queue. */
  const chosen = (subject: string): readonly Responder[] => {
    const groups = new Map<string, Responder>();
    for (const responder of responders) {
      if (responder.matches(subject) && !groups.has(responder.group)) groups.set(responder.group, responder);
    }
    for (const responder of groups.values()) {
      responders.delete(responder);
      responders.add(responder);
    }
    return [...groups.values()];
  };

  const ask = (subject: string, payload: Uint8Array): Promise<Uint8Array> => {
    if (isClosed()) return Promise.reject(unanswered(subject, 'the bus is closed'));
    const asked = chosen(subject);
    if (deliver(subject, payload) + asked.length === 0) {
      return Promise.reject(unanswered(subject, 'nobody responds to it'));
    }
    return new Promise((resolve) => {
      for (const { answer } of asked) {
        Promise.resolve()
          .then(() => answer(payload, subject))
          .then(
            (reply) => reply !== undefined && resolve(reply),
            (error: unknown) => keeper.failed('RESPONDER_THREW', messageOf(error)),
          );
      }
    });
  };

  const respond = (subject: string, group: string, answer: BusAnswer): Subscription => {
    const responder = { matches: matcherOf(subject), group: checkedGroup(group), answer };
    responders.add(responder);
    return { unsubscribe: () => void responders.delete(responder) };
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
      if (isClosed()) keeper.dropped();
      else if (isSubject(subject)) deliver(subject, payload);
      else {
        keeper.dropped();
        keeper.failed('BAD_SUBJECT', `'${subject}' is no subject`);
      }
    },
    subscribe(subject, receive) {
      const receiver = { matches: matcherOf(subject), receive };
      receivers.add(receiver);
      return { unsubscribe: () => void receivers.delete(receiver) };
    },
    request: (subject, payload, options) => askWithin(clock, subject, options, () => ask(subject, payload)),
    respond,
    serve: ({ subject, group, answer }) => respond(subject, group, answer),
    close() {
      keeper.change('closed');
      receivers.clear();
      responders.clear();
      return Promise.resolve();
    },
  };
}
