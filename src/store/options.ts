import type { MessageBus } from '../cluster/bus.ts';
import { ModelException } from '../errors.ts';
import type { FoundationDBDatabase } from '../kv/foundationdb/binding.ts';
import { isHostDatabase } from '../kv/foundationdb/open.ts';
import type { KeyValueDatabase } from '../kv/kv.ts';
import type { ContractApproval } from '../migration/approval.ts';
import type { MigrationAuditEventReporter } from '../migration/audit.ts';
import type { Backfill } from '../migration/backfill-spec.ts';
import type { MigrationHandler } from '../migration/handlers.ts';
import type { MigrationThrottleFunction } from '../migration/host-throttle.ts';
import type { MigrationPace } from '../migration/passes/give-way.ts';
import type { MigrationLease, MigrationLeaseFactory } from '../migration/lease.ts';
import type { MigrationRole } from '../migration/runtime.ts';
import type { MigrationStep } from '../migration/step-spec.ts';
import type { RetryPolicy } from '../migration/retry.ts';
import type { CheckedVerification, RecordCheck } from '../migration/verification.ts';
import type { AnyModel } from '../model/define.ts';
import type { AnyModels, RecordOf } from '../model/infer.ts';
import type { WorkerPool } from '../ports/pool.ts';
import type { Subspace } from '../records/keys.ts';
import type { FenceCache } from '../records/store-row.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Registry } from '../telemetry/meters.ts';
import type { FoundationDBDataStore } from './store.ts';

/** Names of the registered models. */
export type ModelNames<Models extends AnyModels> = {
  [Id in keyof Models]: Models[Id] extends AnyModel ? Models[Id]['name'] : never;
}[keyof Models];

/** One handler for all models, or one for each by its name; a model that is left out has none. */
export type HandlerOption<Models extends AnyModels, Handler> =
  Handler | { readonly [Name in ModelNames<Models>]?: Handler | undefined };

type PhaseHandler = MigrationHandler<FoundationDBDataStore>;

type RecordOfModel<Model, Name> = Model extends AnyModel
  ? Model['name'] extends Name
    ? RecordOf<Model>
    : never
  : never;

/** One check for the records of all models, or one for those of each by its name. */
export type CheckOption<Models extends AnyModels> =
  | RecordCheck
  | {
      readonly [Name in ModelNames<Models>]?:
        RecordCheck<RecordOfModel<Models[keyof Models], Name>> | undefined;
    };

/** `migrationVerification` in parts. */
export interface VerificationOptions<Models extends AnyModels = AnyModels> {
  /** Part of the records and index entries that is checked, drawn by their keys. Above 0, to 1. Default 1: all. */
  readonly sampleRatio?: number | undefined;
  /** Another one draws another sample of the same size. A safe integer from 0; default 0. */
  readonly seed?: number | undefined;
  /**
   * Asked of every record that is checked, as it is after the migration: the old one is gone by then. Runs on the main
   * thread, 1,000 records or so in a row. Default none.
   */
  readonly check?: CheckOption<Models> | undefined;
}

/** Also for who reads without the options of a program. Milliseconds. */
export const defaultStalledAfterMs = 60_000;

/** Options of `FoundationDBDataStore.open`. The README has the same in one table. */
export interface StoreOptions<Models extends AnyModels = AnyModels> {
  /**
   * `'embedded:<directory>'`, `'memory:'`, `'fdb:'` or `'fdb:<cluster file>'`; or an opened database, the `Database` of the
   * package `foundationdb` too, which stays open when the store is closed.
   */
  readonly database: string | KeyValueDatabase | FoundationDBDatabase;
  /** The tuple that every key of this store begins with; one element or more. */
  readonly subspace: Subspace;
  /** Token in subjects and metrics, [A-Za-z0-9_-]{1,64}. Default: the subspace joined by `-`. */
  readonly storeName?: string | undefined;
  /** The models of this program by their ids, which are positive integers and stay for ever. */
  readonly dataModelsById: Models;

