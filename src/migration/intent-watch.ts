import { isStopping, readIntent } from './intent.ts';
import type { HeldMigration, ModelMigration } from './runtime.ts';
import { watchUntil } from './watch.ts';

/** Aborts `signal` when an operator wants this migration to stand still. */
export interface IntentWatch {
  readonly signal: AbortSignal;
  end(): void;
}

/** For work that does not look by itself: hand-written handlers, and waiting. */
export function watchForStop({ runtime, model }: ModelMigration, held: HeldMigration): IntentWatch {
  const { database, clock } = runtime;
  const seen = new AbortController();
  const ended = new AbortController();
  const watching = watchUntil({
    database,
    clock,
    keys: [model.keys.intent],
    signal: ended.signal,
    look: async (tx) =>
      isStopping(await readIntent(tx, model.keys, held.state.migrationId)) ? true : undefined,
  });
  watching.then(
    (answer) => {
      if (answer === true) seen.abort();
    },
    // Whoever writes reads the intent itself: what is lost is speed.
    (error: unknown) => held.logger.warn({ err: error }, 'the intent of an operator could not be watched'),
  );
  return { signal: seen.signal, end: () => ended.abort() };
}
