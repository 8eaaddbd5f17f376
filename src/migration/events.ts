import type { MessageBus } from '../cluster/bus.ts';
import type { Transaction } from '../kv/kv.ts';
import { limits } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { MigrationMeters } from '../telemetry/meters.ts';
import type { MigrationAuditEvent, MigrationAuditEventReporter } from './audit.ts';
import { persistAuditEvent } from './audit.ts';
import type { MigrationMetrics } from './counters.ts';
import type { MigrationStatus } from './status.ts';
import { eitherOf } from './watch.ts';

/** What `migrationEvents` yields and the bus carries. `seq` grows by one with each event of a store: a gap shows. */
export type MigrationEvent =
  | {
      readonly type: 'status';
      readonly seq: number;
      readonly modelId: number;
      readonly status: MigrationStatus;
    }
  | {
      readonly type: 'audit';
      readonly seq: number;
      readonly modelId: number;
      readonly event: MigrationAuditEvent;
    }
  | {
      readonly type: 'metrics';
      readonly seq: number;
      readonly modelId: number;
      readonly metrics: MigrationMetrics;
    };

type Unnumbered<E> = E extends MigrationEvent ? Omit<E, 'seq'> : never;

export interface MigrationEventHub {
  /** Sets the events in the transaction that makes them true, where they are to be kept. */
  persist(tx: Transaction, model: ConfiguredModel, events: readonly MigrationAuditEvent[]): void;
  /** After that transaction's commit: reporter, subscribers, bus, trimming. Never throws. */
  committed(model: ConfiguredModel, events: readonly MigrationAuditEvent[]): void;
  /** Something about the model changed: its status is read and published, at most ten times a second. */
  changed(model: ConfiguredModel): void;
  /** Those who listen have missed something: the present status of each of these is published. */
  republish(models: readonly ConfiguredModel[]): void;
  /** @param ended called behind the last event, or at once when the hub is closed */
  subscribe(receive: (event: MigrationEvent) => void, ended?: () => void): () => void;
  /** How often reporter, trimming, reading or publishing failed. */
  readonly failures: number;
  /**
   * Publishes the last state of what changed, then ends. A database that does not answer is waited for no longer than
   * that, in milliseconds; default 10,000.
   */
  close(timeoutMs?: number): Promise<void>;
}

export interface MigrationEventHubOptions {
  readonly clock: Clock;
  readonly bus: MessageBus;
  /** `<prefix>.<store>` */
  readonly subject: string;
  readonly persisted: boolean;
  readonly reporter: MigrationAuditEventReporter;
  readonly logger: Logger;
  readonly meters: MigrationMeters;
  readonly readModel: (
    model: ConfiguredModel,
  ) => Promise<{ readonly status: MigrationStatus; readonly metrics: MigrationMetrics }>;
  readonly trim: (model: ConfiguredModel) => Promise<void>;
}

const defaultCloseMs = 10_000;

/** Status events of one model are at least this far apart, milliseconds; the last one is never lost. */
const statusIntervalMs = limits.migration.statusEventMs.value;

export function createMigrationEventHub(options: MigrationEventHubOptions): MigrationEventHub {
  const { clock, bus, subject, persisted, reporter, logger } = options;
  const receivers = new Map<(event: MigrationEvent) => void, (() => void) | undefined>();
  let isOver = false;
  /** Models whose status is to be read, each with the timer or the reading under way. */
  const due = new Map<number, { timer: unknown; again: boolean; model: ConfiguredModel }>();
  const working = new Set<Promise<void>>();
  let seq = 0;
  let failures = 0;
  let closed = false;

  const swallow = (what: string, error: unknown) => {
    failures += 1;
    options.meters.swallowed();
    logger.warn({ err: error }, what);
  };

  const emit = (unnumbered: Unnumbered<MigrationEvent>) => {
    seq += 1;
    const event = { ...unnumbered, seq } as MigrationEvent;
    for (const receive of receivers.keys()) {
      try {
        receive(event);
      } catch (error) {
        swallow('a subscriber to migration events threw', error);
      }
    }
    try {
      const payload = Buffer.from(JSON.stringify({ v: 1, ...event }));
      bus.publish(`${subject}.${event.type}.${event.modelId}`, payload);
    } catch (error) {
      swallow('a migration event could not be published', error);
    }
  };

  const track = (work: Promise<void>) => {
    working.add(work);
    void work.finally(() => working.delete(work));
  };

  const publish = async (model: ConfiguredModel): Promise<void> => {
    try {
      const { status, metrics } = await options.readModel(model);
      options.meters.progressed(model.name, status.state, status.progress.fraction);
      emit({ type: 'status', modelId: model.id, status });
      emit({ type: 'metrics', modelId: model.id, metrics });
    } catch (error) {
      swallow('the status of a model could not be read', error);
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
      if (!persisted) return;
      try {
        events.forEach((event, ordinal) => persistAuditEvent(tx, keys, event, ordinal));
      } catch (error) {
        swallow('an audit event could not be persisted', error);
      }
    },
    committed(model, events) {
      for (const event of events) {
        options.meters.audited(model.name, event.type);
        try {
          reporter(event);
        } catch (error) {
          swallow('migrationAuditEventReporter threw', error);
        }
        emit({ type: 'audit', modelId: model.id, event });
      }
      if (persisted && events.length > 0) {
        track(
          options.trim(model).catch((error: unknown) => swallow('the audit log could not be trimmed', error)),
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
    republish(models) {
      for (const model of models) this.changed(model);
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
