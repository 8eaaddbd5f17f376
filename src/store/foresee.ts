import type { Transaction } from '../kv/kv.ts';
import { foreseeClosedGate } from '../migration/close-gate.ts';
import type { MigrationHandlers } from '../migration/handlers.ts';
import { isHalfWay, ownState } from '../migration/hindrance.ts';
import type { ModelPlan, StoredModel } from '../migration/plan.ts';
import { planModel } from '../migration/plan.ts';
import { publicationOf } from '../migration/publish-migration.ts';
import type { MigrationState } from '../migration/state.ts';
import { createState } from '../migration/state.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { StoredDefinition } from '../records/definitions.ts';
import { foreseeChange } from '../records/publish.ts';
import type { Program } from './configure.ts';

/** A model as `open` found it. */
export interface Survey {
  readonly model: ConfiguredModel;
  readonly stored: StoredModel | undefined;
  readonly plan: ModelPlan;
}

/** One migration that lies ahead of a model: of a chain of versions there are several. */
export interface ForeseenMigration {
  readonly type: 'migrate';
  readonly plan: Extract<ModelPlan, { type: 'migrate' }>;
  /** What the database will hold when it begins; of one that was begun, what it holds. */
  readonly stored: StoredModel;
  readonly handlers: MigrationHandlers;
  /** As it will be once the gate is closed: under these ids records and entries are written. */
  readonly closed: { readonly stored: StoredModel; readonly state: MigrationState };
}

export type ForeseenStep =
  | ForeseenMigration
  | {
      readonly type: 'publish';
      readonly plan: Extract<ModelPlan, { type: 'publish' }>;
      readonly stored: StoredModel | undefined;
    }
  | {
      readonly type: 'index';
      readonly plan: Extract<ModelPlan, { type: 'index' }>;
      readonly stored: StoredModel;
    };

/**
 * All that `open` will do to a model, one publication after another, by the code that does it and without writing it.
 *
 * @param state the persisted one, of the same transaction as the survey
 */
export async function foreseeSteps(
  tx: Pick<Transaction, 'getRangeAll'>,
  { handlersFor }: Pick<Program, 'handlersFor'>,
  { model, ...found }: Survey,
  state: MigrationState | undefined,
): Promise<readonly ForeseenStep[]> {
  const steps: ForeseenStep[] = [];
  let { stored, plan } = found;
  // Each version is reached once and may have an index to build: longer than that no way is.
  for (let left = 2 * (model.steps.length + 1); left > 0; left -= 1) {
    const step = foreseeStep(model, stored, plan, state, handlersFor);
    if (step === undefined) break;
    steps.push(step);
    stored = await storedAfter(tx, step);
    if (stored === undefined) break;
    plan = planModel(stored, model);
  }
  return steps;
}

function foreseeStep(
  model: ConfiguredModel,
  stored: StoredModel | undefined,
  plan: ModelPlan,
  state: MigrationState | undefined,
  handlersFor: Program['handlersFor'],
): ForeseenStep | undefined {
  if (plan.type === 'publish') return { type: 'publish', plan, stored };
  if (stored === undefined || plan.type === 'none' || plan.type === 'targetChanged') return undefined;
  if (plan.type === 'index') return { type: 'index', plan, stored };
  const handlers = handlersFor(model, plan.target, stored.current.version);
  const own = ownState({ plan, state });
  if (own !== undefined && isHalfWay({ plan, stored, state })) {
    return { type: 'migrate', plan, stored, handlers, closed: { stored, state: own } };
  }
  const closed = foreseeClosedGate(plan.target, stored, plan.migrationId, plan.indexes);
  const first = createState({
    ...closed.target,
    migrationId: plan.migrationId,
    kind: 'migration',
    revision: 0,
    phase: 'Expand',
    transformHash: null,
    intentRevision: 0,
  });
  return { type: 'migrate', plan, stored, handlers, closed: { stored: closed.stored, state: first } };
}

/** Undefined where nothing can follow. */
async function storedAfter(
  tx: Pick<Transaction, 'getRangeAll'>,
  step: ForeseenStep,
): Promise<StoredModel | undefined> {
  if (step.type === 'migrate') {
    const { fence, definition } = publicationOf(step.closed);
    return published(step.closed.stored, fence, definition);
  }
  if (step.type === 'index' || step.stored === undefined) return undefined;
  const { comparison, target } = step.plan;
  const refill = comparison.type === 'NewIndexesOnExistingProperties' ? comparison.indexes : [];
  const { fence, definition } = await foreseeChange(tx, target, step.stored, refill);
  return published(step.stored, fence, definition);
}

function published(
  { definitions }: StoredModel,
  fence: StoredModel['fence'],
  definition: StoredDefinition,
): StoredModel {
  return {
    fence,
    current: definition,
    definitions: new Map([...definitions, [definition.schemaId, definition]]),
  };
}
