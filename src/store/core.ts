import { hostname } from 'node:os';
import type { MessageBus } from '../cluster/bus.ts';
import { localBus } from '../cluster/local-bus.ts';
import { natsBus } from '../cluster/nats-bus.ts';
import { shelter } from '../cluster/shelter.ts';
import type { ConnectedHints } from '../cluster/work-hints.ts';
import { createWorkHints } from '../cluster/work-hints.ts';
import { ModelException, RequestException } from '../errors.ts';
import type { KeyValueDatabase } from '../kv/kv.ts';
import { auditLine } from '../migration/audit-line.ts';
import { migrationOf, trimAuditEvents } from '../migration/audit.ts';
import type { Backfill } from '../migration/backfill-spec.ts';
import { readMetrics } from '../migration/counters.ts';
import type { MigrationEventHub } from '../migration/events.ts';
import { createMigrationEventHub } from '../migration/events.ts';
import type { MigrationHandlers } from '../migration/handlers.ts';
import { FoundationDBMigrationLease } from '../migration/foundationdb-lease.ts';
import type { MigrationLease } from '../migration/lease.ts';
import { startBeats } from '../migration/lease-beats.ts';
import type { Inspector } from '../migration/machine-clock.ts';
import type { MigrationNode } from '../migration/node-host.ts';
import { readStatusIn } from '../migration/read-status.ts';
import { createGiveWay } from '../migration/passes/give-way.ts';
import { initialChunkControl } from '../migration/passes/controller.ts';
import { leastSplitRecords } from '../migration/passes/split.ts';
import type { MigrationRuntime, ModelMigration, Throttle, TransformPool } from '../migration/runtime.ts';
import type { MigrationStatus } from '../migration/status.ts';
import { createSessions } from '../migration/sessions.ts';
import { createHostThrottle } from '../migration/host-throttle.ts';
import { createRateLimit } from '../migration/throttle.ts';
import { eitherOf } from '../migration/watch.ts';
import type { AnyModel } from '../model/define.ts';
import type { ModelOrder } from '../model/order.ts';
import type { ResolvedModels } from '../model/resolve.ts';
import type { Clock } from '../ports/clock.ts';
import type { ProcessPort } from '../ports/process.ts';
import type { Random } from '../ports/random.ts';
import { createRequestMeter } from '../migration/request-meter.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { StoreKeys } from '../records/keys.ts';
import { sweepGarbage } from '../records/garbage.ts';
import type { Logger } from '../telemetry/logger.ts';
import { createMigrationLoggers, silentLogger } from '../telemetry/logger.ts';
import type { MigrationMeters } from '../telemetry/meters.ts';
import { createMigrationMeters, silentMeters } from '../telemetry/meters.ts';
import { meterStore } from '../telemetry/store-meters.ts';
import { release } from '../release.ts';
import type { BusLink } from './bus-link.ts';
import type { Gate } from './gate.ts';
import { createGate } from './gate.ts';
import type { CheckedOptions } from './options.ts';
import { serversOf } from './options.ts';
import type { ReadinessKeeper } from './readiness.ts';
import type { Requests } from './request.ts';
import { createRequests } from './request.ts';
import { useSharedPool } from './shared-pool.ts';

/** Time, chance and the process: real ones, or those of a simulation. */
export interface Ports {
  readonly clock: Clock;
  readonly random: Random;
  readonly process: ProcessPort;
  /** Is told of every step of every machine: for whoever counts what was reached. */
  readonly inspect?: Inspector | undefined;
  /** Where there is little data: of the first chunk, default 100, and of a part of a range that is cut, default 1,000. */
  readonly fewRecords?: { readonly firstChunk: number; readonly leastSplit: number } | undefined;
}

