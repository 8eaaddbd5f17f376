import { createRequire } from 'node:module';
import type * as PromClient from 'prom-client';
import type { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { MetricDefinition, MetricLabel } from './metric-definitions.ts';

export type { Registry };

export type MetricLabels = Partial<Record<MetricLabel, string>>;

const require = createRequire(import.meta.url);
/** Loaded for whoever has a registry: a sixth of what importing this library would take. */
const client = () => require('prom-client') as typeof PromClient;

/** Called with a metric when it is scraped, before its values are read. */
type Collect<M> = (metric: M) => Promise<void> | void;

/** The metric of this definition, made if the registry has none yet: the stores of a process share one. */
export function counterIn(
  registry: Registry,
  definition: MetricDefinition,
  collect?: Collect<Counter<MetricLabel>>,
): Counter<MetricLabel> {
  const known = registry.getSingleMetric(definition.name);
  if (known !== undefined) return known as unknown as Counter<MetricLabel>;
  return new (client().Counter)<MetricLabel>({
    ...commonOf(registry, definition),
    ...(collect === undefined
      ? {}
      : {
          collect() {
            return collect(this);
          },
        }),
  });
}

export function gaugeIn(
  registry: Registry,
  definition: MetricDefinition,
  collect: Collect<Gauge<MetricLabel>>,
): Gauge<MetricLabel> {
  const known = registry.getSingleMetric(definition.name);
  if (known !== undefined) return known as unknown as Gauge<MetricLabel>;
  return new (client().Gauge)<MetricLabel>({
    ...commonOf(registry, definition),
    collect() {
      return collect(this);
    },
  });
}

export function histogramIn(registry: Registry, definition: MetricDefinition): Histogram<MetricLabel> {
  const known = registry.getSingleMetric(definition.name);
  if (known !== undefined) return known as unknown as Histogram<MetricLabel>;
  return new (client().Histogram)<MetricLabel>({
    ...commonOf(registry, definition),
    buckets: [...(definition.buckets ?? [])],
  });
}

function commonOf(registry: Registry, { name, help, labelNames }: MetricDefinition) {
  return { name, help, labelNames: [...labelNames], registers: [registry] };
}
