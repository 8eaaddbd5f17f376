import type { MigrationAuditEvent } from '../migration/audit.ts';
import type { MigrationMetrics } from '../migration/counters.ts';
import type { MigrationEvent } from '../migration/events.ts';
import type { LeaseExplanation } from '../migration/lease.ts';
import type { OperatorCall } from '../migration/operators.ts';
import type { QuarantinedRecord, QuarantineRetry } from '../migration/quarantine.ts';
import type { MigrationRuntime } from '../migration/runtime.ts';
import type { MigrationStatus } from '../migration/status.ts';
import type { VerificationReport } from '../migration/verification.ts';
import type { Reason } from '../model/compare.ts';
import type { AnyModel } from '../model/define.ts';
import type { AnyModels } from '../model/infer.ts';
import { systemClock } from '../ports/clock.ts';
import { systemProcess } from '../ports/process.ts';
import { systemRandom } from '../ports/random.ts';
import { ModelException, StorageException } from '../errors.ts';
import type { Compaction } from '../kv/kv.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { AwaitMigrationOptions, Dependency } from './await-migration.ts';
import type { Ports, StoreCore } from './core.ts';
import { checkLimit, listLimits } from './list-limits.ts';
import type { RequestOptions } from './model-query.ts';
import type { ModelStore } from './model-store.ts';
import { loadOpened } from './on-demand.ts';
import type * as Opened from './opened.ts';
import type { StoreOptions } from './options.ts';
import type { Readiness } from './readiness.ts';
import { throwIfAborted } from './request-error.ts';
import type { Requests, RequestTransaction } from './request.ts';

/** One of the registered models. */
export type ModelIn<Models extends AnyModels> = Extract<Models[keyof Models], AnyModel>;

/** A model that has to be moved or filled before everything of its definition is there. */
export interface PendingMigration {
  readonly modelName: string;
  readonly migrationId: string;
  /** Why; empty for an index that is being built. */
  readonly reasons: readonly Reason[];
}

export interface CloseOptions {
  /** How long chunks and handlers under way are waited for. Milliseconds; default 10,000. */
  readonly timeoutMs?: number | undefined;
}

export interface WhenReadyOptions {
  /** Names of models. Default: all. */
  readonly models?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Options of operator calls that change something. */
export interface OperatorOptions {
  /** Who asks; kept with the intent and in the audit. Default: the node's id. */
  readonly by?: string | undefined;
}

/**
 * Typed records on an ordered, transactional key-value store, and the migrations that bring them from the definitions
 * that are stored to those that the program has.
 */
export class FoundationDBDataStore<Models extends AnyModels = AnyModels> {
  readonly #core: StoreCore;
  /** Everything that needs an opened store: importing this class does not load it. */
  readonly #opened: typeof Opened;
  readonly #requests: Requests;
  /** What a handler is given closes nothing. */
  readonly #isBound: boolean;

  private constructor(opened: typeof Opened, core: StoreCore, requests: Requests, isBound: boolean) {
    this.#opened = opened;
    this.#core = core;
    this.#requests = requests;
    this.#isBound = isBound;
  }

  /**
   * Opens a store: compares the stored definitions with the program's, publishes what is compatible, and migrates what
   * is not, in dependency order.
   *
   * @throws ModelException OPTION_INVALID, MODEL_INVALID, MODEL_UNKNOWN
   * @throws MigrationException MIGRATION_CYCLE, MIGRATION_HANDLER_MISSING, MIGRATION_MIXED_RECORDS,
   *   KEY_CHANGE_REFERENCED and TRANSFORM_INVALID before anything is written; MIGRATION_PENDING when the budget is spent;
   *   MIGRATION_FAILED, MIGRATION_PAUSED, MIGRATION_CANCELED and MIGRATION_TARGET_CHANGED without the background
   * @throws StorageException RUNTIME_NOT_LOADED, DATABASE_INVALID, STORAGE_FORMAT_NEWER, STORAGE_CORRUPT, and what the
   *   engine throws
   * @throws RequestException ABORTED
   */
  static open<const M extends AnyModels>(options: StoreOptions<M>): Promise<FoundationDBDataStore<M>> {
    const ports: Ports = { clock: systemClock, random: systemRandom, process: systemProcess };
    return FoundationDBDataStore.openWith(options, ports);
  }

