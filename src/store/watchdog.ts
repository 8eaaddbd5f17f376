import { readStatus } from '../migration/read-status.ts';
import { rest } from '../ports/clock.ts';
import type { StoreCore } from './core.ts';

/** While a model is stalled it is looked at so many times in the time after which it was. */
const looksWhileStalled = 4;

/** What this process has heard of a model that it migrates, or waits for. */
interface Watched {
  /** Monotonic. */
  heardAtMs: number;
  isStalled: boolean;
}

/**
 * Tells when a migration that this process has something to do with stalls, and when it goes on again, also where nobody
 * commits anything that would be told. Nothing is read while its events come. One timer, which keeps no process alive;
 * it ends with the store.
 */
export function watchForStalls({ hub, runtime, migrations, models, closing }: StoreCore): void {
  const { clock, logger, stalledAfterMs } = runtime;
  if (migrations.size === 0) return;
  const watched = new Map<number, Watched>();
  for (const modelId of migrations.keys()) {
    watched.set(modelId, { heardAtMs: clock.monotonicMs(), isStalled: false });
  }

  hub.subscribe((event) => {
    const seen = watched.get(event.modelId);
    if (seen === undefined || event.type === 'metrics') return;
    seen.heardAtMs = clock.monotonicMs();
    if (event.type === 'audit') return;
    const { reason, modelName: model, migrationId } = event.status;
    const isStalled = reason?.code === 'stalled';
    if (isStalled && !seen.isStalled) {
      logger.warn({ model, migrationId, epoch: event.epoch }, `a migration is stalled: ${reason.message}`);
    }
    seen.isStalled = isStalled;
    // Its migration is over, and this process begins no other one.
    if (event.status.state === 'Idle') watched.delete(event.modelId);
  });

  const dueMs = ({ heardAtMs, isStalled }: Watched) =>
    heardAtMs + stalledAfterMs / (isStalled ? looksWhileStalled : 1);

  const look = async (modelId: number, seen: Watched): Promise<void> => {
    seen.heardAtMs = clock.monotonicMs();
    const model = models.find(({ id }) => id === modelId);
    if (model === undefined) return;
    const { reason } = await readStatus(runtime, model);
    // The hub reads it again, and tells everybody.
    if ((reason?.code === 'stalled') !== seen.isStalled) hub.changed(model);
  };

  const watch = async (): Promise<void> => {
    while (!closing.signal.aborted && watched.size > 0) {
      const nextMs = Math.min(...[...watched.values()].map(dueMs)) - clock.monotonicMs();
      await rest(clock, Math.max(1, nextMs), closing.signal);
      for (const [modelId, seen] of watched) {
        if (closing.signal.aborted) return;
        if (dueMs(seen) > clock.monotonicMs()) continue;
        await look(modelId, seen).catch((error: unknown) => {
          if (!closing.signal.aborted) logger.warn({ err: error }, 'a migration could not be looked at');
        });
      }
    }
  };
  void watch();
}
