import type { WorkerPool } from '../ports/pool.ts';
import { labelValues, metricDefinitions } from './metric-definitions.ts';
import type { Registry } from './registration.ts';
import type { ScrapedMetric } from './scrape.ts';
import { showWhenScraped } from './scrape.ts';

/** What a store is made of. */
export interface StoreReading {
  /** Of this package. */
  readonly version: string;
  readonly engine: string;
  readonly pool: Pick<WorkerPool, 'threads' | 'queued' | 'utilization'>;
}

/** An application may bring a database of its own. */
const boundedEngine = (engine: string) => labelValues.engine.find((known) => known === engine) ?? 'other';

/** A pool that does not tell has no value. */
const known = (value: number | undefined) =>
  typeof value === 'number' ? ([[{}, value]] as const) : ([] as const);

const storeMetrics: readonly ScrapedMetric<StoreReading>[] = [
  {
    definition: metricDefinitions.storeInfo,
    values: ({ version, engine }) => [[{ version, engine: boundedEngine(engine) }, 1]],
  },
  { definition: metricDefinitions.poolThreads, values: ({ pool }) => known(pool.threads) },
  { definition: metricDefinitions.poolQueued, values: ({ pool }) => known(pool.queued) },
  { definition: metricDefinitions.poolUtilization, values: ({ pool }) => known(pool.utilization) },
];

/** Shows a store and its pool in a registry until that is ended. */
export function meterStore(registry: Registry, store: string, reading: StoreReading): () => void {
  return showWhenScraped(registry, { store, read: () => reading }, storeMetrics);
}
