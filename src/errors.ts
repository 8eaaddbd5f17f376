/**
 * Every error that Godwit throws at its users: one table of stable codes, one class per family.
 *
 * A code never changes its meaning. `retryable` says whether the same call may succeed later without anybody
 * changing anything. The README's table is checked against this one by a test.
 */

interface ErrorCodeEntry {
  readonly family: 'migration' | 'request' | 'storage' | 'model';
  readonly retryable: boolean;
  /** What happened, in one sentence. */
  readonly meaning: string;
  /** What to do about it, in one sentence. */
  readonly cure: string;
}

const migration = (retryable: boolean, meaning: string, cure: string) =>
  ({ family: 'migration', retryable, meaning, cure }) as const;
const request = (retryable: boolean, meaning: string, cure: string) =>
  ({ family: 'request', retryable, meaning, cure }) as const;
const storage = (retryable: boolean, meaning: string, cure: string) =>
  ({ family: 'storage', retryable, meaning, cure }) as const;
const model = (meaning: string, cure: string) =>
  ({ family: 'model', retryable: false, meaning, cure }) as const;

export const errorCodes = {
  // Defining models
  MODEL_INVALID: model(
    'A model definition contradicts itself.',
    'Mend the definition at the place that the message names.',
  ),
  MODEL_UNKNOWN: model(
    'A model is named that is not registered with this store.',
    'Register it in dataModelsById, or correct the name or id.',
  ),
  OPTION_INVALID: model(
    'An option has a value outside its range.',
    'Correct the option that the message names.',
  ),

  // Requests
  RECORD_INVALID: request(
    false,
    'A record or key does not meet its model.',
    'Correct the property that the message names; nothing was written.',
  ),
  RECORD_EXISTS: request(
    false,
    'There is a record under this key already.',
    'Use change or put, or another key.',
  ),
  RECORD_NOT_FOUND: request(false, 'There is no record under this key.', 'Use add or put.'),
  RECORD_TOO_LARGE: request(
    false,
    'The encoded record is larger than a record may be.',
    'Split the record, or keep large contents elsewhere.',
  ),
  RECORD_UNREADABLE: request(
    false,
    'Stored bytes are not a record of any known definition.',
    'Something else wrote into the subspace; restore the record from a backup.',
  ),
  KEY_TOO_LARGE: request(
    false,
    'The key is longer than the database allows.',
    'Use shorter key or index properties.',
  ),
  UNIQUE_VIOLATION: request(
    false,
    'Another record holds this value of a unique index.',
    'Change the value; the message names the index.',
  ),
  INDEX_UNKNOWN: request(
    false,
    'The model has no index of this name.',
    'Use one of the indexes the message lists.',
  ),
  INDEX_BUILDING: request(true, 'The index is still being filled.', 'Try again later, or scan by key.'),
  MODEL_MIGRATING: request(
    true,
    'The model is being migrated and refuses requests until it is published.',
    'Try again after retryAfterMs, or wait with awaitMigration.',
  ),
  MODEL_SCHEMA_CHANGED: request(
    false,
    'The model was migrated to a definition that this program does not know.',
    'Deploy the program with the newer definition.',
  ),
  STORE_CLOSED: request(false, 'The store was closed.', 'Open it again.'),
  BUS_UNANSWERED: request(
    true,
    'Nobody answers on the message bus.',
    'See that the others run and that the bus is connected, then try again.',
  ),
  REQUEST_ID_REUSED: request(
    false,
    'The id of an operator request was used for another one before.',
    'Give each request an id of its own; only a repeat has the same.',
  ),
  CONTROL_INVALID: request(
    false,
    'A control request over the bus cannot be understood; nothing was changed.',
    'Correct what the message names; docs/subjects.md has the format.',
  ),
  CONTROL_TOO_LARGE: request(
    false,
    'A control request over the bus is larger than 16 kB; nothing was changed.',
    'Shorten the reason.',
  ),
  CONTROL_BUSY: request(
    true,
    'The node that was asked has too many control requests under way; nothing was changed.',
    'Try again with the same requestId.',
  ),
  CONTROL_FAILED: request(
    true,
    'A control request could not be carried out in time; it may have been.',
    'Try again with the same requestId: it is carried out once.',
  ),
  STORE_AMBIGUOUS: request(
    false,
    'Stores of several databases have this name on the bus.',
    'Pass the databaseId of the one that is meant, or give each a storeName or subjectPrefix of its own.',
  ),
  TIMEOUT: request(true, 'The call did not end within its time.', 'Try again, or allow more time.'),
  ABORTED: request(false, 'The signal that was passed was aborted.', 'Nothing: the caller asked for it.'),

  // Migrations
  MIGRATION_HANDLER_MISSING: migration(
    false,
    'A model needs migration and none of the four handlers is given for it.',
    'Add a migrationHandler for the model, or make the change compatible; the message lists every reason.',
  ),
  MIGRATION_STEP_MISSING: migration(
    false,
    'The migrations of a model do not lead from the stored version to the configured one.',
    'Add the step that the message asks for; nothing was written.',
  ),
  MIGRATION_CYCLE: migration(
    false,
    'Models depend on each other in a circle.',
    'Make one of the references weak: reference({ to, weak: true }).',
  ),
  MIGRATION_PENDING: migration(
    true,
    'The startup budget is spent and models still wait for their migration.',
    'Allow more time, or set continueMigrationsInBackground; nothing is lost.',
  ),
  MIGRATION_FAILED: migration(
    false,
    'The migration failed and waits for an operator.',
    'Mend the cause, then resumeMigration; or resetMigration with a mended program.',
  ),
  MIGRATION_PAUSED: migration(false, 'The migration is paused by an operator.', 'resumeMigration.'),
  MIGRATION_CANCELED: migration(
    false,
    'The migration was canceled by an operator.',
    'resumeMigration, or resetMigration with a mended program.',
  ),
  MIGRATION_NOT_PENDING: migration(
    false,
    'The model has no migration that could be steered.',
    'Nothing to do: read migrationStatus.',
  ),
  APPROVAL_NOT_AWAITED: migration(
    false,
    'The migration has not come to what an operator approves, or is past it.',
    'Read migrationStatus: approve where the reason is approval; resume first what failed or was canceled.',
  ),
  MIGRATION_MIXED_RECORDS: migration(
    false,
    'The model holds records of a version that the transform does not accept.',
    'Declare them: backfill({ accepts: [...] }), and handle ctx.from in the transform.',
  ),
  MIGRATION_TARGET_CHANGED: migration(
    false,
    'A migration to another target is half-way done.',
    'Deploy the program of that target and let it finish, or resetMigration from this one.',
  ),
  DEPENDENCY_BLOCKED: migration(
    false,
    'A model that this one depends on has failed or was canceled.',
    'Mend and resume the dependency; the message shows the path.',
  ),
  KEY_CHANGE_REFERENCED: migration(
    false,
    'The key of a model that others reference would change.',
    'Move the records to a new model, or make the references weak.',
  ),
  TRANSFORM_INVALID: migration(
    false,
    'The transform module cannot be loaded or does not fit its model.',
    'Mend the module; nothing was written.',
  ),
  TRANSFORM_FAILED: migration(
    false,
    'The transform failed on a record.',
    'Mend the transform and resume, or use onPoison: "quarantine".',
  ),
  TRANSFORM_REJECTED: migration(
    false,
    'What the transform returned does not meet the new definition.',
    'Mend the transform and resume, or use onPoison: "quarantine".',
  ),
  KEY_CHANGED: migration(
    false,
    'The transform returned another key although the key definition is unchanged.',
    'Return the key as it was.',
  ),
  DUPLICATE_KEY: migration(false, 'Two records came out with the same new key.', 'Make the new key unique.'),
  QUARANTINE_FULL: migration(
    false,
    'More records were quarantined than maxQuarantined allows.',
    'Mend the transform, or raise maxQuarantined, then resume.',
  ),
  VERIFICATION_FAILED: migration(
    false,
    'Records or index entries are not what the new definition demands.',
    'Read migrationVerification(id), mend the cause, then resetMigration.',
  ),
  HANDLER_FAILED: migration(
    false,
    'A handler threw or answered Fatal.',
    'Mend the handler, then resumeMigration.',
  ),
  OUTCOME_INVALID: migration(
    false,
    'A handler answered something that is no MigrationOutcome.',
    'Return one of the four outcomes; the message says what came.',
  ),
  CURSOR_TOO_LARGE: migration(
    false,
    'A cursor is larger than 3,000 bytes.',
    'Keep the position, not the data.',
  ),
  RETRIES_EXHAUSTED: migration(
    false,
    'The retry policy does not grant another try.',
    'Mend the cause, then resumeMigration, which resets the counters.',
  ),
  CONTEXT_EXPIRED: migration(
    false,
    'A handler used its context after its step had ended.',
    'Await every write before returning.',
  ),
  LEASE_LOST: migration(
    true,
    'This node is not the owner of the migration any more.',
    'Nothing: another node goes on, or this one acquires the lease again.',
  ),
  LEASE_NOT_RELEASABLE: migration(
    false,
    "The application's own migrationLease has no forceRelease.",
    'Release it by the means of whatever stands behind it.',
  ),
  OWNER_UNKNOWN: migration(
    true,
    'The application could not say who is to migrate: isOwner of externalOwner threw.',
    'Nothing: it is asked again; mend what isOwner asks if it lasts.',
  ),

  // Storage
  DATABASE_INVALID: storage(
    false,
    'The database address is none that this store understands.',
    "Use 'embedded:<dir>', 'memory:', 'fdb:', 'fdb:<cluster file>', or an opened database.",
  ),
  RUNTIME_NOT_LOADED: storage(
    false,
    'Files of this package that are loaded when a database is opened are not there, or cannot be read.',
    'Install the package anew, and start processes again that ran while it was replaced; the cause names the file.',
  ),
  STORE_MISSING: storage(
    false,
    'There is no store at this place of the database, and whoever only looks makes none.',
    'Correct database and subspace; the first program that opens the store makes it.',
  ),
  DRIVER_MISSING: storage(
    false,
    "The package 'foundationdb' is not installed.",
    'npm install foundationdb@2: it is an optional peer of this package.',
  ),
  DRIVER_LIBRARY_MISSING: storage(
    false,
    "FoundationDB's client library, which the package 'foundationdb' needs, is not installed.",
    "Install FoundationDB's client package, 7.1 or newer: it brings libfdb_c.",
  ),
  DRIVER_FAILED: storage(
    false,
    "The package 'foundationdb', or the client library that it needs, cannot be used.",
    "Install version 2 of the package and a client library of 7.1 or newer; the cause has the loader's own message.",
  ),
  DRIVER_WRONG_THREAD: storage(
    false,
    "The package 'foundationdb' works on the main thread of a process only.",
    'Open the store on the main thread; transforms run in threads by themselves.',
  ),
  DRIVER_DUPLICATE: storage(
    false,
    "Two copies of the package 'foundationdb' are loaded in one process, which breaks both.",
    'Let host and library share one copy: npm dedupe; the message has both paths.',
  ),
  CLUSTER_FILE_MISSING: storage(
    false,
    'The cluster file is not there.',
    "Correct the path behind 'fdb:' or in FDB_CLUSTER_FILE, or put the file in the system's place for it.",
  ),
  CLUSTER_FILE_INVALID: storage(
    false,
    'The cluster file cannot be read, or is none.',
    'Copy the cluster file of a server as it is, and let this process read and write it.',
  ),
  CLUSTER_UNREACHABLE: storage(
    true,
    'The FoundationDB cluster did not answer in time.',
    'Check the cluster file and that the cluster is up, then try again.',
  ),
  ENGINE_SHARED_UNSAFELY: storage(
    false,
    'The directory is in use from another kernel or process namespace.',
    'Use a FoundationDB cluster where several machines share data.',
  ),
  ENGINE_DIRECTORY_INVALID: storage(
    false,
    'The directory cannot be used by the embedded engine.',
    'Check that it exists, is writable, on a local disk, and belongs to this engine.',
  ),
  ENGINE_BUSY: storage(
    true,
    'The directory is open elsewhere and cannot be compacted, or is being compacted and cannot be opened.',
    'Close the other stores on it, or wait until it is compacted; then try again.',
  ),
  COMPACTION_UNSUPPORTED: storage(
    false,
    'The engine has no file that could be compacted.',
    'Nothing to do: only the embedded engine keeps the space of what was deleted.',
  ),
  STORAGE_CORRUPT: storage(
    false,
    'Metadata in the database cannot be decoded.',
    'Something else wrote into the subspace; restore it from a backup.',
  ),
  STORAGE_FORMAT_NEWER: storage(
    false,
    'The database was written by a newer release of Godwit.',
    'Run that release or a newer one.',
  ),
  STORAGE_FAILED: storage(
    true,
    'The database did not carry out a transaction; the message has its own code.',
    'Try again; the cause has the details.',
  ),
} as const satisfies Record<string, ErrorCodeEntry>;

