import { hostname } from 'node:os';
import { ModelException, RequestException, StorageException } from '../errors.ts';
import type { FoundationDBDatabase } from '../kv/foundationdb/binding.ts';
import type { KeyValueDatabase, Transaction } from '../kv/kv.ts';
import { openDatabase } from '../kv/open.ts';
import type { MigrationAuditEvent } from '../migration/audit.ts';
import { persistAuditEvent, readAuditEvents } from '../migration/audit.ts';
import type { MigrationMetrics } from '../migration/counters.ts';
import { integerOf, readMetrics } from '../migration/counters.ts';
import { FoundationDBMigrationLease } from '../migration/foundationdb-lease.ts';
import type { LeaseExplanation } from '../migration/lease.ts';
import { startBeats } from '../migration/lease-beats.ts';
import type { OperatorCall } from '../migration/operators.ts';
import { approveMigration } from '../migration/approve.ts';
import { cancelMigration, pauseMigration, resetMigration, resumeMigration } from '../migration/operators.ts';
import type { StoredModel } from '../migration/plan.ts';
import { readStoredModel } from '../migration/plan.ts';
import { readStatusIn } from '../migration/read-status.ts';
import { releaseLease } from '../migration/release-lease.ts';
import type { OperatorRuntime } from '../migration/runtime.ts';
import { createSessions } from '../migration/sessions.ts';
import { readState } from '../migration/state.ts';
import type { MigrationStatus } from '../migration/status.ts';
import type { PublishedVerification, VerifyPublishedOptions } from '../migration/verify-published.ts';
import { verifyPublished } from '../migration/verify-published.ts';
import type { ReferenceKeys } from '../model/data.ts';
import { keyShape } from '../model/resolve.ts';
import { systemClock } from '../ports/clock.ts';
import { systemProcess } from '../ports/process.ts';
import { systemRandom } from '../ports/random.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import { createConfiguredModel } from '../records/configured-model.ts';
import type { StoredDefinition } from '../records/definitions.ts';
import type { StoreKeys, Subspace } from '../records/keys.ts';
import { createStoreKeys } from '../records/keys.ts';
import { listModelIds } from '../records/list-models.ts';
import { readStoreRow } from '../records/store-row.ts';
import type { Ports } from './core.ts';
import { checkLimit, listLimits } from './list-limits.ts';
import { defaultStalledAfterMs } from './options.ts';
import { callError } from './request-error.ts';

export interface OpenStoredOptions {
  readonly database: string | KeyValueDatabase | FoundationDBDatabase;
  readonly subspace: Subspace;
  /** Who asks, for people. Default: host name and pid. */
  readonly nodeId?: string | undefined;
}

/** A model as the database knows it. */
export interface ListedModel {
  readonly modelId: number;
  readonly modelName: string;
  /** Of the published definition. */
  readonly version: string;
}

/** What a cancel, or a reset, leaves of a model. */
export interface ModelStanding {
  /** Requests are refused. */
  readonly gateClosed: boolean;
  /** A record was written, or a handler run: the gate does not open by itself any more. */
  readonly touched: boolean;
}

interface FoundModel {
  readonly model: ConfiguredModel;
  readonly stored: StoredModel;
}

/** These make no heartbeat and take no lease: they only have to be in range. Milliseconds. */
const unused = { ttlMs: 10_000, heartbeatMs: 2_500 } as const;

/**
 * Opens what is in the database for an operator, without the program's definitions: it migrates, publishes, claims and
 * serves nothing, and starts no threads. What is published, and what the migration under way leads to, is known from the
 * definitions that the database keeps; of what a program would want that has not begun, nothing is known here.
 *
 * @throws StorageException STORE_MISSING, STORAGE_FORMAT_NEWER, and what the engine throws
 */
export async function openStored(
  { database: address, subspace, nodeId }: OpenStoredOptions,
  ports: Pick<Ports, 'clock' | 'random' | 'process'> = {
    clock: systemClock,
    random: systemRandom,
    process: systemProcess,
  },
): Promise<StoredStore> {
  const database = await openDatabase(address, { ...ports, create: false });
  try {
    const keys = createStoreKeys(subspace);
    const row = await database.transact((tx) => readStoreRow(tx, keys));
    if (row === undefined) {
      throw new StorageException(
        'STORE_MISSING',
        `No store was ever opened under the subspace ${JSON.stringify(subspace)} of this database.`,
        { details: { subspace } },
      );
    }
    return new StoredStore(database, keys, nodeId ?? `${hostname()}-${ports.process.identity.pid}`, ports);
  } catch (error) {
    await database.close();
    throw callError(error, undefined, () => undefined);
  }
}