  /** Before records are moved. Default none. */
  readonly migrationExpandHandler?: HandlerOption<Models, PhaseHandler> | undefined;
  /** Moves the records: `backfill(...)`, or a function. Default none. */
  readonly migrationHandler?: HandlerOption<Models, PhaseHandler | Backfill> | undefined;
  /** After the built-in verification, before the model is ready. Default none. */
  readonly migrationVerifyHandler?: HandlerOption<Models, PhaseHandler> | undefined;
  /** After verification, before publication. Default none. */
  readonly migrationContractHandler?: HandlerOption<Models, PhaseHandler> | undefined;

  /** Ways from older versions to the configured ones, step by step, per model. Default none: in one step. */
  readonly migrations?:
    { readonly [Name in ModelNames<Models>]?: readonly MigrationStep[] | undefined } | undefined;
  /**
   * Whether steps that are `backfill` alone are taken together, each record moved once. Default true. What was begun one
   * way is finished that way.
   */
  readonly composeMigrationSteps?: boolean | undefined;

  /** How often a phase is tried before the migration fails. Default: no limit. */
  readonly migrationRetryPolicy?: RetryPolicy | undefined;
  /** How long `open` migrates before it hands over or gives up. Milliseconds from 0; default: no limit. */
  readonly migrationStartupBudgetMs?: number | undefined;
  /** What happens when the budget is spent: `open` returns and migrations go on, or it fails. Default false. */
  readonly continueMigrationsInBackground?: boolean | undefined;
  /** Models that are migrated side by side, 1 to 64. Default 2. */
  readonly migrationMaxParallelModels?: number | undefined;
  /** Ranges of one model that are moved side by side, 1 to 64. Default 4. */
  readonly maxBackfillConcurrency?: number | undefined;
  /**
   * What this process does while requests are answered that are none of the migrating model's: `gentle` moves records in
   * small chunks, on the embedded engine one at a time, so that requests wait for little and the backfill takes longer; `fast` goes on as if nobody
   * asked. On the embedded engine requests of other processes count too, as far as they write. Default `gentle`.
   */
  readonly migrationPace?: MigrationPace | undefined;
  /**
   * Records that all processes of the store together move per second at most, over all models, where each of them has this
   * limit: each takes an equal share, and who verifies counts too. One that comes waits for up to half a lease timeout
   * until the others have counted it; one that died keeps its share until it is judged over. So there may be less, never
   * more: but for one chunk each, which is let through whole and paid for afterwards, and for what a process that was
   * frozen in front of a commit still commits. Where limits differ, each keeps to its own divided by the number of
   * processes. Verification and hand-written handlers are not slowed down. Above 0; default: no limit.
   */
  readonly migrationMaxRecordsPerSecond?: number | undefined;
  /**
   * Asked before each chunk of this process that moves records or fills indexes, whether and why it shall wait; verification
   * and hand-written handlers are not asked about. At most 60,000 ms are waited for an answer, and because of one. Whoever
   * pauses, cancels or closes does not wait for it. What it does wrong is counted, logged once, and ignored. Default none.
   */
  readonly migrationThrottle?: MigrationThrottleFunction | undefined;
  /**
   * A migration that runs, is not throttled, waits for no retry and no operator, and has committed nothing for so long, has
   * the reason `stalled` in its status. Milliseconds, 1,000 to 86,400,000; default 60,000. By the wall clocks of who commits
   * and who asks: as far as they differ it is shown earlier or later.
   */
  readonly migrationStalledAfterMs?: number | undefined;
  /** How records and index entries are checked before publication. Default `'full'`. */
  readonly migrationVerification?: 'full' | 'off' | VerificationOptions<Models> | undefined;
  /**
   * What comes between Verify and Contract. `'automatic'`: nothing. `'manual'`: the migration waits, behind the closed gate
   * and under its lease, until `approveMigration`; inside `open` too, for as long as the startup budget lasts. Where nodes
   * differ, that of the present owner counts. Added indexes wait for nobody. Default `'automatic'`.
   */
  readonly migrationContractApproval?: ContractApproval | undefined;

