import { metricDefinitions } from './metric-definitions.ts';
import type { Registry } from './registration.ts';
import type { ScrapedMetric } from './scrape.ts';
import { showWhenScraped } from './scrape.ts';

/** What a bus tells of itself when it is asked. */
export interface BusReading {
  readonly isConnected: boolean;
  readonly dropped: number;
  readonly failures: number;
}

const busMetrics: readonly ScrapedMetric<BusReading>[] = [
  {
    definition: metricDefinitions.busConnected,
    values: ({ isConnected }) => [[{}, isConnected ? 1 : 0]],
  },
  { definition: metricDefinitions.busDropped, values: ({ dropped }) => [[{}, dropped]] },
  { definition: metricDefinitions.busFailures, values: ({ failures }) => [[{}, failures]] },
];

/** Shows the bus of a store in a registry until that is ended. */
export function meterBus(registry: Registry, store: string, read: () => BusReading): () => void {
  return showWhenScraped(registry, { store, read }, busMetrics);
}