  /** The same with another clock, chance and process: for simulations. */
  static async openWith<const M extends AnyModels>(
    options: StoreOptions<M>,
    ports: Ports,
  ): Promise<FoundationDBDataStore<M>> {
    const opened = await loadOpened();
    const core = await opened.openCore(options as StoreOptions, ports, (found) => (scope) => {
      const requests = opened.createContextRequests(scope, found);
      return new FoundationDBDataStore(opened, found, requests, true);
    });
    return new FoundationDBDataStore<M>(opened, core, core.requests, false);
  }

  /** The records of a registered model. @throws ModelException MODEL_UNKNOWN */
  model<M extends ModelIn<Models>>(definition: M): ModelStore<M> {
    return this.#requests.model(definition);
  }

  /** Several operations in one transaction; see `RequestTransaction`. At least once where the database cannot tell. */
  transact<T>(body: (tx: RequestTransaction) => Promise<T>, options?: RequestOptions): Promise<T> {
    return this.#requests.transact(body, options);
  }

  /** From memory: it costs no transaction. */
  readiness(): Readiness {
    return this.#core.readiness?.current() ?? { ready: false, models: {} };
  }

  /** Resolves when the models are ready. @throws ModelException MODEL_UNKNOWN @throws RequestException ABORTED, STORE_CLOSED */
  async whenReady({ models, signal }: WhenReadyOptions = {}): Promise<void> {
    const { readiness, closing } = this.#core;
    const names = models ?? this.#core.models.map(({ name }) => name);
    const unknown = names.filter((name) => !this.#core.models.some((model) => model.name === name));
    if (unknown.length > 0)
      throw new ModelException('MODEL_UNKNOWN', `There is no model ${unknown.join(', ')}.`);
    const isReady = () => names.every((name) => this.readiness().models[name]?.ready === true);
    while (!isReady()) {
      this.#core.assertOpen();
      throwIfAborted(signal);
      const signals = [closing.signal, ...(signal === undefined ? [] : [signal])];
      const ended = new AbortController();
      const unsubscribe = readiness?.subscribe(() => ended.abort());
      const either = AbortSignal.any([ended.signal, ...signals]);
      // The end is told; the time only keeps the process alive for whoever awaits this.
      await this.#opened.eitherOf(this.#core.runtime.clock, [], this.#opened.pollIntervalMs, either, {
        ref: true,
      });
      unsubscribe?.();
    }
  }