  /**
   * What this process does for migrations. `'migrate'`: it leads them, one node each, and moves records of those that others
   * lead. `'assist'`: it moves records of those that others lead, with the handlers that it has. `'wait'`: neither; it needs
   * no handlers. Whichever it is, it serves a model as soon as it is published, and publishes compatible definitions.
   * Default `'migrate'`.
   */
  readonly migrationRole?: MigrationRole | undefined;
  /** Who may migrate: a lease, or what makes one, `externalOwner` for example. Default: the lease in the database. */
  readonly migrationLease?: MigrationLease | MigrationLeaseFactory | undefined;
  /**
   * After this long without a heartbeat another node takes over. Milliseconds, 1,000 to 600,000; from 5,000 on
   * FoundationDB, which may pause that long in a recovery. Default 10,000.
   */
  readonly migrationLeaseTimeoutMs?: number | undefined;
  /** Milliseconds between heartbeats, 50 to a third of the timeout. Default: a quarter of the timeout. */
  readonly migrationLeaseHeartbeatMs?: number | undefined;

  /**
   * How requests learn of a closed gate. `'read'`: each transaction reads the fence of its model. `'metadataVersion'`: it
   * reads `\xff/metadataVersion`, which FoundationDB hands out with the read version, and the fence only when that has
   * changed; this spares the servers a hot key, and changes the value for all users of the cluster with each step of a
   * migration that writes a fence. The first store that asks for it turns it on for its subspace, for good; stores that
   * read go on reading. Releases that do not know it refuse the subspace from then on. Default `'read'`.
   */
  readonly fenceCache?: FenceCache | undefined;

  /** Keeps audit events in the database, for `migrationAuditEvents`. Default false. */
  readonly persistMigrationAuditEvents?: boolean | undefined;
  /** Audit events kept for each model, 1 to 1,000,000. Default 1,000. */
  readonly migrationAuditLogMaxEntries?: number | undefined;
  /** Receives each audit event after its commit. Default: one line each, through `logger` or to stdout. */
  readonly migrationAuditEventReporter?: MigrationAuditEventReporter | undefined;

  /**
   * Carries status, audit and metrics events to others: a bus, which stays open; or `'nats://host:port'`, several servers
   * parted by commas, a connection that the store opens in the background and closes. Where there are credentials or
   * certificates, `natsBus` of `godwit/nats` takes them. Default: one that never leaves this process.
   */
  readonly bus?: MessageBus | string | undefined;
  /** What all subjects on the bus begin with: tokens of A-Z, a-z, 0-9, _ and -, parted by dots. Default `godwit`. */
  readonly subjectPrefix?: string | undefined;
  /** A pino logger, or anything like it; where it has `child`, lines about a migration go through one. Default: none. */
  readonly logger?: Logger | undefined;
  /** Where Prometheus metrics are registered. Default: none are kept. */
  readonly registry?: Registry | undefined;
  /** Threads for transforms, made by `createWorkerPool`; stays open. Default: one pool for all stores of the process. */
  readonly pool?: WorkerPool | undefined;
  /** This process, for people. 1 to 128 characters; default: host name, pid and a random part. */
  readonly nodeId?: string | undefined;
  /** Ends `open`, which then rejects with ABORTED. */
  readonly signal?: AbortSignal | undefined;
}

const isFunction = (value: unknown) => typeof value === 'function';
const isBoolean = (value: unknown) => typeof value === 'boolean';
const isObject = (value: unknown) => typeof value === 'object' && value !== null;
const has = (value: unknown, ...methods: readonly string[]) =>
  isObject(value) && methods.every((name) => isFunction(Reflect.get(value as object, name)));
const isIn = (min: number, max: number) => (value: unknown) =>
  typeof value === 'number' && value >= min && value <= max;
const isIntegerIn = (min: number, max: number) => (value: unknown) =>
  Number.isSafeInteger(value) && isIn(min, max)(value);

