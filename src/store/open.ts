import { MigrationException, RequestException } from '../errors.ts';
import type { KeyValueDatabase } from '../kv/kv.ts';
import { openDatabase } from '../kv/open.ts';
import { limits } from '../limits.ts';
import { createIncarnations } from '../migration/incarnations.ts';
import { startMigrationNode } from '../migration/node-host.ts';
import { planModel, readStoredModel } from '../migration/plan.ts';
import { publishIfCompatible } from '../migration/publish-model.ts';
import { migrationIdOf, readStatus } from '../migration/read-status.ts';
import type { ModelMigration } from '../migration/runtime.ts';
import type { MigrationStatus } from '../migration/status.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import { readGarbage } from '../records/garbage.ts';
import { createStoredForms } from '../records/stored-forms.ts';
import { ensureStoreRow, readStoreRow } from '../records/store-row.ts';
import { standingError } from './await-migration.ts';
import { linkBus } from './bus-link.ts';
import { configureProgram } from './configure.ts';
import type { CoreParts, Ports, StoreCore } from './core.ts';
import { createCore } from './core.ts';
import type { Survey } from './foresee.ts';
import type { StoreOptions } from './options.ts';
import { checkOptions } from './options.ts';
import { keepReadiness } from './readiness.ts';
import { refuseBeforeWriting } from './refuse-before-writing.ts';
import { throwIfAborted } from './request-error.ts';
import { watchForStalls } from './watchdog.ts';

/** Models published in one transaction. */
const modelsPerTransaction = limits.store.publishedModels.value;

/**
 * Opens a store, in this order: what can be refused without a database; what can be refused without writing; what is
 * published as it is; and the migrations, for as long as the startup budget lasts.
 */
export async function openCore(
  given: StoreOptions,
  ports: Ports,
  createContextStore: CoreParts['createContextStore'],
): Promise<StoreCore> {
  const options = checkOptions(given);
  const { signal } = options;
  throwIfAborted(signal);
  const program = configureProgram(options);
  const database = await openDatabase(options.database, ports);
  const core = createCore({ ...program, options, database, ports, createContextStore });
  const onAbort = () => void core.close();
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    await run(core, database);
  } catch (error) {
    await core.close();
    throwIfAborted(signal);
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
  return core;
}

async function run(core: StoreCore, database: KeyValueDatabase): Promise<void> {
  const { runtime, models, closing } = core;
  const { keys, random } = runtime;
  // Rows of a newer format must not be taken for damage.
  await database.transact((tx) => readStoreRow(tx, keys));
  const surveyed = await survey(core, models);
  const migrationFor = ({ model, plan, stored }: Survey): ModelMigration => ({
    migrationId: migrationIdOf(plan) ?? model.name,
    runtime,
    logger: runtime.loggerFor({
      model: model.name,
      migrationId: migrationIdOf(plan) ?? model.name,
      epoch: 0,
    }),
    configured: model,
    model,
    forms: createStoredForms(model.keys),
    handlers: core.handlersFor(model, model, stored?.current.version ?? ''),
    handlersFor: (target, fromVersion) => core.handlersFor(model, target, fromVersion),
    stop: core.stopping.signal,
    held: undefined,
    trouble: undefined,
    reason: undefined,
    mismatch: undefined,
    dependsOn: [],
    recoveries: 0,
    startToTakeBack: undefined,
  });
  await refuseBeforeWriting(core, surveyed);

  const { databaseId } = await database.transact((tx) =>
    ensureStoreRow(tx, keys, random, core.options.fenceCache),
  );
  core.link = linkBus(core, core.bus, databaseId);
  const all = await publishCompatible(core, surveyed);
  const left = all.filter(({ plan }) => plan.type !== 'none' && plan.type !== 'publish');
  const pending = core.order.order.flatMap(({ id }) => left.filter(({ model }) => model.id === id));
  for (const one of pending) core.migrations.set(one.model.id, migrationFor(one));

  core.readiness = await keepReadiness({
    database,
    clock: runtime.clock,
    gate: core.gate,
    models,
    signal: closing.signal,
  });
  watchForStalls(core);
  if (pending.length > 0) await migrate(core, pending);
  await core.readiness.refresh();
  if (closing.signal.aborted) throw new RequestException('STORE_CLOSED', 'The store was closed.');
  for (const model of await modelsWithGarbage(core)) core.sweep(model);
}

