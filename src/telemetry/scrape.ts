import type { MetricDefinition } from './metric-definitions.ts';
import type { MetricLabels, Registry } from './registration.ts';
import { counterIn, gaugeIn } from './registration.ts';

type Values = readonly (readonly [labels: MetricLabels, value: number])[];

/** A metric whose values are read when somebody scrapes. */
export interface ScrapedMetric<Reading> {
  readonly definition: MetricDefinition & { readonly type: 'counter' | 'gauge' };
  /** Without the label `store`. */
  readonly values: (reading: Reading) => Values;
}

/** What an open store lets itself be asked. */
export interface ScrapedStore<Reading> {
  readonly store: string;
  readonly read: () => Reading;
  /** Waited for before it is read. Default: nothing is. */
  readonly refresh?: (() => Promise<void>) | undefined;
}

/** An open store, as one metric sees it. */
interface Source {
  readonly refresh: (() => Promise<void>) | undefined;
  readonly values: () => Values;
}

/** One metric of one registry. */
interface Shown {
  readonly sources: Set<Source>;
  /** What counters of stores that were closed had come to, by their labels: a counter never goes back. */
  readonly ended: Map<string, { readonly labels: MetricLabels; readonly value: number }>;
}

const shownByRegistry = new WeakMap<Registry, Map<string, Shown>>();

/**
 * Shows a store in these metrics until that is ended: its gauges are gone then, its counters stay. Metrics are made once per
 * registry.
 */
export function showWhenScraped<Reading>(
  registry: Registry,
  store: ScrapedStore<Reading>,
  metrics: readonly ScrapedMetric<Reading>[],
): () => void {
  const ends = metrics.map((metric) => show(registry, store, metric));
  return () => {
    for (const end of ends) end();
  };
}

function show<Reading>(
  registry: Registry,
  store: ScrapedStore<Reading>,
  metric: ScrapedMetric<Reading>,
): () => void {
  const { definition } = metric;
  const all = shownByRegistry.get(registry) ?? new Map<string, Shown>();
  shownByRegistry.set(registry, all);
  const shown = all.get(definition.name) ?? { sources: new Set(), ended: new Map() };
  all.set(definition.name, shown);
  const source = { refresh: store.refresh, values: () => valuesOf(store, metric) };
  shown.sources.add(source);
  register(registry, definition, shown);
  return () => {
    if (!shown.sources.delete(source) || definition.type === 'gauge') return;
    for (const [labels, value] of source.values()) {
      const name = JSON.stringify(labels);
      shown.ended.set(name, { labels, value: (shown.ended.get(name)?.value ?? 0) + value });
    }
  };
}

function register(
  registry: Registry,
  definition: ScrapedMetric<never>['definition'],
  { sources, ended }: Shown,
): void {
  const present = async (): Promise<Values> => {
    await Promise.all([...sources].flatMap(({ refresh }) => (refresh === undefined ? [] : [refresh()])));
    // One that was closed meanwhile is gone.
    return [...sources].flatMap(({ values }) => values());
  };
  if (definition.type === 'gauge') {
    gaugeIn(registry, definition, async (gauge) => {
      const values = await present();
      gauge.reset();
      for (const [labels, value] of values) gauge.set(labels, value);
    });
    return;
  }
  counterIn(registry, definition, async (counter) => {
    const values = await present();
    counter.reset();
    for (const { labels, value } of ended.values()) counter.inc(labels, value);
    for (const [labels, value] of values) counter.inc(labels, value);
  });
}

/** A host's own bus or pool may throw: that must not take the metrics of the whole process with it. */
function valuesOf<Reading>(
  { store, read }: ScrapedStore<Reading>,
  { values }: ScrapedMetric<Reading>,
): Values {
  try {
    return values(read()).map(([labels, value]) => [{ store, ...labels }, value] as const);
  } catch {
    return [];
  }
}