function isVerification({ sampleRatio, seed, check, ...others }: Readonly<Record<string, unknown>>): boolean {
  return (
    Object.keys(others).length === 0 &&
    (sampleRatio === undefined || isIn(Number.MIN_VALUE, 1)(sampleRatio)) &&
    (seed === undefined || isIntegerIn(0, Number.MAX_SAFE_INTEGER)(seed)) &&
    (check === undefined || isFunction(check) || isObject(check))
  );
}

/** What stands before an @ would be in error messages, and the client does not take it. */
const natsServer = /^nats:\/\/[^\s/@,]+$/;

/** The servers that the option `bus` names. */
export const serversOf = (bus: string): string[] => bus.split(',').map((server) => server.trim());

interface Rule {
  readonly holds: (value: unknown) => boolean;
  /** Completes "<option> must be ...". */
  readonly demand: string;
}

const rule = (holds: Rule['holds'], demand: string): Rule => ({ holds, demand });
const handler = rule(
  (value) => isFunction(value) || isObject(value),
  'a function, or an object of them by model name',
);

const rules: { readonly [Name in keyof Required<StoreOptions>]: Rule } = {
  database: rule(
    (value) =>
      typeof value === 'string' ||
      has(value, 'transact', 'createTransaction') ||
      has(value, 'rawCreateTransaction', 'getRoot'),
    "'embedded:<directory>', 'memory:', 'fdb:<cluster file>' or an opened database",
  ),
  subspace: rule(
    (value) =>
      Array.isArray(value) &&
      value.length > 0 &&
      value.every((element) => typeof element === 'string' || Number.isSafeInteger(element)),
    'an array of one or more strings and integers',
  ),
  storeName: rule(
    (value) => typeof value === 'string' && /^[A-Za-z0-9_-]{1,64}$/.test(value),
    '1 to 64 of the characters A-Z, a-z, 0-9, _ and -',
  ),
  dataModelsById: rule(isObject, 'an object of models by id'),
  migrationExpandHandler: handler,
  migrationHandler: rule(handler.holds, 'backfill(...), a function, or an object of them by model name'),
  migrationVerifyHandler: handler,
  migrationContractHandler: handler,
  migrations: rule(
    (value) =>
      isObject(value) &&
      Object.values(value as object).every(
        (steps) =>
          steps === undefined ||
          (Array.isArray(steps) &&
            steps.every((one) => isObject(one) && Reflect.get(one, 'kind') === 'step')),
      ),
    'an object of arrays of steps by model name, each made by step()',
  ),
  composeMigrationSteps: rule(isBoolean, 'true or false'),
  migrationRetryPolicy: rule(isObject, 'an object'),
  migrationStartupBudgetMs: rule(isIn(0, Number.MAX_SAFE_INTEGER), 'a number of milliseconds from 0'),
  continueMigrationsInBackground: rule(isBoolean, 'true or false'),
  migrationMaxParallelModels: rule(isIntegerIn(1, 64), 'an integer from 1 to 64'),
  maxBackfillConcurrency: rule(isIntegerIn(1, 64), 'an integer from 1 to 64'),
  migrationPace: rule((pace) => pace === 'gentle' || pace === 'fast', "'gentle' or 'fast'"),
  migrationMaxRecordsPerSecond: rule(isIn(Number.MIN_VALUE, Number.MAX_VALUE), 'a number above 0'),
  migrationThrottle: rule(isFunction, 'a function'),
  migrationStalledAfterMs: rule(isIn(1_000, 86_400_000), 'a number of milliseconds from 1,000 to 86,400,000'),
  migrationVerification: rule(
    (value) =>
      value === 'full' ||
      value === 'off' ||
      (isObject(value) && isVerification(value as Readonly<Record<string, unknown>>)),
    "'full', 'off' or { sampleRatio, seed, check }: above 0, to 1; an integer from 0; a function, or an object of them by model name",
  ),
  migrationContractApproval: rule(
    (value) => value === 'automatic' || value === 'manual',
    "'automatic' or 'manual'",
  ),
  migrationRole: rule(
    (value) => value === 'migrate' || value === 'assist' || value === 'wait',
    "'migrate', 'assist' or 'wait'",
  ),
  migrationLease: rule(
    (value) => isFunction(value) || has(value, 'acquire', 'explain'),
    'a MigrationLease, or a function that makes one',
  ),
  migrationLeaseTimeoutMs: rule(isIn(1_000, 600_000), 'a number of milliseconds from 1,000 to 600,000'),
  migrationLeaseHeartbeatMs: rule(isIn(50, 200_000), 'a number of milliseconds from 50'),
  fenceCache: rule((value) => value === 'read' || value === 'metadataVersion', "'read' or 'metadataVersion'"),
  persistMigrationAuditEvents: rule(isBoolean, 'true or false'),
  migrationAuditLogMaxEntries: rule(isIntegerIn(1, 1_000_000), 'an integer from 1 to 1,000,000'),
  migrationAuditEventReporter: rule(isFunction, 'a function'),
  bus: rule(
    (value) =>
      has(value, 'publish', 'subscribe', 'close') ||
      (typeof value === 'string' && serversOf(value).every((server) => natsServer.test(server))),
    "a MessageBus, or 'nats://host:port' without credentials, several parted by commas",
  ),
  subjectPrefix: rule(
    (value) => typeof value === 'string' && value.length <= 64 && /^[\w-]+(?:\.[\w-]+)*$/.test(value),
    'up to 64 of the characters A-Z, a-z, 0-9, _ and -, in tokens parted by dots',
  ),
  logger: rule((value) => has(value, 'debug', 'info', 'warn', 'error'), 'a pino logger'),
  registry: rule((value) => has(value, 'getSingleMetric', 'registerMetric'), 'a prom-client Registry'),
  pool: rule((value) => has(value, 'run', 'close'), 'a pool made by createWorkerPool'),
  nodeId: rule(
    (value) => typeof value === 'string' && value.length >= 1 && value.length <= 128,
    '1 to 128 characters',
  ),
  signal: rule((value) => value instanceof AbortSignal, 'an AbortSignal'),
};

