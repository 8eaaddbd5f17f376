/** Entry point `godwit`: the public API, re-exported. */
export type {
  BusAnswer,
  BusCounts,
  BusError,
  BusRequestOptions,
  BusState,
  MessageBus,
  Subscription,
  WholeMessageBus,
} from './cluster/bus.ts';
export { localBus } from './cluster/local-bus.ts';
export {
  errorCodes,
  GodwitException,
  MigrationException,
  ModelException,
  RequestException,
  StorageException,
} from './errors.ts';
export type { ErrorCode, ErrorDetails } from './errors.ts';
export type { MigrationErrorCode, ModelErrorCode, RequestErrorCode, StorageErrorCode } from './errors.ts';
export type {
  Compaction,
  KeyValueDatabase,
  KeyValueTransaction,
  Transaction,
  TransactOptions,
} from './kv/kv.ts';
export { KeyValueError, keyValueLimits } from './kv/kv.ts';
export { auditLine } from './migration/audit-line.ts';
export type {
  MigrationAuditEvent,
  MigrationAuditEventReporter,
  MigrationAuditEventType,
} from './migration/audit.ts';
export { backfill } from './migration/backfill-spec.ts';
export type { Backfill, BackfillOptions } from './migration/backfill-spec.ts';
export type { MigrationContext, MigrationTransaction, StoredRecord } from './migration/context.ts';
export type { MigrationMetrics } from './migration/counters.ts';
export type { DuplicatePair } from './migration/duplicates.ts';
export type { MigrationEvent } from './migration/events.ts';
export type { MigrationHandler } from './migration/handlers.ts';
export type {
  MigrationThrottle,
  MigrationThrottleFunction,
  ThrottledChunk,
} from './migration/host-throttle.ts';
export type { MigrationPace } from './migration/passes/give-way.ts';
export { externalOwner } from './migration/external-owner.ts';
export type { ExternalOwnerOptions, OwnershipQuestion } from './migration/external-owner.ts';
export { FoundationDBMigrationLease } from './migration/foundationdb-lease.ts';
export type {
  ForcedRelease,
  LeaseExplanation,
  LeaseGrant,
  LeaseHandle,
  LeaseParts,
  LeaseRefused,
  LeaseRequest,
  MigrationLease,
  MigrationLeaseFactory,
} from './migration/lease.ts';
export { step } from './migration/step-spec.ts';
export type { MigrationStep, StepOptions } from './migration/step-spec.ts';
export { MigrationOutcome } from './migration/outcome.ts';
export type { QuarantinedRecord, QuarantineRetry } from './migration/quarantine.ts';
export type { RetryPolicy } from './migration/retry.ts';
export type { MigrationError, MigrationPhase, MigrationState } from './migration/state.ts';
export type {
  MigrationProgress,
  MigrationReason,
  MigrationStatus,
  MigrationStatusState,
} from './migration/status.ts';
export type {
  IndexFindings,
  IndexVerification,
  RecordCheck,
  VerificationFinding,
  VerificationReport,
} from './migration/verification.ts';
export * from './model/index.ts';
export { defineTransform, drop } from './model/transform.ts';
export type { Transform, TransformContext, TransformDefinition } from './model/transform.ts';
export { createWorkerPool, WorkerCrashed, WorkerPoolClosed } from './ports/pool.ts';
export type { WorkerPool, WorkerPoolOptions } from './ports/pool.ts';
export type { AwaitMigrationOptions } from './store/await-migration.ts';
export type { ModelMigratingDetails } from './store/gate.ts';
export type { ModelQuery, RequestOptions, Scan, ScanPage, ScanQuery } from './store/model-query.ts';
export type { ChangeOf, ModelStore } from './store/model-store.ts';
export type {
  CheckOption,
  HandlerOption,
  ModelNames,
  StoreOptions,
  VerificationOptions,
} from './store/options.ts';
export { openDatabase, planMigrations } from './store/on-demand.ts';
export type { PlanOptions } from './store/plan/options.ts';
export type {
  MigrationPlanReport,
  ModelPlanReport,
  PlanAction,
  PlannedHandlers,
  PlannedIndexWork,
  PlannedStep,
  PlannedVerification,
  PlanProblem,
  SampleFailures,
  SampleReport,
  ShownObject,
  ShownRecord,
  ShownValue,
  ShownValues,
  SizeEstimate,
  TransformDuration,
} from './store/plan/report.ts';
export type { ModelReadiness, Readiness } from './store/readiness.ts';
export type { RequestTransaction } from './store/request.ts';
export { FoundationDBDataStore } from './store/store.ts';
export type { CloseOptions, OperatorOptions, PendingMigration, WhenReadyOptions } from './store/store.ts';
export type { Logger } from './telemetry/logger.ts';
