import type { BusCounts, BusState, MessageBus, Subscription } from './bus.ts';

const deaf = () => undefined;
const nothing: Subscription = { unsubscribe: deaf };

/**
 * An application's own bus, made harmless for a store: what it throws is told, and disturbs nobody who publishes or
 * listens. A store asks nobody, so `request` is left out.
 */
export function shelter(bus: MessageBus, failed: (error: unknown) => void): MessageBus {
  const attempt = <T>(work: () => T, otherwise: T): T => {
    try {
      return work();
    } catch (error) {
      failed(error);
      return otherwise;
    }
  };
  /** What is to answer nothing may be an async function all the same. */
  const tell = (work: () => unknown): void => {
    const answer = attempt(work, undefined);
    if (answer instanceof Promise) answer.catch(failed);
  };
  const ended = (subscription: Subscription): Subscription => ({
    unsubscribe: () => tell(() => subscription.unsubscribe()),
  });
  return {
    get state() {
      return attempt<BusState | undefined>(() => bus.state, undefined);
    },
    get counts() {
      return attempt<BusCounts | undefined>(() => bus.counts, undefined);
    },
    publish: (subject, payload) => tell(() => bus.publish(subject, payload)),
    subscribe: (subject, receive) => attempt(() => ended(bus.subscribe(subject, receive)), nothing),
    close: () => bus.close(),
    ...(bus.respond && {
      respond: (subject, group, answer) =>
        attempt(() => ended(bus.respond?.(subject, group, answer) ?? nothing), nothing),
    }),
    ...(bus.serve && {
      serve: (service) => attempt(() => ended(bus.serve?.(service) ?? nothing), nothing),
    }),
    ...(bus.onState && {
      onState(listener) {
        const end = attempt(() => bus.onState?.(listener) ?? deaf, deaf);
        return () => tell(end);
      },
    }),
  } satisfies MessageBus;
}