/** An open store's parts. `open` puts them together, `FoundationDBDataStore` is their face. */
export interface StoreCore {
  readonly options: CheckedOptions;
  readonly runtime: MigrationRuntime;
  readonly migrations: Map<number, ModelMigration>;
  /** By id, ascending. */
  readonly models: readonly ConfiguredModel[];
  readonly order: ModelOrder;
  readonly gate: Gate;
  readonly requests: Requests;
  readonly hub: MigrationEventHub;
  /** Aborted when the store closes: nothing new begins. */
  readonly closing: AbortController;
  /** Aborted when migrations shall end at their next boundary. */
  readonly stopping: AbortController;
  readonly findModel: (definition: AnyModel) => ConfiguredModel;
  /** @throws ModelException MODEL_UNKNOWN */
  readonly modelById: (modelId: number) => ConfiguredModel;
  /** By id or name. @throws ModelException MODEL_UNKNOWN */
  readonly modelBy: (idOrName: number | string) => ConfiguredModel;
  readonly assertOpen: () => void;
  /** The handlers that lead a model from a stored version to one of its definitions. */
  readonly handlersFor: (
    model: ConfiguredModel,
    target: ConfiguredModel,
    fromVersion: string,
  ) => MigrationHandlers;
  /** The transform for a record that was left behind on a version. */
  readonly backfillFrom: (model: ConfiguredModel, fromVersion: string) => Backfill | undefined;
  /** Clears in the background what publications left behind. */
  sweep(model: ConfiguredModel): void;
  readonly inspect: Inspector | undefined;
  readonly bus: MessageBus;
  readonly hints: ConnectedHints;
  /** Once the store knows its database. */
  link: BusLink | undefined;
  node: MigrationNode | undefined;
  readiness: ReadinessKeeper | undefined;
  /** Waits for chunks and handlers under way, 10,000 ms by default. */
  close(timeoutMs?: number): Promise<void>;
}

export interface CoreParts {
  readonly options: CheckedOptions;
  readonly database: KeyValueDatabase;
  readonly resolved: ResolvedModels;
  /** The resolved ones, by id ascending. */
  readonly models: readonly ConfiguredModel[];
  readonly keys: StoreKeys;
  readonly order: ModelOrder;
  readonly ports: Ports;
  readonly handlersFor: StoreCore['handlersFor'];
  readonly backfillFrom: StoreCore['backfillFrom'];
  readonly createContextStore: (core: StoreCore) => MigrationRuntime['createContextStore'];
}

/** How long closing waits for chunks and handlers under way. A chunk has 4 s at most. */
const closeTimeoutMs = 10_000;

/** A scrape waits no longer for the database, and shows what was known before. Milliseconds. */
const scrapeWaitMs = 1_000;

