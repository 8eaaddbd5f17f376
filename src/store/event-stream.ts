import type { MigrationEvent, MigrationEventHub } from '../migration/events.ts';

/** Events kept for a reader that is slow; older ones are dropped, which the numbering shows. */
const maxWaitingEvents = 1_000;

/** Events of a store to iterate over, from now on until the signal aborts, the store closes, or the loop is left. */
export async function* streamEvents(
  hub: MigrationEventHub,
  signals: readonly AbortSignal[],
): AsyncGenerator<MigrationEvent, void, undefined> {
  const signal = AbortSignal.any([...signals]);
  const waiting: MigrationEvent[] = [];
  let wake: (() => void) | undefined;
  const unsubscribe = hub.subscribe((event) => {
    waiting.push(event);
    if (waiting.length > maxWaitingEvents) waiting.shift();
    wake?.();
  });
  const onAbort = () => wake?.();
  signal.addEventListener('abort', onAbort);
  try {
    for (;;) {
      const event = waiting.shift();
      if (event !== undefined) yield event;
      else if (signal.aborted) return;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    unsubscribe();
    signal.removeEventListener('abort', onAbort);
  }
}