/** Names of all options: the README's table is checked against them. */
export const storeOptionNames = Object.keys(rules) as readonly (keyof StoreOptions)[];

const requiredOptions: readonly (keyof StoreOptions)[] = ['database', 'subspace', 'dataModelsById'];

/** Options with their defaults, where those are numbers or flags. */
export interface CheckedOptions extends StoreOptions {
  readonly storeName: string;
  readonly subjectPrefix: string;
  readonly composeMigrationSteps: boolean;
  readonly migrationRetryPolicy: RetryPolicy;
  readonly continueMigrationsInBackground: boolean;
  readonly migrationMaxParallelModels: number;
  readonly maxBackfillConcurrency: number;
  readonly migrationPace: MigrationPace;
  readonly migrationStalledAfterMs: number;
  readonly migrationVerification: 'off' | CheckedVerification;
  readonly migrationContractApproval: ContractApproval;
  readonly migrationRole: MigrationRole;
  readonly migrationLeaseTimeoutMs: number;
  readonly migrationLeaseHeartbeatMs: number;
  readonly fenceCache: FenceCache;
  readonly persistMigrationAuditEvents: boolean;
  readonly migrationAuditLogMaxEntries: number;
}

/** @throws ModelException OPTION_INVALID with every problem in `details.problems` */
export function checkOptions(options: StoreOptions): CheckedOptions {
  if (!isObject(options)) throw invalid(['open takes an object of options']);
  const timeoutMs = options.migrationLeaseTimeoutMs ?? 10_000;
  const storeName = options.storeName ?? defaultName(options.subspace);
  const problems = [
    ...problemsOf(options),
    ...retryProblems(options.migrationRetryPolicy),
    ...(storeName === undefined ? ['storeName must be given: the subspace does not make a valid one'] : []),
    ...(isIn(0, timeoutMs / 3)(options.migrationLeaseHeartbeatMs ?? 0)
      ? []
      : ['migrationLeaseHeartbeatMs must be at most a third of migrationLeaseTimeoutMs']),
    ...(isFoundationDB(options.database) && timeoutMs < foundationDBPauseMs
      ? ['migrationLeaseTimeoutMs must be at least 5,000 on FoundationDB, which may pause in a recovery']
      : []),
  ];
  if (problems.length > 0 || storeName === undefined) throw invalid(problems);
  return {
    ...options,
    storeName,
    subjectPrefix: options.subjectPrefix ?? 'godwit',
    composeMigrationSteps: options.composeMigrationSteps ?? true,
    migrationRetryPolicy: options.migrationRetryPolicy ?? {},
    continueMigrationsInBackground: options.continueMigrationsInBackground ?? false,
    migrationMaxParallelModels: options.migrationMaxParallelModels ?? 2,
    maxBackfillConcurrency: options.maxBackfillConcurrency ?? 4,
    migrationStalledAfterMs: options.migrationStalledAfterMs ?? defaultStalledAfterMs,
    migrationVerification: verificationOf(options.migrationVerification),
    migrationContractApproval: options.migrationContractApproval ?? 'automatic',
    migrationPace: options.migrationPace ?? 'gentle',
    migrationRole: options.migrationRole ?? 'migrate',
    migrationLeaseTimeoutMs: timeoutMs,
    migrationLeaseHeartbeatMs: options.migrationLeaseHeartbeatMs ?? timeoutMs / 4,
    fenceCache: options.fenceCache ?? 'read',
    persistMigrationAuditEvents: options.persistMigrationAuditEvents ?? false,
    migrationAuditLogMaxEntries: options.migrationAuditLogMaxEntries ?? 1_000,
  };
}

