import { errorCodes } from '../errors.ts';
import { labelValues, metricDefinitions } from './metric-definitions.ts';
import type { MetricLabels, Registry } from './registration.ts';
import { counterIn, histogramIn } from './registration.ts';
import type { ScrapedMetric } from './scrape.ts';
import { showWhenScraped } from './scrape.ts';

export type { Registry };

/** A chunk that this process has committed. */
export interface MeteredChunk {
  readonly pass: 'backfill' | 'index' | 'verify';
  /** Read. */
  readonly records: number;
  readonly bytes: number;
  /** By a backfill; 0 in the other passes. */
  readonly recordsMoved: number;
  readonly bytesMoved: number;
  readonly quarantined: number;
  readonly conflicts: number;
  /** From the read to the commit. */
  readonly seconds: number;
}

/** Where a model stands. */
export interface ModelReading {
  /** Of the database when it was read: an older one is left aside. */
  readonly version: number;
  readonly state: string;
  readonly isBlocking: boolean;
  readonly isStalled: boolean;
  /** 0 to 1; null: unknown. */
  readonly fraction: number | null;
  /** Null: unknown. */
  readonly etaMs: number | null;
  /** Unix time; 0: never. */
  readonly lastEventAtMs: number;
}

/** What this process does for migrations, counted where it happens. The cluster-wide, persisted counters are others. */
export interface MigrationMeters {
  chunkCommitted(modelName: string, chunk: MeteredChunk): void;
  /** A chunk has waited before its commit. */
  throttled(modelName: string, cause: (typeof labelValues)['cause'][number], seconds: number): void;
  /** An audit event of this process. */
  audited(modelName: string, type: string): void;
  phaseCompleted(modelName: string, phase: string, seconds: number): void;
  /** @param code of the error; undefined where a handler only asked for another try */
  retryScheduled(modelName: string, code: string | undefined): void;
  /** Something outside the migration threw: the database, or this library. */
  interrupted(modelName: string, code: string): void;
  verified(modelName: string, findings: Readonly<Record<(typeof labelValues)['kind'][number], number>>): void;
  leaseTakenOver(modelName: string): void;
  leaseLost(modelName: string): void;
  progressed(modelName: string, reading: ModelReading): void;
  /** What migrates a model crashed, and was started again. */
  actorRestarted(modelName: string): void;
  /** Something that must never fail a migration did: a reporter, a subscriber, the bus. */
  swallowed(): void;
  /** The store was closed: where its models stand is not shown any more. What was counted stays. */
  close(): void;
}

const nothing = () => undefined;

export const silentMeters: MigrationMeters = {
  chunkCommitted: nothing,
  throttled: nothing,
  audited: nothing,
  phaseCompleted: nothing,
  retryScheduled: nothing,
  interrupted: nothing,
  verified: nothing,
  leaseTakenOver: nothing,
  leaseLost: nothing,
  progressed: nothing,
  actorRestarted: nothing,
  swallowed: nothing,
  close: nothing,
};

type Readings = ReadonlyMap<string, ModelReading>;

const each = (
  readings: Readings,
  valueOf: (reading: ModelReading) => number | null,
): readonly (readonly [MetricLabels, number])[] =>
  [...readings].flatMap(([model, reading]) => {
    const value = valueOf(reading);
    return value === null ? [] : [[{ model }, value] as const];
  });

const seconds = (ms: number | null): number | null => (ms === null ? null : ms / 1_000);
const bit = (is: boolean): number => (is ? 1 : 0);

/** Of a model that is idle again nothing is left of how far it was. */
const modelMetrics: readonly ScrapedMetric<Readings>[] = [
  {
    definition: metricDefinitions.state,
    values: (readings) =>
      [...readings].flatMap(([model, reading]) =>
        labelValues.state.map((state) => [{ model, state }, bit(reading.state === state)] as const),
      ),
  },
  {
    definition: metricDefinitions.blocking,
    values: (readings) => each(readings, ({ isBlocking }) => bit(isBlocking)),
  },
  {
    definition: metricDefinitions.stalled,
    values: (readings) => each(readings, ({ isStalled }) => bit(isStalled)),
  },
  {
    definition: metricDefinitions.progress,
    values: (readings) => each(readings, ({ state, fraction }) => (state === 'Idle' ? null : fraction)),
  },
  {
    definition: metricDefinitions.eta,
    values: (readings) => each(readings, ({ state, etaMs }) => (state === 'Running' ? seconds(etaMs) : null)),
  },
  {
    definition: metricDefinitions.lastEvent,
    values: (readings) =>
      each(readings, ({ lastEventAtMs }) => (lastEventAtMs === 0 ? null : lastEventAtMs / 1_000)),
  },
];

