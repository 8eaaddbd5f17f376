/** What is loaded as a whole when a database is opened, by `on-demand.ts`: re-exports, nothing else. */
export { openDatabase } from '../kv/open.ts';
export { approveMigration } from '../migration/approve.ts';
export { readAuditEvents } from '../migration/audit.ts';
export { readMetrics } from '../migration/counters.ts';
export { cancelMigration, pauseMigration, resetMigration, resumeMigration } from '../migration/operators.ts';
export { planModel, readStoredModel } from '../migration/plan.ts';
export { listQuarantined, retryQuarantined } from '../migration/quarantine.ts';
export { readStatus } from '../migration/read-status.ts';
export { releaseLease } from '../migration/release-lease.ts';
export { readVerification } from '../migration/verification.ts';
export { eitherOf, pollIntervalMs } from '../migration/watch.ts';
export { awaitMigration } from './await-migration.ts';
export { createContextRequests } from './context-store.ts';
export { streamEvents } from './event-stream.ts';
export { openCore } from './open.ts';
export { planMigrationsWith } from './plan-migrations.ts';