/** Of a chain of versions several may follow each other that only have to be published. */
async function publishCompatible(core: StoreCore, surveyed: readonly Survey[]): Promise<readonly Survey[]> {
  const { database } = core.runtime;
  let all = surveyed;
  for (;;) {
    const unpublished = all.filter(({ plan }) => plan.type === 'publish').map(({ model }) => model);
    if (unpublished.length === 0) return all;
    for (let at = 0; at < unpublished.length; at += modelsPerTransaction) {
      const some = unpublished.slice(at, at + modelsPerTransaction);
      await database.transact(async (tx) => {
        for (const model of some) await publishIfCompatible(tx, model);
      });
    }
    const again = await survey(core, unpublished);
    const newer = new Map(again.map((one) => [one.model, one]));
    all = all.map((one) => newer.get(one.model) ?? one);
  }
}

async function survey(core: StoreCore, models: readonly ConfiguredModel[]): Promise<readonly Survey[]> {
  const stored = await core.runtime.database.transact((tx) =>
    Promise.all(models.map(({ keys }) => readStoredModel(tx, keys))),
  );
  return models.map((model, at) => ({
    model,
    stored: stored[at],
    plan: planModel(stored[at], model),
  }));
}

function modelsWithGarbage({ runtime, models }: StoreCore): Promise<readonly ConfiguredModel[]> {
  return runtime.database.transact(async (tx) => {
    const garbage = await Promise.all(models.map(({ keys }) => readGarbage(tx, keys)));
    return models.filter((_, at) => (garbage[at]?.length ?? 0) > 0);
  });
}

async function migrate(core: StoreCore, pending: readonly Survey[]): Promise<void> {
  const { options, order, runtime, migrations, stopping } = core;
  // A model waits only for those that need migration themselves.
  const blocking = new Set(pending.filter(({ plan }) => plan.type !== 'index').map(({ model }) => model.id));
  const models = pending.map(({ model, plan }) => {
    const all = plan.type === 'index' ? [] : (order.dependencies.get(model.id) ?? []);
    return { modelId: model.id, dependsOn: all.filter((id) => blocking.has(id)) };
  });
  for (const { modelId, dependsOn } of models) {
    const migration = migrations.get(modelId);
    if (migration === undefined || dependsOn.length === 0) continue;
    const names = dependsOn.map((id) => core.modelById(id).name);
    const message = `waits for ${names.join(', ')}`;
    migration.reason = { code: 'dependency', message, sinceMs: runtime.clock.wallMs() };
    migration.dependsOn = dependsOn;
  }
  core.node = startMigrationNode({
    models,
    incarnations: createIncarnations(migrations),
    clock: runtime.clock,
    maxParallel: options.migrationMaxParallelModels,
    startupBudgetMs: options.migrationStartupBudgetMs,
    continueInBackground: options.continueMigrationsInBackground,
    stopWork: () => stopping.abort(),
    inspect: core.inspect,
    onFault: (error) => runtime.logger.error({ err: error }, 'the node of a store failed'),
    onRestart: (modelId) => runtime.meters.actorRestarted(core.modelById(modelId).name),
  });
  const started = await core.node.started;
  if (started === 'spent') throw await budgetSpent(core, pending);
  if (!options.continueMigrationsInBackground) await refuseHalted(core, pending);
}

async function budgetSpent(core: StoreCore, pending: readonly Survey[]): Promise<Error> {
  const left = (await statusesOf(core, pending)).filter(({ state }) => state !== 'Idle');
  const texts = left.map(({ modelName, state, phase }) => `${modelName} (${state}, ${phase ?? 'not begun'})`);
  return new MigrationException(
    'MIGRATION_PENDING',
    `The startup budget of ${core.options.migrationStartupBudgetMs ?? 0} ms is spent, and models still need ` +
      `migration: ${texts.join(', ')}. Nothing is lost: the next open goes on where this one stopped.`,
    { details: { models: left } },
  );
}

/** Without the background nobody would be there to go on when an operator resumes. */
async function refuseHalted(core: StoreCore, pending: readonly Survey[]): Promise<void> {
  const left = (await statusesOf(core, pending)).filter(({ state }) => state !== 'Idle');
  const rank: readonly MigrationStatus['state'][] = ['Failed', 'Canceled', 'Paused'];
  for (const state of rank) {
    const halted = left.find((status) => status.state === state);
    if (halted === undefined) continue;
    const error = standingError(halted);
    throw new MigrationException(error.code, error.message, { details: { ...error.details, models: left } });
  }
}

function statusesOf({ runtime }: StoreCore, pending: readonly Survey[]): Promise<readonly MigrationStatus[]> {
  return Promise.all(pending.map(({ model }) => readStatus(runtime, model)));
}
