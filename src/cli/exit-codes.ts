import type { ErrorCode } from '../errors.ts';

/** What the command ends with. A number never changes its meaning. */
export const exitCodes = {
  done: 0,
  unexpected: 1,
  usage: 2,
  failed: 3,
  canceled: 4,
  timeout: 5,
  findings: 6,
  refused: 7,
  unfit: 8,
  modelUnknown: 9,
  unavailable: 69,
  otherOwner: 75,
  interrupted: 130,
  terminated: 143,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** For `--help`, and for docs/cli.md, which a test holds against it. */
export const exitCodeMeanings: Readonly<Record<ExitCode, string>> = {
  0: 'Done.',
  1: 'Unexpected: a fault of the command or of what it calls.',
  2: 'Usage: a flag or an option is wrong or missing, or the question was not answered with yes.',
  3: 'The migration failed.',
  4: 'The migration was canceled.',
  5: 'Not done within --timeout; nothing is lost.',
  6: 'A verification, or the sample of a plan, has findings.',
  7: 'Refused by the state of things: there is nothing to steer, for example.',
  8: 'This program cannot migrate this database.',
  9: 'No such model.',
  69: 'Database or bus are unavailable, or there is no store.',
  75: 'Another owner migrates it (--no-wait), or took it: try again later.',
  130: 'Ended by ctrl-c (SIGINT).',
  143: 'Ended by SIGTERM.',
};

/** Each code of the library has one of them; a test demands it of new ones too. */
const exitCodeByError: Readonly<Record<ErrorCode, ExitCode>> = {
  MODEL_INVALID: exitCodes.unfit,
  MODEL_UNKNOWN: exitCodes.modelUnknown,
  OPTION_INVALID: exitCodes.usage,

  RECORD_INVALID: exitCodes.unexpected,
  RECORD_EXISTS: exitCodes.unexpected,
  RECORD_NOT_FOUND: exitCodes.unexpected,
  RECORD_TOO_LARGE: exitCodes.unexpected,
  RECORD_UNREADABLE: exitCodes.unexpected,
  KEY_TOO_LARGE: exitCodes.unexpected,
  UNIQUE_VIOLATION: exitCodes.failed,
  INDEX_UNKNOWN: exitCodes.unexpected,
  INDEX_BUILDING: exitCodes.refused,
  MODEL_MIGRATING: exitCodes.refused,
  MODEL_SCHEMA_CHANGED: exitCodes.unfit,
  STORE_CLOSED: exitCodes.unexpected,
  BUS_UNANSWERED: exitCodes.unavailable,
  REQUEST_ID_REUSED: exitCodes.refused,
  CONTROL_INVALID: exitCodes.usage,
  CONTROL_TOO_LARGE: exitCodes.usage,
  CONTROL_BUSY: exitCodes.unavailable,
  CONTROL_FAILED: exitCodes.unavailable,
  STORE_AMBIGUOUS: exitCodes.usage,
  TIMEOUT: exitCodes.timeout,
  ABORTED: exitCodes.interrupted,

  MIGRATION_HANDLER_MISSING: exitCodes.unfit,
  MIGRATION_STEP_MISSING: exitCodes.unfit,
  MIGRATION_CYCLE: exitCodes.unfit,
  MIGRATION_PENDING: exitCodes.timeout,
  MIGRATION_FAILED: exitCodes.failed,
  MIGRATION_PAUSED: exitCodes.refused,
  MIGRATION_CANCELED: exitCodes.canceled,
  MIGRATION_NOT_PENDING: exitCodes.refused,
  APPROVAL_NOT_AWAITED: exitCodes.refused,
  MIGRATION_MIXED_RECORDS: exitCodes.unfit,
  MIGRATION_TARGET_CHANGED: exitCodes.unfit,
  DEPENDENCY_BLOCKED: exitCodes.failed,
  KEY_CHANGE_REFERENCED: exitCodes.unfit,
  TRANSFORM_INVALID: exitCodes.unfit,
  TRANSFORM_FAILED: exitCodes.failed,
  TRANSFORM_REJECTED: exitCodes.failed,
  KEY_CHANGED: exitCodes.failed,
  DUPLICATE_KEY: exitCodes.failed,
  QUARANTINE_FULL: exitCodes.failed,
  VERIFICATION_FAILED: exitCodes.failed,
  HANDLER_FAILED: exitCodes.failed,
  OUTCOME_INVALID: exitCodes.failed,
  CURSOR_TOO_LARGE: exitCodes.failed,
  RETRIES_EXHAUSTED: exitCodes.failed,
  CONTEXT_EXPIRED: exitCodes.failed,
  LEASE_LOST: exitCodes.otherOwner,
  LEASE_NOT_RELEASABLE: exitCodes.refused,
  OWNER_UNKNOWN: exitCodes.otherOwner,

  DATABASE_INVALID: exitCodes.usage,
  STORE_MISSING: exitCodes.unavailable,
  DRIVER_MISSING: exitCodes.unavailable,
  DRIVER_LIBRARY_MISSING: exitCodes.unavailable,
  DRIVER_FAILED: exitCodes.unavailable,
  DRIVER_WRONG_THREAD: exitCodes.unavailable,
  RUNTIME_NOT_LOADED: exitCodes.unavailable,
  DRIVER_DUPLICATE: exitCodes.unavailable,
  CLUSTER_FILE_MISSING: exitCodes.unavailable,
  CLUSTER_FILE_INVALID: exitCodes.unavailable,
  CLUSTER_UNREACHABLE: exitCodes.unavailable,
  ENGINE_SHARED_UNSAFELY: exitCodes.unavailable,
  ENGINE_DIRECTORY_INVALID: exitCodes.unavailable,
  ENGINE_BUSY: exitCodes.unavailable,
  COMPACTION_UNSUPPORTED: exitCodes.refused,
  STORAGE_CORRUPT: exitCodes.unavailable,
  STORAGE_FORMAT_NEWER: exitCodes.unfit,
  STORAGE_FAILED: exitCodes.unavailable,
};

/** Of a code that a newer node may have sent: the unknown ones are unexpected. */
export function exitCodeOf(code: unknown): ExitCode {
  return typeof code === 'string' && Object.hasOwn(exitCodeByError, code)
    ? exitCodeByError[code as ErrorCode]
    : exitCodes.unexpected;
}