  /** Status, audit and metrics events from now on, bounded: `seq` shows what was dropped. Ends when the store closes. */
  migrationEvents(
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncIterable<MigrationEvent> {
    return this.#opened.streamEvents(this.#core.hub, options.signal);
  }

  /** By model id: what needs migration, or has an index that is being built, and why. */
  async pendingMigrations(): Promise<ReadonlyMap<number, PendingMigration>> {
    const { runtime, models } = this.#open();
    const { planModel, readStoredModel } = this.#opened;
    const plans = await runtime.database.transact((tx) =>
      Promise.all(
        models.map(async (model) => {
          const plan = planModel(await readStoredModel(tx, model.keys), model);
          return { model, plan };
        }),
      ),
    );
    const pending = new Map<number, PendingMigration>();
    for (const { model, plan } of plans) {
      const modelName = model.name;
      if (plan.type === 'migrate') {
        const { migrationId, reasons } = plan;
        pending.set(model.id, { modelName, migrationId, reasons });
      } else if (plan.type === 'index') {
        pending.set(model.id, { modelName, migrationId: plan.migrationId, reasons: [] });
      } else if (plan.type === 'targetChanged') {
        pending.set(model.id, { modelName, migrationId: plan.runningMigrationId, reasons: [] });
      }
    }
    return pending;
  }

  /** Where a model stands, from the database. @throws ModelException MODEL_UNKNOWN */
  async migrationStatus(modelId: number): Promise<MigrationStatus> {
    const { runtime } = this.#open();
    return this.#opened.readStatus(runtime, this.#core.modelById(modelId));
  }

  /** Of all models, those with nothing to do too, by id ascending. */
  async migrationStatuses(): Promise<readonly MigrationStatus[]> {
    const { runtime, models } = this.#open();
    return Promise.all(models.map((model) => this.#opened.readStatus(runtime, model)));
  }

  /**
   * Resolves at once when there is nothing to do, else when the model is published and this process can serve it.
   *
   * @throws MigrationException MIGRATION_FAILED, MIGRATION_CANCELED, DEPENDENCY_BLOCKED
   * @throws RequestException STORE_CLOSED, TIMEOUT, ABORTED; MODEL_SCHEMA_CHANGED for a program that is too old for it
   * @throws ModelException MODEL_UNKNOWN
   */
  async awaitMigration(modelId: number, options: AwaitMigrationOptions = {}): Promise<void> {
    const { runtime, gate, closing } = this.#open();
    const model = this.#core.modelById(modelId);
    await this.#opened.awaitMigration(
      runtime,
      gate,
      model,
      this.#dependenciesOf(model),
      options,
      closing.signal,
    );
    try {
      await this.#core.readiness?.refresh();
    } catch (error) {
      // What was awaited has come; how a store ends is told in one way.
      this.#core.assertOpen();
      throw error;
    }
  }

  /**
   * Stops a migration at its next chunk. Answers the status after the wish is written; it may not be obeyed yet.
   *
   * @throws MigrationException MIGRATION_NOT_PENDING @throws ModelException MODEL_UNKNOWN
   */
  pauseMigration(
    modelId: number,
    reason = 'Paused by operator',
    options: OperatorOptions = {},
  ): Promise<MigrationStatus> {
    return this.#operate(this.#opened.pauseMigration, modelId, reason, options);
  }

  /**
   * Lets a paused, canceled or failed migration go on, with fresh counters and the transform that the program has now.
   *
   * @throws MigrationException MIGRATION_NOT_PENDING @throws ModelException MODEL_UNKNOWN
   */
  resumeMigration(
    modelId: number,
    reason = 'Resumed by operator',
    options: OperatorOptions = {},
  ): Promise<MigrationStatus> {
    return this.#operate(this.#opened.resumeMigration, modelId, reason, options);
  }

  /**
   * Stops a migration until it is resumed. If it has written no record yet, the model serves its stored definition.
   *
   * @throws MigrationException MIGRATION_NOT_PENDING @throws ModelException MODEL_UNKNOWN
   */
  cancelMigration(
    modelId: number,
    reason = 'Canceled by operator',
    options: OperatorOptions = {},
  ): Promise<MigrationStatus> {
    return this.#operate(this.#opened.cancelMigration, modelId, reason, options);
  }

  /**
   * Lets a migration begin Contract that waits for it (`migrationContractApproval: 'manual'`); twice is fine. It speaks of the
   * verification that has passed: a cancel takes it back, and what is verified anew is approved anew. What is paused by then
   * goes on with Contract once it is resumed.
   *
   * @throws MigrationException MIGRATION_NOT_PENDING, APPROVAL_NOT_AWAITED @throws ModelException MODEL_UNKNOWN
   */
  approveMigration(
    modelId: number,
    reason = 'Approved by operator',
    options: OperatorOptions = {},
  ): Promise<MigrationStatus> {
    return this.#operate(this.#opened.approveMigration, modelId, reason, options);
  }

  /**
   * Ends a migration for good: its progress is forgotten, what it moved stays. If it has written no record yet, the
   * model serves its stored definition; otherwise the next migration starts on mixed records.
   *
   * @throws MigrationException MIGRATION_NOT_PENDING @throws ModelException MODEL_UNKNOWN
   */
  resetMigration(
    modelId: number,
    reason = 'Reset by operator',
    options: OperatorOptions = {},
  ): Promise<MigrationStatus> {
    return this.#operate(this.#opened.resetMigration, modelId, reason, options);
  }

  /**
   * Who holds the lease of a model's migration, or held it last; undefined where nobody ever did.
   *
   * @throws ModelException MODEL_UNKNOWN
   */
  async explainLease(modelId: number): Promise<LeaseExplanation | undefined> {
    const { runtime } = this.#open();
    return runtime.lease.explain(this.#core.modelById(modelId).id);
  }

  /**
   * Takes the lease of a model's migration from whoever holds it, dead or alive: nothing that one does commits any more.
   * Whoever comes first is the next owner, the same process perhaps: pause the migration to keep it from going on.
   * Answers who held it; undefined when nobody did.
   *
   * @throws MigrationException LEASE_NOT_RELEASABLE @throws ModelException MODEL_UNKNOWN
   */
  releaseLease(
    modelId: number,
    reason = 'Released by operator',
    options: OperatorOptions = {},
  ): Promise<LeaseExplanation | undefined> {
    return this.#operate(this.#opened.releaseLease, modelId, reason, options);
  }

  /** Counters of one model, or of all by id: cluster-wide and persisted. */
  async migrationMetrics(modelId: number): Promise<MigrationMetrics>;
  async migrationMetrics(): Promise<ReadonlyMap<number, MigrationMetrics>>;
  async migrationMetrics(
    modelId?: number,
  ): Promise<MigrationMetrics | ReadonlyMap<number, MigrationMetrics>> {
    const { runtime, models } = this.#open();
    const read = (model: ConfiguredModel) =>
      runtime.database.transact((tx) => this.#opened.readMetrics(tx, model.keys));
    if (modelId !== undefined) return read(this.#core.modelById(modelId));
    const all = await Promise.all(models.map(async (model) => [model.id, await read(model)] as const));
    return new Map(all);
  }

  /** What the last verification of a model found, also after its migration has ended; undefined where there was none. */
  async migrationVerification(modelId: number): Promise<VerificationReport | undefined> {
    const { runtime } = this.#open();
    const { keys } = this.#core.modelById(modelId);
    return runtime.database.transact((tx) => this.#opened.readVerification(tx, keys));
  }

  /** The latest persisted audit events of a model, oldest first; none where they are not kept. @param limit 1 to 10,000 */
  async migrationAuditEvents(
    modelId: number,
    limit: number = listLimits.default,
  ): Promise<readonly MigrationAuditEvent[]> {
    const { runtime, options } = this.#open();
    const model = this.#core.modelById(modelId);
    checkLimit(limit);
    if (!options.persistMigrationAuditEvents) return [];
    return runtime.database.transact((tx) => this.#opened.readAuditEvents(tx, model.keys, limit));
  }

  /** Records that a migration set aside, without their contents. @param limit 1 to 10,000 */
  async quarantined(
    modelId: number,
    limit: number = listLimits.default,
  ): Promise<readonly QuarantinedRecord[]> {
    const { runtime } = this.#open();
    const model = this.#core.modelById(modelId);
    checkLimit(limit);
    return this.#opened.listQuarantined(runtime, model, limit);
  }

  /**
   * Puts records in quarantine back through the transform that this program has, once the model is published.
   *
   * @throws MigrationException MIGRATION_PENDING, TRANSFORM_INVALID
   */
  async retryQuarantined(modelId: number): Promise<QuarantineRetry> {
    const { runtime, backfillFrom } = this.#open();
    const model = this.#core.modelById(modelId);
    return this.#opened.retryQuarantined(runtime, model, (fromVersion) => backfillFrom(model, fromVersion));
  }

  /**
   * Gives the space of deleted and replaced records back to the disk; for the embedded engine, whose file never shrinks
   * by itself. No other store may have the directory open. Writes wait until it is done; reads that are open when the new
   * file is taken in are tried again. Killed at any point, it leaves the old file or the new one, whole.
   *
   * @throws StorageException ENGINE_BUSY, COMPACTION_UNSUPPORTED, STORAGE_FAILED @throws RequestException STORE_CLOSED
   */
  async compact(): Promise<Compaction> {
    const { database } = this.#open().runtime;
    if (database.compact !== undefined) return database.compact();
    throw new StorageException(
      'COMPACTION_UNSUPPORTED',
      `The engine '${database.engine}' has no file that could be compacted.`,
    );
  }

  /**
   * No new requests; chunks under way are committed or dropped, leases released, waiters rejected with STORE_CLOSED,
   * threads ended, and what the store opened is closed. Twice is fine.
   */
  async close({ timeoutMs }: CloseOptions = {}): Promise<void> {
    if (!this.#isBound) await this.#core.close(timeoutMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #open(): StoreCore {
    this.#core.assertOpen();
    return this.#core;
  }

  async #operate<T>(
    operation: (runtime: MigrationRuntime, model: ConfiguredModel, call: OperatorCall) => Promise<T>,
    modelId: number,
    reason: string,
    { by }: OperatorOptions,
  ): Promise<T> {
    const { runtime } = this.#open();
    const model = this.#core.modelById(modelId);
    if (typeof reason !== 'string') {
      throw new ModelException('OPTION_INVALID', 'The reason of an operator call is text.');
    }
    return operation(runtime, model, { by: by ?? runtime.nodeId, reason });
  }

  /** All it depends on, also through others, nearest first. */
  #dependenciesOf(model: ConfiguredModel): readonly Dependency[] {
    const { order } = this.#core;
    const seen = new Set<number>([model.id]);
    const found: Dependency[] = [];
    const waiting: Dependency[] = [{ model, path: [model.name] }];
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      for (const id of order.dependencies.get(next.model.id) ?? []) {
        if (seen.has(id)) continue;
        seen.add(id);
        const dependency = this.#core.modelById(id);
        const reached = { model: dependency, path: [...next.path, dependency.name] };
        found.push(reached);
        waiting.push(reached);
      }
    }
    return found;
  }
}
