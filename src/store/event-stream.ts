import { limits } from '../limits.ts';
import type { MigrationEvent, MigrationEventHub } from '../migration/events.ts';

/** Events kept for a reader that is slow; older ones are dropped, which the numbering shows. */
const maxWaitingEvents = limits.store.waitingEvents.value;

/**
 * Events of a store to iterate over once: from the call on, until the signal aborts, the hub closes behind its last
 * event, or the loop is left.
 */
export function streamEvents(
  hub: Pick<MigrationEventHub, 'subscribe'>,
  signal: AbortSignal | undefined,
): AsyncIterable<MigrationEvent> {
  const waiting: MigrationEvent[] = [];
  let isOver = false;
  let wake: (() => void) | undefined;
  let unsubscribe: (() => void) | undefined;
  const stop = () => {
    isOver = true;
    unsubscribe?.();
    signal?.removeEventListener('abort', stop);
    wake?.();
  };
  const receive = (event: MigrationEvent) => {
    waiting.push(event);
    if (waiting.length > maxWaitingEvents) waiting.shift();
    wake?.();
  };
  const read = async function* (): AsyncGenerator<MigrationEvent, void, undefined> {
    try {
      for (;;) {
        const event = waiting.shift();
        if (event !== undefined) yield event;
        else if (isOver) return;
        else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      stop();
    }
  };
  if (signal?.aborted === true) isOver = true;
  else {
    signal?.addEventListener('abort', stop, { once: true });
    unsubscribe = hub.subscribe(receive, stop);
  }
  return read();
}
