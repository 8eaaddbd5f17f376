import type { MessageBus } from './bus.ts';

interface Receiver {
  matches(subject: string): boolean;
  receive(payload: Uint8Array, subject: string): void;
}

/** The default bus: it never leaves its process. Delivers in order, each message in a turn of its own. */
export function localBus(): MessageBus {
  const receivers = new Set<Receiver>();
  let closed = false;
  return {
    publish(subject, payload) {
      for (const receiver of receivers) {
        if (receiver.matches(subject)) queueMicrotask(() => !closed && receiver.receive(payload, subject));
      }
    },
    subscribe(subject, receive) {
      const matches = subject.endsWith('.>')
        ? (other: string) => other.startsWith(subject.slice(0, -1))
        : (other: string) => other === subject;
      const receiver = { matches, receive };
      receivers.add(receiver);
      return { unsubscribe: () => void receivers.delete(receiver) };
    },
    close() {
      closed = true;
      receivers.clear();
      return Promise.resolve();
    },
  };
}
