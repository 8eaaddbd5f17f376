import { createFeed } from '../cluster/feed.ts';
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
  let unsubscribe: (() => void) | undefined;
  const feed = createFeed<MigrationEvent>({
    max: maxWaitingEvents,
    makeRoom: (waiting) => void waiting.shift(),
    onEnd() {
      unsubscribe?.();
      signal?.removeEventListener('abort', stop);
    },
  });
  const stop = () => feed.end();
  if (signal?.aborted === true) stop();
  else {
    signal?.addEventListener('abort', stop, { once: true });
    unsubscribe = hub.subscribe((event) => feed.push(event), stop);
  }
  return feed;
}