/** A recovery of the cluster may take as long, and must not look like a dead owner. */
const foundationDBPauseMs = 5_000;

function isFoundationDB(database: StoreOptions['database'] | undefined): boolean {
  if (typeof database === 'string') return database.startsWith('fdb:');
  return (
    isHostDatabase(database) ||
    (isObject(database) && Reflect.get(database as object, 'engine') === 'foundationdb')
  );
}

function verificationOf(option: StoreOptions['migrationVerification']): 'off' | CheckedVerification {
  if (option === 'off') return option;
  const { sampleRatio = 1, seed = 0, check } = option === 'full' || option === undefined ? {} : option;
  return { sampleRatio, seed, check };
}

function problemsOf(options: StoreOptions): readonly string[] {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const unknown = given.filter(([name]) => !(name in rules)).map(([name]) => `there is no option ${name}`);
  const missing = requiredOptions
    .filter((name) => options[name] === undefined)
    .map((name) => `${name} is required: ${rules[name].demand}`);
  const wrong = given.flatMap(([name, value]) => {
    const { holds, demand } = rules[name as keyof StoreOptions] ?? rule(() => true, '');
    return holds(value) ? [] : [`${name} must be ${demand}`];
  });
  return [...unknown, ...missing, ...wrong];
}

function retryProblems(policy: RetryPolicy | undefined): readonly string[] {
  if (!isObject(policy)) return [];
  const { maxAttempts, maxRetryOutcomes } = policy as RetryPolicy;
  const problems = Object.keys(policy)
    .filter((name) => name !== 'maxAttempts' && name !== 'maxRetryOutcomes')
    .map((name) => `there is no migrationRetryPolicy.${name}`);
  if (maxAttempts !== undefined && !isIntegerIn(1, Number.MAX_SAFE_INTEGER)(maxAttempts)) {
    problems.push('migrationRetryPolicy.maxAttempts must be an integer from 1');
  }
  if (maxRetryOutcomes !== undefined && !isIntegerIn(0, Number.MAX_SAFE_INTEGER)(maxRetryOutcomes)) {
    problems.push('migrationRetryPolicy.maxRetryOutcomes must be an integer from 0');
  }
  return problems;
}

function defaultName(subspace: unknown): string | undefined {
  if (!Array.isArray(subspace)) return undefined;
  const name = subspace.join('-');
  return rules.storeName.holds(name) ? name : undefined;
}

function invalid(problems: readonly string[]): ModelException {
  return new ModelException('OPTION_INVALID', `The store cannot be opened: ${problems.join('; ')}.`, {
    details: { problems },
  });
}