export interface MigrationMetersOptions {
  readonly registry: Registry;
  readonly store: string;
  /** Reads again where models stand that other nodes may have brought further. Called once for all who wait. */
  readonly refresh: () => Promise<void>;
}

/** Registers the metrics once per registry; every store of the process has its own label. */
export function createMigrationMeters({ registry, store, refresh }: MigrationMetersOptions): MigrationMeters {
  const counter = (name: keyof typeof metricDefinitions) => counterIn(registry, metricDefinitions[name]);
  const histogram = (name: keyof typeof metricDefinitions) => histogramIn(registry, metricDefinitions[name]);
  const events = counter('events');
  const records = counter('recordsMoved');
  const bytes = counter('bytesMoved');
  const conflicts = counter('conflicts');
  const quarantined = counter('quarantined');
  const retries = counter('retries');
  const interruptions = counter('interruptions');
  const findings = counter('findings');
  const takeovers = counter('takeovers');
  const losses = counter('losses');
  const restarts = counter('restarts');
  const swallowed = counter('swallowed');
  const throttled = counter('throttled');
  const phaseDuration = histogram('phaseDuration');
  const chunkDuration = histogram('chunkDuration');
  const chunkRecords = histogram('chunkRecords');
  const chunkBytes = histogram('chunkBytes');

  const readings = new Map<string, ModelReading>();
  const begun = new Set<string>();
  /** Counters begin at 0 when their model is first heard of: what comes to be at 1 is no increase to Prometheus. */
  const of = (model: string) => {
    const labels = { store, model };
    if (begun.has(model)) return labels;
    begun.add(model);
    for (const one of [records, bytes, conflicts, quarantined, takeovers, losses, restarts])
      one.inc(labels, 0);
    for (const type of labelValues.type) events.inc({ ...labels, type }, 0);
    for (const kind of labelValues.kind) findings.inc({ ...labels, kind }, 0);
    for (const cause of labelValues.cause) throttled.inc({ ...labels, cause }, 0);
    return labels;
  };
  swallowed.inc({ store }, 0);

  let refreshing: Promise<void> | undefined;
  const end = showWhenScraped<Readings>(
    registry,
    {
      store,
      read: () => readings,
      refresh: () =>
        (refreshing ??= refresh().finally(() => {
          refreshing = undefined;
        })),
    },
    modelMetrics,
  );

  return {
    chunkCommitted(model, chunk) {
      const labels = of(model);
      records.inc(labels, chunk.recordsMoved);
      bytes.inc(labels, chunk.bytesMoved);
      conflicts.inc(labels, chunk.conflicts);
      quarantined.inc(labels, chunk.quarantined);
      const ofPass = { ...labels, pass: chunk.pass };
      chunkDuration.observe(ofPass, chunk.seconds);
      chunkRecords.observe(ofPass, chunk.records);
      chunkBytes.observe(ofPass, chunk.bytes);
    },
    throttled: (model, cause, time) => throttled.inc({ ...of(model), cause }, time),
    audited: (model, type) => events.inc({ ...of(model), type }),
    phaseCompleted: (model, phase, took) => phaseDuration.observe({ ...of(model), phase }, took),
    retryScheduled: (model, code) => retries.inc({ ...of(model), code: boundedCode(code) }),
    interrupted: (model, code) => interruptions.inc({ ...of(model), code: boundedCode(code) }),
    verified(model, found) {
      const labels = of(model);
      for (const kind of labelValues.kind) findings.inc({ ...labels, kind }, found[kind]);
    },
    leaseTakenOver: (model) => takeovers.inc(of(model)),
    leaseLost: (model) => losses.inc(of(model)),
    progressed(model, reading) {
      of(model);
      if (reading.version >= (readings.get(model)?.version ?? 0)) readings.set(model, reading);
    },
    actorRestarted: (model) => restarts.inc(of(model)),
    swallowed: () => swallowed.inc({ store }),
    close: end,
  };
}

/** Errors of handlers may have any code: as a label each would be a series for good. */
const boundedCode = (code: string | undefined): string =>
  code !== undefined && Object.hasOwn(errorCodes, code) ? code : 'other';
