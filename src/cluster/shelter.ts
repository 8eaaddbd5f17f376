import type { MessageBus, Subscription } from './bus.ts';

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
  const ended = (subscription: Subscription): Subscription => ({
    unsubscribe: () => attempt(() => subscription.unsubscribe(), undefined),
  });
  return {
    get state() {
      return bus.state;
    },
    get counts() {
      return bus.counts;
    },
    publish: (subject, payload) => attempt(() => bus.publish(subject, payload), undefined),
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
      onState: (listener) => attempt(() => bus.onState?.(listener) ?? deaf, deaf),
    }),
  } satisfies MessageBus;
}