/** The face of `openStored`: what operators ask and want, of models by their ids. */
export class StoredStore {
  readonly #database: KeyValueDatabase;
  readonly #keys: StoreKeys;
  readonly #runtime: Omit<OperatorRuntime, 'events'>;
  #closed = false;

  constructor(
    database: KeyValueDatabase,
    keys: StoreKeys,
    nodeId: string,
    ports: Pick<Ports, 'clock' | 'random' | 'process'>,
  ) {
    const { clock, random } = ports;
    const session = random.id();
    const parts = { database, keys, session, ...ports, ...unused };
    this.#database = database;
    this.#keys = keys;
    this.#runtime = {
      database,
      clock,
      random,
      nodeId,
      lease: new FoundationDBMigrationLease({ ...parts, timeoutMs: unused.ttlMs, startBeats }),
      sessions: createSessions({ ...parts, nodeId, onFailure: () => undefined }),
      migrations: new Map(),
      // Nobody hears of anything from here.
      busState: () => null,
      stalledAfterMs: defaultStalledAfterMs,
    };
  }

  /** By id, ascending. */
  models(): Promise<readonly ListedModel[]> {
    return this.#transact(async (tx) =>
      (await this.#find(tx)).map(({ model, stored }) => ({
        modelId: model.id,
        modelName: model.name,
        version: stored.current.version,
      })),
    );
  }

  /** Where all models stand, by id ascending: as of one moment. */
  statuses(): Promise<readonly MigrationStatus[]> {
    return this.#transact(async (tx) => {
      const found = await this.#find(tx);
      return Promise.all(found.map(({ model }) => readStatusIn(tx, this.#runtime, model)));
    });
  }

  /** @throws ModelException MODEL_UNKNOWN */
  status(modelId: number): Promise<MigrationStatus> {
    return this.#transact(async (tx) => {
      const { model } = await this.#findOne(tx, modelId);
      return readStatusIn(tx, this.#runtime, model);
    });
  }

  /** @throws ModelException MODEL_UNKNOWN */
  standing(modelId: number): Promise<ModelStanding> {
    return this.#transact(async (tx) => {
      const { model, stored } = await this.#findOne(tx, modelId);
      const [touched, state] = await Promise.all([tx.get(model.keys.touched), readState(tx, model.keys)]);
      return {
        gateClosed: stored.fence.state === 'migrating',
        touched: touched !== undefined || state?.expandRan === true,
      };
    });
  }

  /** @throws MigrationException MIGRATION_NOT_PENDING @throws ModelException MODEL_UNKNOWN */
  pause(modelId: number, call: OperatorCall): Promise<MigrationStatus> {
    return this.#operate(pauseMigration, modelId, call);
  }

  /** Also of what failed or was canceled. @throws MigrationException MIGRATION_NOT_PENDING @throws ModelException MODEL_UNKNOWN */
  resume(modelId: number, call: OperatorCall): Promise<MigrationStatus> {
    return this.#operate(resumeMigration, modelId, call);
  }

  /** @throws MigrationException MIGRATION_NOT_PENDING @throws ModelException MODEL_UNKNOWN */
  cancel(modelId: number, call: OperatorCall): Promise<MigrationStatus> {
    return this.#operate(cancelMigration, modelId, call);
  }

  /**
   * @throws MigrationException MIGRATION_NOT_PENDING, APPROVAL_NOT_AWAITED @throws ModelException MODEL_UNKNOWN
   */
  approve(modelId: number, call: OperatorCall): Promise<MigrationStatus> {
    return this.#operate(approveMigration, modelId, call);
  }

  /** @throws MigrationException MIGRATION_NOT_PENDING @throws ModelException MODEL_UNKNOWN */
  reset(modelId: number, call: OperatorCall): Promise<MigrationStatus> {
    // What comes out is told by what is published: nothing leads to the target any more.
    return this.#operate(resetMigration, modelId, call, ({ current }) => current);
  }

  /** Of the lease in the database; of one that an application brings itself nothing is known here. */
  async explainLease(modelId: number): Promise<LeaseExplanation | undefined> {
    await this.#transact((tx) => this.#findOne(tx, modelId));
    return this.#translated(() => this.#runtime.lease.explain(modelId));
  }

  /** Answers who held it; undefined when nobody did. */
  releaseLease(modelId: number, call: OperatorCall): Promise<LeaseExplanation | undefined> {
    return this.#operate(releaseLease, modelId, call);
  }

  /** Of a model: the latest that are kept, oldest first. @param limit 1 to 10,000 */
  async auditEvents(
    modelId: number,
    limit: number = listLimits.default,
  ): Promise<readonly MigrationAuditEvent[]> {
    checkLimit(limit);
    return this.#transact(async (tx) => {
      const { model } = await this.#findOne(tx, modelId);
      return readAuditEvents(tx, model.keys, limit);
    });
  }

  metrics(modelId: number): Promise<MigrationMetrics> {
    return this.#transact(async (tx) => {
      const { model } = await this.#findOne(tx, modelId);
      return readMetrics(tx, model.keys);
    });
  }

  /**
   * Verifies what is published now, while the model serves requests; the user's own `check` is not known here.
   *
   * @throws RequestException MODEL_MIGRATING, ABORTED @throws ModelException MODEL_UNKNOWN
   */
  async verify(
    modelId: number,
    options: Omit<VerifyPublishedOptions, 'database' | 'clock' | 'configure'> = {},
  ): Promise<PublishedVerification> {
    const { signal } = options;
    const { model } = await this.#transact((tx) => this.#findOne(tx, modelId));
    return this.#translated(
      () =>
        verifyPublished(model.keys, {
          ...options,
          database: this.#database,
          clock: this.#runtime.clock,
          configure: ({ current }) => configure(modelId, current, this.#keys, model.references),
        }),
      signal,
    );
  }

  /** Twice is fine. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#database.close();
  }

  async #operate<T>(
    operation: (runtime: OperatorRuntime, model: ConfiguredModel, call: OperatorCall) => Promise<T>,
    modelId: number,
    call: OperatorCall,
    definitionOf = definitionInForce,
  ): Promise<T> {
    const { model, keepsAudit } = await this.#transact(async (tx) => {
      const { model: found, stored } = await this.#findOne(tx, modelId);
      const kept = integerOf(await tx.get(found.keys.auditCount, { snapshot: true }));
      const meant = configure(modelId, definitionOf(stored), this.#keys, found.references);
      return { model: meant, keepsAudit: kept > 0 };
    });
    // Whether events are kept is an option of the programs: where there are some, it was asked for. They trim them.
    const persist = (tx: Transaction, { keys }: ConfiguredModel, events: readonly MigrationAuditEvent[]) => {
      if (keepsAudit) events.forEach((event, ordinal) => persistAuditEvent(tx, keys, event, ordinal));
    };
    const events = { persist, committed: () => undefined, changed: () => undefined };
    return this.#translated(() => operation({ ...this.#runtime, events }, model, call), call.signal);
  }

  #transact<T>(body: (tx: Transaction) => Promise<T>): Promise<T> {
    return this.#translated(() => this.#database.transact(body));
  }

  async #translated<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const assertOpen = () => {
      if (this.#closed) throw new RequestException('STORE_CLOSED', 'The store was closed.');
    };
    assertOpen();
    try {
      return await work();
    } catch (error) {
      throw callError(error, signal, assertOpen);
    }
  }

  async #readAll(tx: Transaction): Promise<ReadonlyMap<number, StoredModel>> {
    const all = new Map<number, StoredModel>();
    for (const id of await listModelIds(tx, this.#keys)) {
      const stored = await readStoredModel(tx, this.#keys.model(id));
      if (stored !== undefined) all.set(id, stored);
    }
    return all;
  }

  async #find(tx: Transaction): Promise<readonly FoundModel[]> {
    const all = await this.#readAll(tx);
    const references = referencesOf(all);
    return [...all].map(([id, stored]) => ({
      model: configure(id, definitionInForce(stored), this.#keys, references),
      stored,
    }));
  }

  async #findOne(tx: Transaction, modelId: number): Promise<FoundModel> {
    const all = await this.#find(tx);
    const found = all.find(({ model }) => model.id === modelId);
    if (found !== undefined) return found;
    const known = all.map(({ model }) => `${model.id} (${model.name})`).join(', ');
    throw new ModelException('MODEL_UNKNOWN', `There is no model ${modelId} in the database; ${known}.`, {
      details: { model: modelId },
    });
  }
}

/** What the migration under way leads to, also one that stands still; else what is published. */
function definitionInForce({ begunSchemaId, current, definitions }: StoredModel): StoredDefinition {
  const begun = begunSchemaId === undefined ? undefined : definitions.get(begunSchemaId);
  return begun ?? current;
}

/** The keys of all models, as they are published: a model that others refer to never changes its own. */
function referencesOf(all: ReadonlyMap<number, StoredModel>): ReferenceKeys {
  return Object.fromEntries([...all.values()].map(({ current: { data } }) => [data.name, keyShape(data)]));
}

function configure(
  id: number,
  { data, hash }: StoredDefinition,
  keys: StoreKeys,
  references: ReferenceKeys,
): ConfiguredModel {
  return createConfiguredModel({ id, data, hash }, keys.model(id), references);
}