export function createCore(parts: CoreParts): StoreCore {
  const { options, database, resolved, models, keys, order, ports } = parts;
  const { clock, random, process } = ports;
  const session = random.id();
  process.sessions.add(session);
  const ownPool = options.pool === undefined ? useSharedPool() : undefined;
  const pool = (ownPool?.pool ?? options.pool) as TransformPool;
  const logger = options.logger ?? silentLogger;
  const loggerFor = createMigrationLoggers(logger);
  const { meters, endStoreMeter } = createMeters(options, database, pool, () => refreshMeters());
  const { bus, isOwnBus } = openBus(options, clock, logger, meters);
  const requestMeter = createRequestMeter(clock, () => database.requestsOfOthers?.() ?? 0);
  const closing = new AbortController();
  const stopping = new AbortController();
  const migrations = new Map<number, ModelMigration>();
  const hints = createWorkHints(clock);
  const lastStatus = new Map<number, MigrationStatus>();
  const sweeping = new Set<Promise<void>>();

  const byId = new Map(models.map((model) => [model.id, model]));
  const byDefinition = new Map(resolved.models.map(({ definition, id }) => [definition, byId.get(id)]));

  const hub = createMigrationEventHub({
    clock,
    persisted: options.persistMigrationAuditEvents,
    reporter:
      options.migrationAuditEventReporter ??
      ((event) => {
        if (options.logger === undefined) globalThis.process.stdout.write(`${auditLine(event)}\n`);
        else loggerFor(migrationOf(event)).info(auditLine(event));
      }),
    logger,
    loggerFor,
    meters,
    readModel: ({ id, keys: own }) =>
      database.transact(async (tx) => ({
        version: Number(await tx.getReadVersion()),
        // A step of a chain of versions tells of its own model: the way on from it would be left out.
        status: await readStatusIn(tx, runtime, modelBy(id)),
        metrics: await readMetrics(tx, own),
      })),
    trim: (model) => trimAuditEvents(database, model.keys, options.migrationAuditLogMaxEntries),
  });
  hub.subscribe((event) => {
    if (event.type === 'status') lastStatus.set(event.modelId, event.status);
    const model = byId.get(event.modelId);
    if (event.type !== 'audit' || event.event.type !== 'Completed' || model === undefined) return;
    void core.readiness?.refresh().catch(() => undefined);
    core.sweep(model);
  });

  /** Other nodes may have brought a model further that this one waits for. */
  const refreshMeters = async () => {
    const waited = [...migrations.values()].map(({ configured }) => configured);
    const due = waited.filter(({ id }) => lastStatus.get(id)?.state !== 'Idle');
    if (due.length > 0) await eitherOf(clock, [hub.refreshMeters(due)], scrapeWaitMs, closing.signal);
  };

  const gate = createGate({
    fenceCache: options.fenceCache,
    estimate(modelId) {
      const etaMs = lastStatus.get(modelId)?.etaMs ?? null;
      return { etaMs, retryAfterMs: etaMs === null ? undefined : etaMs / 4 };
    },
  });
  const assertOpen = () => {
    if (closing.signal.aborted) throw new RequestException('STORE_CLOSED', 'The store was closed.');
  };
  const findModel = (definition: AnyModel): ConfiguredModel => {
    const model = byDefinition.get(definition);
    if (model === undefined) throw unknownModel(definition.name, models);
    return model;
  };
  const modelBy = (idOrName: number | string): ConfiguredModel => {
    const model =
      typeof idOrName === 'number' ? byId.get(idOrName) : models.find(({ name }) => name === idOrName);
    if (model === undefined) throw unknownModel(idOrName, models);
    return model;
  };
  const nodeId = options.nodeId ?? `${hostname()}-${process.identity.pid}-${session.slice(0, 6)}`;
  const sessions = createSessions({
    database,
    keys,
    clock,
    process,
    session,
    nodeId,
    ttlMs: options.migrationLeaseTimeoutMs,
    heartbeatMs: options.migrationLeaseHeartbeatMs,
    onFailure: (error) => logger.warn({ err: error }, 'a session could not beat'),
  });
  const runtime: MigrationRuntime = {
    database,
    keys,
    clock,
    random,
    pool,
    lease: createLease(parts, session),
    events: hub,
    busState: () => bus.state ?? null,
    logger,
    loggerFor,
    meters,
    role: options.migrationRole,
    nodeId,
    session,
    leastSplitRecords: ports.fewRecords?.leastSplit ?? leastSplitRecords,
    firstChunk: { records: ports.fewRecords?.firstChunk ?? initialChunkControl.records },
    sessions,
    hints,
    heartbeatMs: options.migrationLeaseHeartbeatMs,
    retryPolicy: options.migrationRetryPolicy,
    verification: options.migrationVerification,
    contractApproval: options.migrationContractApproval,
    maxBackfillConcurrency: options.maxBackfillConcurrency,
    giveWay: createGiveWay(options.migrationPace, requestMeter, {
      hasOneWriter: database.requestsOfOthers !== undefined,
    }),
    throttle: createThrottle(options, { clock, logger, meters, sessions }),
    stalledAfterMs: options.migrationStalledAfterMs,
    migrations,
    createContextStore: (scope) => parts.createContextStore(core)(scope),
  };

  let closed: Promise<void> | undefined;
  const end = async (timeoutMs: number) => {
    closing.abort();
    stopping.abort();
    core.link?.endControl();
    await within(clock, timeoutMs, [core.node?.stop() ?? Promise.resolve(), ...sweeping]);
    await hub.close(timeoutMs);
    meters.close();
    endStoreMeter();
    core.link?.end();
    await ownPool?.release();
    if (isOwnBus) await bus.close();
    process.sessions.delete(session);
    await database.close();
  };

  const core: StoreCore = {
    options,
    runtime,
    migrations,
    models,
    order,
    gate,
    requests: createRequests({ database, gate, findModel, assertOpen, meter: requestMeter }),
    hub,
    closing,
    stopping,
    findModel,
    modelById: modelBy,
    modelBy,
    assertOpen,
    handlersFor: parts.handlersFor,
    backfillFrom: parts.backfillFrom,
    sweep(model) {
      if (closing.signal.aborted) return;
      const swept = sweepGarbage(database, model.keys, closing.signal).catch((error: unknown) => {
        if (!closing.signal.aborted) logger.warn({ err: error, model: model.name }, 'garbage was not swept');
      });
      sweeping.add(swept);
      void swept.finally(() => sweeping.delete(swept));
    },
    inspect: ports.inspect,
    bus,
    hints,
    link: undefined,
    node: undefined,
    readiness: undefined,
    close: (timeoutMs = closeTimeoutMs) => (closed ??= end(timeoutMs)),
  };
  return core;
}

