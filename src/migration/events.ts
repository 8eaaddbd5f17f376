import type { Transaction } from '../kv/kv.ts';
import { limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { Logger, MigrationLoggers } from '../telemetry/logger.ts';
import type { MigrationMeters, ModelReading } from '../telemetry/meters.ts';
import type { MigrationAuditEvent, MigrationAuditEventReporter } from './audit.ts';
import { auditPosition, migrationOf, persistAuditEvent } from './audit.ts';
import type { MigrationMetrics } from './counters.ts';
import type { MigrationStatus } from './status.ts';
import { eitherOf } from './watch.ts';

/** What every event has. */
interface EventHead<Type extends string> {
  readonly type: Type;
  /** One more with each event of a store, from 1: a gap shows. */
  readonly seq: number;
  readonly modelId: number;
  /** Of the owner at that moment; 0 where there is none, and for what an operator asked for. */
  readonly epoch: number;
  /** Wall clock of the node when it told of it. */
  readonly atMs: number;
}

export interface MigrationStatusEvent extends EventHead<'status'> {
  /** Of the database when it was read: of two the greater one is newer, whichever node tells of it. */
  readonly version: number;
  readonly status: MigrationStatus;
}

export interface MigrationAuditEventNotice extends EventHead<'audit'> {
  /** Orders the events of a model as they were committed, as text. Null where nobody knows when it was. */
  readonly position: string | null;
  readonly event: MigrationAuditEvent;
}

export interface MigrationMetricsEvent extends EventHead<'metrics'> {
  /** As that of a status. */
  readonly version: number;
  readonly metrics: MigrationMetrics;
}

/** What `migrationEvents` yields, and the bus carries. */
export type MigrationEvent = MigrationStatusEvent | MigrationAuditEventNotice | MigrationMetricsEvent;

type Draft<E> = E extends MigrationEvent ? Omit<E, 'seq' | 'atMs'> : never;

export interface MigrationEventHub {
  /** Sets the events in the transaction that makes them true, where they are to be kept. */
  persist(tx: Transaction, model: ConfiguredModel, events: readonly MigrationAuditEvent[]): void;
  /** After that transaction's commit: reporter, subscribers, trimming. Never throws. */
  committed(model: ConfiguredModel, events: readonly MigrationAuditEvent[]): void;
  /** Something about the model changed: its status is read and told, at most ten times a second. */
  changed(model: ConfiguredModel): void;
  /** Reads where models stand, for the meters alone: nobody is told. Never rejects. */
  refreshMeters(models: readonly ConfiguredModel[]): Promise<void>;
  /** @param ended called behind the last event, or at once when the hub is closed */
  subscribe(receive: (event: MigrationEvent) => void, ended?: () => void): () => void;
  /** How often reporter, trimming, reading or a subscriber failed. */
  readonly failures: number;
  /**
   * Tells the last state of what changed, then ends. A database that does not answer is waited for no longer than that, in
   * milliseconds; default 10,000.
   */
  close(timeoutMs?: number): Promise<void>;
}

/** Read in one transaction. */
export interface ReadModel {
  readonly version: number;
  readonly status: MigrationStatus;
  readonly metrics: MigrationMetrics;
}

export interface MigrationEventHubOptions {
  readonly clock: Clock;
  readonly persisted: boolean;
  readonly reporter: MigrationAuditEventReporter;
  readonly logger: Logger;
  readonly loggerFor: MigrationLoggers;
  readonly meters: MigrationMeters;
  readonly readModel: (model: ConfiguredModel) => Promise<ReadModel>;
  readonly trim: (model: ConfiguredModel) => Promise<void>;
}

function readingOf({ version, status, metrics }: ReadModel): ModelReading {
  return {
    version,
    state: status.state,
    isBlocking: status.blocking,
    isStalled: status.reason?.code === 'stalled',
    fraction: status.progress.fraction,
    etaMs: status.etaMs,
    lastEventAtMs: metrics.lastEventAtMs,
  };
}

const defaultCloseMs = 10_000;

/** Status events of one model are at least this far apart, milliseconds; the last one is never lost. */
const statusIntervalMs = limits.migration.statusEventMs.value;

export function createMigrationEventHub(options: MigrationEventHubOptions): MigrationEventHub {
  const { clock, persisted, reporter, logger, loggerFor } = options;
  const receivers = new Map<(event: MigrationEvent) => void, (() => void) | undefined>();
  let isOver = false;
  /** Models whose status is to be read, each with the timer or the reading under way. */
  const due = new Map<number, { timer: unknown; again: boolean; model: ConfiguredModel }>();
  const working = new Set<Promise<void>>();
  /** Where each audit event will be, once its transaction has committed. */
  const positions = new WeakMap<MigrationAuditEvent, Promise<string | null>>();
  /** Audit events are told in the order of their commits here, whichever position is known first. */
  let told = Promise.resolve();
  let seq = 0;
  let failures = 0;
  let closed = false;

  const swallow = (
    what: string,
    error: unknown,
    about: { readonly logger?: Logger; readonly model?: string },
  ) => {
    failures += 1;
    options.meters.swallowed();
    const { logger: own = logger, model } = about;
    own.warn(model === undefined ? { err: error } : { err: error, model }, what);
  };

  const emit = (draft: Draft<MigrationEvent>) => {
    seq += 1;
    const event = { ...draft, seq, atMs: clock.wallMs() } as MigrationEvent;
    for (const receive of receivers.keys()) {
      try {
        receive(event);
      } catch (error) {
        swallow('a subscriber to migration events threw', error, {});
      }
    }
  };

  const track = (work: Promise<void>) => {
    working.add(work);
    void work.finally(() => working.delete(work));
  };

  const publish = async (model: ConfiguredModel): Promise<void> => {
    try {
      const { version, status, metrics } = await options.readModel(model);
      options.meters.progressed(model.name, readingOf({ version, status, metrics }));
      const epoch = status.owner?.epoch ?? 0;
      emit({ type: 'status', modelId: model.id, epoch, version, status });
      emit({ type: 'metrics', modelId: model.id, epoch, version, metrics });
    } catch (error) {
      swallow('the status of a model could not be read', error, { model: model.name });
    }
  };

  const readAgain = async (model: ConfiguredModel): Promise<void> => {
    try {
      options.meters.progressed(model.name, readingOf(await options.readModel(model)));
    } catch (error) {
      if (!closed) swallow('the status of a model could not be read', error, { model: model.name });
    }
  };

  const schedule = (model: ConfiguredModel) => {
    const entry = { timer: undefined as unknown, again: false, model };
    due.set(model.id, entry);
    track(
      publish(model).then(() => {
        if (closed) return;
        entry.timer = clock.setTimeout(() => {
          due.delete(model.id);
          if (entry.again) schedule(model);
        }, statusIntervalMs);
      }),
    );
  };

  const lastWords = async (): Promise<void> => {
    while (working.size > 0) await Promise.all(working);
    for (const { timer, again, model } of due.values()) {
      clock.clearTimeout(timer);
      if (again) await publish(model);
    }
    due.clear();
  };

  return {
    persist(tx, { keys }, events) {
      const [first] = events;
      if (first === undefined) return;
      const stamp = tx.getVersionstamp();
      for (const [ordinal, event] of events.entries()) {
        positions.set(
          event,
          stamp.then(
            (bytes) => auditPosition(bytes, ordinal),
            // It may have committed in an attempt of which nobody knew how it ended.
            () => null,
          ),
        );
      }
      if (!persisted) return;
      try {
        events.forEach((event, ordinal) => persistAuditEvent(tx, keys, event, ordinal));
      } catch (error) {
        swallow('an audit event could not be persisted', error, { logger: loggerFor(migrationOf(first)) });
      }
    },
    committed(model, events) {
      for (const event of events) {
        options.meters.audited(model.name, event.type);
        try {
          reporter(event);
        } catch (error) {
          swallow('migrationAuditEventReporter threw', error, { logger: loggerFor(migrationOf(event)) });
        }
        const tell = async () => {
          const position = (await positions.get(event)) ?? null;
          emit({ type: 'audit', modelId: model.id, epoch: event.epoch, position, event });
        };
        told = told.then(tell);
        track(told);
      }
      if (persisted && events.length > 0) {
        track(
          options
            .trim(model)
            .catch((error: unknown) =>
              swallow('the audit log could not be trimmed', error, { model: model.name }),
            ),
        );
      }
      this.changed(model);
    },
    changed(model) {
      if (closed) return;
      const entry = due.get(model.id);
      if (entry === undefined) schedule(model);
      else entry.again = true;
    },
    async refreshMeters(models) {
      if (!closed) await Promise.all(models.map(readAgain));
    },
    subscribe(receive, ended) {
      if (isOver) ended?.();
      else receivers.set(receive, ended);
      return () => void receivers.delete(receive);
    },
    get failures() {
      return failures;
    },
    async close(timeoutMs = defaultCloseMs) {
      closed = true;
      const never = new AbortController().signal;
      await eitherOf(clock, [lastWords()], timeoutMs, never, { ref: true });
      isOver = true;
      const endings = [...receivers.values()];
      receivers.clear();
      for (const ended of endings) ended?.();
    },
  };
}
