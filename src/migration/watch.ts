import type { KeyValueDatabase, Transaction } from '../kv/kv.ts';
import { KeyValueError } from '../kv/kv.ts';
import type { Clock } from '../ports/clock.ts';

/** Without a watch, or when one is lost, this is how late a change is noticed. Milliseconds; source: protocol 18. */
export const pollIntervalMs = 1_000;

export interface WatchOptions<T> {
  readonly database: KeyValueDatabase;
  readonly clock: Clock;
  readonly keys: readonly Uint8Array[];
  readonly signal: AbortSignal;
  /** Milliseconds between two looks when no watch fires. Default 1,000. */
  readonly pollMs?: number | undefined;
  /** Whether the process stays alive for it: somebody awaits the answer. Default false. */
  readonly isAwaited?: boolean | undefined;
  /** Is given what makes it look again at once; answers what ends that. */
  readonly onHint?: ((look: () => void) => () => void) | undefined;
  /** Reads in the transaction that arms the watches, so nothing is missed. Undefined: go on watching. */
  readonly look: (tx: Transaction) => Promise<T | undefined>;
}

/**
 * Looks at the database until there is an answer: again whenever one of the keys changes, and now and then besides.
 * A database that cannot be read is asked again. Undefined when the signal aborts.
 */
export async function watchUntil<T>(options: WatchOptions<T>): Promise<T | undefined> {
  const { database, clock, keys, signal, pollMs = pollIntervalMs, isAwaited = false, onHint, look } = options;
  while (!signal.aborted) {
    // Before it looks: what is told meanwhile is not missed.
    let endHints: (() => void) | undefined;
    const hinted = new Promise<void>((resolve) => {
      endHints = onHint?.(resolve);
    });
    try {
      const armed = await lookOnce(database, keys, signal, look);
      if (armed.answer !== undefined) return armed.answer;
      await eitherOf(clock, [hinted, ...armed.watches.map(({ changed }) => changed)], pollMs, signal, {
        ref: isAwaited,
      });
      for (const watch of armed.watches) watch.cancel();
    } finally {
      endHints?.();
    }
  }
  return undefined;
}

async function lookOnce<T>(
  database: KeyValueDatabase,
  keys: readonly Uint8Array[],
  signal: AbortSignal,
  look: (tx: Transaction) => Promise<T | undefined>,
) {
  try {
    return await database.transact(
      async (tx) => {
        const answer = await look(tx);
        return { answer, watches: answer === undefined ? keys.map((key) => tx.watch(key)) : [] };
      },
      { signal },
    );
  } catch (error) {
    if (!signal.aborted && !(error instanceof KeyValueError)) throw error;
    return { answer: undefined, watches: [] };
  }
}

/**
 * Resolves with the first of them, after `delayMs`, or when the signal aborts. Never rejects. Keeps the process alive
 * only with `ref`: for waits that are work in progress.
 */
export function eitherOf(
  clock: Clock,
  promises: readonly Promise<unknown>[],
  delayMs: number,
  signal: AbortSignal,
  options: { readonly ref: boolean } = { ref: false },
): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = () => {
      clock.clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = clock.setTimeout(end, delayMs, options);
    signal.addEventListener('abort', end, { once: true });
    for (const promise of promises) promise.then(end, end);
  });
}