/** Nothing is kept where there is no registry. */
function createMeters(
  { registry, storeName: store }: CheckedOptions,
  { engine }: KeyValueDatabase,
  pool: TransformPool,
  refresh: () => Promise<void>,
): { readonly meters: MigrationMeters; readonly endStoreMeter: () => void } {
  if (registry === undefined) return { meters: silentMeters, endStoreMeter: () => undefined };
  return {
    meters: createMigrationMeters({ registry, store, refresh }),
    endStoreMeter: meterStore(registry, store, { version: release, engine, pool }),
  };
}

/** One that is made here is closed with the store. */
function openBus({ bus: given }: CheckedOptions, clock: Clock, logger: Logger, meters: MigrationMeters) {
  if (typeof given === 'object') {
    const failed = (error: unknown) => {
      meters.swallowed();
      logger.warn({ err: error }, 'the message bus of the application threw');
    };
    return { bus: shelter(given, failed), isOwnBus: false };
  }
  const bus: MessageBus =
    given === undefined ? localBus({ clock }) : natsBus({ servers: serversOf(given), logger }, { clock });
  return { bus, isOwnBus: true };
}

/** What the options say that slows this process down. */
function createThrottle(
  {
    migrationMaxRecordsPerSecond: recordsPerSecond,
    migrationThrottle: ask,
    migrationLeaseTimeoutMs: ttlMs,
    migrationLeaseHeartbeatMs: heartbeatMs,
  }: CheckedOptions,
  { clock, logger, meters, sessions }: Pick<MigrationRuntime, 'clock' | 'logger' | 'meters' | 'sessions'>,
): Throttle {
  const onFailure = (error: unknown) =>
    logger.warn({ err: error }, 'those who share the limit could not be counted');
  return {
    limit:
      recordsPerSecond === undefined
        ? undefined
        : createRateLimit({ clock, recordsPerSecond, sessions, ttlMs, heartbeatMs, onFailure }),
    host: ask === undefined ? undefined : createHostThrottle({ clock, logger, meters, ask }),
  };
}

/** The one that the options bring or make, else the one in the database. */
function createLease({ options, database, keys, ports }: CoreParts, session: string): MigrationLease {
  const { migrationLease: given, migrationLeaseTimeoutMs: timeoutMs } = options;
  if (given !== undefined && typeof given !== 'function') return given;
  const heartbeatMs = options.migrationLeaseHeartbeatMs;
  const lease = new FoundationDBMigrationLease({
    database,
    keys,
    session,
    timeoutMs,
    heartbeatMs,
    startBeats,
    ...ports,
  });
  return given === undefined ? lease : given({ lease, clock: ports.clock, heartbeatMs });
}

/** Waits for all of them, but no longer than that. */
async function within(clock: Clock, timeoutMs: number, promises: readonly Promise<unknown>[]): Promise<void> {
  let timer: unknown;
  const tooLate = new Promise<void>((resolve) => {
    timer = clock.setTimeout(resolve, timeoutMs, { ref: true });
  });
  await Promise.race([Promise.allSettled(promises), tooLate]);
  clock.clearTimeout(timer);
}

function unknownModel(asked: string | number, models: readonly ConfiguredModel[]): ModelException {
  const known = models.map(({ id, name }) => `${id} (${name})`).join(', ');
  return new ModelException('MODEL_UNKNOWN', `There is no model ${asked}; there are ${known}.`, {
    details: { model: asked },
  });
}
