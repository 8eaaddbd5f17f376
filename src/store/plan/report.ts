import type { MigrationStatus } from '../../migration/status.ts';
import type { Change, Reason } from '../../model/compare.ts';

/** What `planMigrations` answers: data that `JSON.stringify` takes as it is. Keys are in hexadecimal digits, cut. */
export interface MigrationPlanReport {
  /** Which driver answered: `embedded`, `memory`, `foundationdb`. */
  readonly engine: string;
  /** No store was ever opened in this subspace. */
  readonly isNew: boolean;
  /** In the order in which they would be migrated: each behind all that it depends on. */
  readonly models: readonly ModelPlanReport[];
  /** All that `open` would refuse, at once; empty where it would go through. */
  readonly problems: readonly PlanProblem[];
}

/**
 * What `open` would do with a model. `none`: nothing. `olderProgram`: nothing, the database is ahead of the program.
 * `publish`: the definition is published as it is. `index`: it is published, and indexes are filled while requests go on.
 * `migrate`: records are moved or checked, with the model closed. `goOn`: one of the last two was begun and is gone on
 * with. `blocked`: what another program began stands in the way; `open` waits while somebody owns that, and refuses when
 * nobody does.
 */
export type PlanAction = 'none' | 'olderProgram' | 'publish' | 'index' | 'migrate' | 'goOn' | 'blocked';

export interface ModelPlanReport {
  readonly modelId: number;
  readonly modelName: string;
  /** Of the published definition; null for a model that is new here. */
  readonly storedVersion: string | null;
  readonly configuredVersion: string;
  readonly action: PlanAction;
  /** What is next, as `migrationStatus` will name it; for `blocked` what stands in the way. Null where nothing is moved. */
  readonly migrationId: string | null;
  /** Why the next migration is needed. */
  readonly reasons: readonly Reason[];
  /** One publication after another; of a chain of versions there may be several. */
  readonly steps: readonly PlannedStep[];
  /** Whether requests to this model will be refused, from the lease to the publication. Other models are not touched. */
  readonly blocking: boolean;
  /** Names of the models that have to be published before it. */
  readonly waitsFor: readonly string[];
  /** Of what has to be read; null where nothing has. */
  readonly estimate: SizeEstimate | null;
  /** How it is checked before publication; null where it is not. */
  readonly verification: PlannedVerification | null;
  /** Of a migration that was begun, or stands still; null where there is none. */
  readonly status: MigrationStatus | null;
  /** Null where no sample was asked for, or there is no transform that could be tried. */
  readonly sample: SampleReport | null;
}

export interface PlannedStep {
  readonly action: 'publish' | 'index' | 'migrate';
  /** Null for a model that is new here. */
  readonly from: string | null;
  readonly to: string;
  /** The versions that one pass leads through, both ends included, where several steps are taken together; else empty. */
  readonly composedOf: readonly string[];
  readonly migrationId: string | null;
  readonly reasons: readonly Reason[];
  /** What is published without a migration. */
  readonly changes: readonly Change[];
  /** Null for what needs none. */
  readonly handlers: PlannedHandlers | null;
  readonly indexes: readonly PlannedIndexWork[];
}

/** Who does the work of each phase; null: nobody, the phase succeeds at once. */
export interface PlannedHandlers {
  readonly expand: 'function' | null;
  readonly backfill: 'transform' | 'function' | null;
  readonly verify: 'function' | null;
  readonly contract: 'function' | null;
}

/** `build`: filled while requests go on. `fill`: new, filled by the migration. `refill`: there already, filled anew. */
export interface PlannedIndexWork {
  readonly name: string;
  readonly work: 'build' | 'fill' | 'refill';
}

export interface SizeEstimate {
  readonly records: number;
  /** Of keys and values of records, without index entries. */
  readonly bytes: number;
  /** False where all of them were counted. */
  readonly isEstimate: boolean;
}

export interface PlannedVerification {
  /** Above 0, to 1: all. */
  readonly sampleRatio: number;
  readonly seed: number;
  /** Whether a check of the user's is asked as well. */
  readonly hasCheck: boolean;
}

export interface PlanProblem {
  /** A code of `errorCodes`. */
  readonly code: string;
  readonly message: string;
  readonly modelId: number;
  readonly modelName: string;
}

/**
 * What the transform made of some records. It is the code of the backfill, without its writing: what only the database can
 * tell, that two records have one new key or one value of a unique index, is not seen.
 */
export interface SampleReport {
  /** To which version the records were taken. */
  readonly to: string;
  readonly asked: number;
  /** Fewer than asked where there are not more, or the key space has gaps in which chance does not find them. */
  readonly sampled: number;
  readonly seed: number;
  readonly moved: number;
  readonly dropped: number;
  /** Of the target already, from a migration that was begun: never transformed again. */
  readonly unchanged: number;
  readonly failed: number;
  /** Most frequent first. */
  readonly failures: readonly SampleFailures[];
  /** Failures of other reasons than those. */
  readonly otherFailures: number;
  /** Decoding, transform, validation, encoding and index entries of a record, in µs; null without any. */
  readonly microsPerRecord: number | null;
  /** For all records on this machine, reading and writing left out; null where nothing was measured. */
  readonly duration: TransformDuration | null;
  /** The first records of the sample, with the chosen properties; none where none was chosen. */
  readonly shown: readonly ShownRecord[];
}

export interface SampleFailures {
  readonly code: string;
  /** Names properties and rules, and what a transform threw by its class alone: its message may be about values. */
  readonly reason: string;
  /** What was said of the first of these records, whole; null unless values are shown. */
  readonly example: string | null;
  readonly count: number;
  /** Of the first of these records. */
  readonly keys: readonly string[];
}

export interface TransformDuration {
  readonly milliseconds: number;
  /** That work side by side; 1 where the transform runs on the main thread. */
  readonly threads: number;
  readonly isEstimate: true;
}

export interface ShownRecord {
  readonly key: string;
  readonly outcome: 'moved' | 'dropped' | 'unchanged' | 'failed';
  /** Null for a record that cannot be read. */
  readonly before: ShownValues | null;
  /** Null for one that was dropped or failed. */
  readonly after: ShownValues | null;
}

/** By property; absent where the record has no value. */
export type ShownValues = Readonly<Record<string, ShownValue>>;

/** Numbers that JSON does not know, 64-bit integers, dates and bytes are text; what is long is cut. */
export type ShownValue = string | number | boolean | null | readonly ShownValue[] | ShownObject;

export interface ShownObject {
  readonly [name: string]: ShownValue;
}
