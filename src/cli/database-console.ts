import type { MigrationStatus } from '../migration/status.ts';
import type { Clock } from '../ports/clock.ts';
import { sleep } from '../ports/clock.ts';
import type { StoredStore } from '../store/open-stored.ts';
import type { Console } from './console.ts';
import { lookMs } from './console.ts';

/** By the database alone: no node has to run. */
export function createDatabaseConsole(store: StoredStore, clock: Clock): Console {
  async function* follow(signal: AbortSignal): AsyncIterable<readonly MigrationStatus[]> {
    while (!signal.aborted) {
      yield await store.statuses();
      await sleep(clock, lookMs, signal);
    }
  }

  return {
    models: () => store.models(),
    status: (modelId) => store.status(modelId),
    statuses: () => store.statuses(),
    steer: (verb, modelId, call) => store[verb](modelId, call),
    standing: (modelId) => store.standing(modelId),
    follow,
    close: () => store.close(),
  };
}