export type ErrorCode = keyof typeof errorCodes;
type CodeOf<F extends ErrorCodeEntry['family']> = {
  [C in ErrorCode]: (typeof errorCodes)[C]['family'] extends F ? C : never;
}[ErrorCode];

export type ModelErrorCode = CodeOf<'model'>;
export type RequestErrorCode = CodeOf<'request'>;
export type MigrationErrorCode = CodeOf<'migration'>;
export type StorageErrorCode = CodeOf<'storage'>;

/** Ids and numbers that make the error useful to a program. Never record data, never credentials. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

interface ErrorOptions {
  readonly details?: ErrorDetails | undefined;
  readonly cause?: unknown;
}

/** What all of Godwit's errors have in common. */
export abstract class GodwitException<C extends ErrorCode = ErrorCode> extends Error {
  readonly code: C;
  /** Whether the same call may succeed later without anybody changing anything. */
  readonly retryable: boolean;
  readonly details: ErrorDetails;

  constructor(code: C, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.retryable = errorCodes[code].retryable;
    this.details = options.details ?? {};
  }
}

/** A model definition or an option is wrong: found before any data is touched. */
export class ModelException extends GodwitException<ModelErrorCode> {}

/** A request to a store was refused. Nothing was written. */
export class RequestException extends GodwitException<RequestErrorCode> {}

/** A migration cannot start, or did not end well. */
export class MigrationException extends GodwitException<MigrationErrorCode> {}

/** The database cannot be opened, read or written. */
export class StorageException extends GodwitException<StorageErrorCode> {}
