import type { Crash, Retired } from '../../machines/node.ts';
import type { MigrationEffects } from './effects.ts';
import { createMigrationEffects, letGo } from './effects.ts';
import { restartDelayMs } from './retry.ts';
import type { ModelMigration } from './runtime.ts';
import { loggerOf } from './runtime.ts';
import { eitherOf } from './watch.ts';

/**
 * The effects of migrations whose actors may be replaced: one incarnation of a model after another, never two.
 *
 * Each has a `ModelMigration` of its own. So what is left of an earlier one has its own signal to stop, and its own
 * lease to lose or to give back: whenever it ends, it touches nothing of the present one.
 */
export interface Incarnations {
  readonly effects: MigrationEffects;
  /**
   * Tells what the crashed one does to stop, waits for it, releases its lease, and sets the next one up.
   *
   * What does not end, a handler that does not look at its signal for one, is waited for no longer than 10,000 ms. The
   * lease is released then all the same, and the next one has a higher epoch: the old one's commits fail.
   */
  retire(crash: Crash): Promise<Retired>;
  /** Resolves when nothing is under way any more, and no lease is held: also when nobody drives the actors. */
  ended(): Promise<void>;
}

/** As long as `close` waits for chunks and handlers: a chunk has 4 s at most. Milliseconds. */
const retireTimeoutMs = 10_000;

/** @param migrations by model id; each is replaced by its first incarnation, and later by the next ones */
export function createIncarnations(migrations: Map<number, ModelMigration>): Incarnations {
  const ends = new Map<number, AbortController>();
  const stops = new Map([...migrations].map(([modelId, { stop }]) => [modelId, stop]));
  const underWay = new Map<number, Set<Promise<unknown>>>();

  const begin = (modelId: number, migration: ModelMigration) => {
    const end = new AbortController();
    const stop = stops.get(modelId) ?? migration.stop;
    ends.set(modelId, end);
    underWay.set(modelId, new Set());
    migrations.set(modelId, { ...migration, held: undefined, stop: AbortSignal.any([stop, end.signal]) });
  };
  for (const [modelId, migration] of migrations) begin(modelId, migration);

  const track = <T>({ modelId }: { readonly modelId: number }, effect: Promise<T>): Promise<T> => {
    const present = underWay.get(modelId);
    present?.add(effect);
    const over = () => present?.delete(effect);
    effect.then(over, over);
    return effect;
  };
  const effects = createMigrationEffects(migrations);

  return {
    effects: {
      acquireLease: (input) => track(input, effects.acquireLease(input)),
      runStep: (input) => track(input, effects.runStep(input)),
      awaitApproval: (input) => track(input, effects.awaitApproval(input)),
      publish: (input) => track(input, effects.publish(input)),
      waitForRetry: (input) => track(input, effects.waitForRetry(input)),
      waitForResume: (input) => track(input, effects.waitForResume(input)),
      recover: (input) => track(input, effects.recover(input)),
    },
    async retire(crash) {
      const old = migrations.get(crash.modelId);
      if (old === undefined) throw new Error(`model ${crash.modelId} has no migration here`);
      ends.get(crash.modelId)?.abort();
      const cleared = clear(old, underWay.get(crash.modelId) ?? new Set());
      let restartInMs: number;
      try {
        restartInMs = tell(old, crash);
      } finally {
        // Before anything else may come of it: the next one is alone.
        await cleared;
        begin(crash.modelId, old);
      }
      const { reason } = old;
      const present = migrations.get(crash.modelId);
      if (present !== undefined && reason?.code !== 'dependency') {
        const sinceMs = old.runtime.clock.wallMs();
        const message = `its actor crashed, ${crash.crashes} in a row`;
        present.reason = { code: 'retryBackoff', message, sinceMs, untilMs: sinceMs + restartInMs };
      }
      old.runtime.events.changed(old.model);
      return { restartInMs };
    },
    async ended() {
      await Promise.allSettled([...underWay.values()].flatMap((present) => [...present]));
      await Promise.all([...migrations.values()].map(letGo));
    },
  };
}

/** Resolves when nothing that it began is under way and its lease is released, or after the time for that. */
async function clear(old: ModelMigration, underWay: ReadonlySet<Promise<unknown>>): Promise<void> {
  const { clock } = old.runtime;
  const logger = loggerOf(old);
  const never = new AbortController().signal;
  let isOver = false;
  // Also when it ends too late: a lease that it has acquired meanwhile would be held for ever.
  const ended = Promise.allSettled(underWay).then(async () => {
    await letGo(old);
    isOver = true;
  });
  await eitherOf(clock, [ended], retireTimeoutMs, never, { ref: true });
  if (isOver) return;
  logger.warn({}, 'what a crashed actor began does not end; it commits nothing more');
  await eitherOf(clock, [letGo(old)], retireTimeoutMs, never, { ref: true });
}

function tell(old: ModelMigration, { crashes, error }: Crash): number {
  const restartInMs = restartDelayMs(crashes, old.runtime.random);
  const about = { err: error, crashes, restartInMs };
  loggerOf(old).error(about, 'the actor of a migration crashed, and is started again');
  return restartInMs;
}
