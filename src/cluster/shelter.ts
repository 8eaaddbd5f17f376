import type { BusCounts, BusState, MessageBus, Subscription } from './bus.ts';

const deaf = () => undefined;
const nothing: Subscription = { unsubscribe: deaf };

const types: readonly unknown[] = ['connected', 'reconnecting', 'closed'] satisfies BusState['type'][];
const isCount = (value: unknown) => Number.isFinite(value) && (value as number) >= 0;
const isState = (state: BusState | undefined) => types.includes(state?.type) && isCount(state?.sinceMs);

/**
 * An application's own bus, made harmless for a store: what it throws is told, and disturbs nobody who publishes or
 * listens, and what it says of itself that makes no sense, nobody is told. A store asks nobody, so `request` is left out.
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
      const state = attempt<BusState | undefined>(() => bus.state, undefined);
      return isState(state) ? state : undefined;
    },
    get counts() {
      const counts = attempt<BusCounts | undefined>(() => bus.counts, undefined);
      return isCount(counts?.dropped) && isCount(counts?.failures) ? counts : undefined;
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
