import type { OperatorCall } from '../migration/operators.ts';
import type { MigrationStatus } from '../migration/status.ts';
import type { ListedModel, ModelStanding } from '../store/open-stored.ts';

/** What an operator wants of a migration. */
export type Steering = 'pause' | 'resume' | 'cancel' | 'approve';

/** What works by the database and through the nodes of a store alike. */
export interface Console {
  models(): Promise<readonly Pick<ListedModel, 'modelId' | 'modelName'>[]>;
  status(modelId: number): Promise<MigrationStatus>;
  /** By id, ascending. */
  statuses(): Promise<readonly MigrationStatus[]>;
  steer(verb: Steering, modelId: number, call: Pick<OperatorCall, 'by' | 'reason'>): Promise<MigrationStatus>;
  /** Undefined where nobody tells. */
  standing(modelId: number): Promise<ModelStanding | undefined>;
  /** All statuses, whenever one may have changed, until the signal aborts. */
  follow(signal: AbortSignal): AsyncIterable<readonly MigrationStatus[]>;
  close(): Promise<void>;
}

/** Between two looks at the database while somebody watches, milliseconds. */
export const lookMs = 250;
