import type { MigrationHandlers } from '../../migration/handlers.ts';
import { isBackfill } from '../../migration/handlers.ts';
import { canBeComposed, pathTo } from '../../migration/plan.ts';
import { migrationIdOf } from '../../migration/read-status.ts';
import type { CheckedVerification } from '../../migration/verification.ts';
import { checkOf } from '../../migration/verification.ts';
import type { ConfiguredModel } from '../../records/configured-model.ts';
import type { ForeseenStep } from '../foresee.ts';
import type { Look } from './look.ts';
import { isTargetChanged } from './look.ts';
import type {
  ModelPlanReport,
  PlanAction,
  PlannedHandlers,
  PlannedIndexWork,
  PlannedStep,
  PlannedVerification,
} from './report.ts';

/** What a plan says of a model by itself, but for what has to be read for it. */
export function describeModel(
  look: Look,
  verification: 'off' | CheckedVerification,
): Omit<ModelPlanReport, 'waitsFor' | 'estimate' | 'sample'> {
  const { model, stored, plan, ahead, status } = look;
  const action = actionOf(look);
  const steps = ahead.map((step) => describeStep(model, step));
  const moving = steps.find((step) => step.action !== 'publish');
  return {
    modelId: model.id,
    modelName: model.name,
    storedVersion: stored?.current.version ?? null,
    configuredVersion: model.data.version,
    action,
    migrationId: moving?.migrationId ?? migrationIdOf(plan),
    reasons: moving?.reasons ?? [],
    steps,
    blocking: isBlocking(look),
    verification: moving === undefined ? null : describeVerification(model, verification),
    status,
  };
}

/** Whether it closes the gate: now, or once what comes before is published. Others wait for such a one. */
export function isBlocking({ plan, ahead }: Look): boolean {
  return plan.type === 'targetChanged' || ahead.some(({ type }) => type === 'migrate');
}

function actionOf({ plan, ahead, hindrance, isHalfWay }: Look): PlanAction {
  if (plan.type === 'none') return plan.olderProgram ? 'olderProgram' : 'none';
  if (plan.type === 'targetChanged' || isTargetChanged(hindrance)) return 'blocked';
  if (isHalfWay) return 'goOn';
  for (const action of ['migrate', 'index'] as const) {
    if (ahead.some(({ type }) => type === action)) return action;
  }
  return 'publish';
}

function describeStep(model: ConfiguredModel, step: ForeseenStep): PlannedStep {
  const from = step.stored?.current.version ?? null;
  const to = step.plan.target.data.version;
  const common = { action: step.type, from, to, composedOf: [], reasons: [], changes: [], handlers: null };
  switch (step.type) {
    case 'publish': {
      const { comparison } = step.plan;
      const changes = 'changes' in comparison ? comparison.changes : [];
      return { ...common, migrationId: null, changes, indexes: [] };
    }
    case 'index': {
      const { migrationId, indexes } = step.plan;
      return { ...common, migrationId, indexes: indexes.map((name) => ({ name, work: 'build' })) };
    }
    case 'migrate': {
      const { migrationId, reasons, target } = step.plan;
      return {
        ...common,
        composedOf: target === model ? composedOf(model, step.stored.current.version) : [],
        migrationId,
        reasons,
        handlers: describeHandlers(step.handlers),
        indexes: indexWork(step),
      };
    }
  }
}

function composedOf(model: ConfiguredModel, from: string): readonly string[] {
  const path = pathTo(model, from) ?? [];
  return canBeComposed(path) ? [from, ...path.map((leg) => leg.model.data.version)] : [];
}

function indexWork({
  closed,
  stored,
}: Extract<ForeseenStep, { type: 'migrate' }>): readonly PlannedIndexWork[] {
  const known = new Set(stored.current.indexes.map(({ name }) => name));
  return closed.state.indexes
    .filter(({ mode }) => mode === 'fill')
    .map(({ name }) => ({ name, work: known.has(name) ? 'refill' : 'fill' }));
}

function describeHandlers({ expand, backfill, verify, contract }: MigrationHandlers): PlannedHandlers {
  const kindOf = (handler: unknown) => (handler === undefined ? null : 'function');
  return {
    expand: kindOf(expand),
    backfill: isBackfill(backfill) ? 'transform' : kindOf(backfill),
    verify: kindOf(verify),
    contract: kindOf(contract),
  };
}

function describeVerification(
  { name }: ConfiguredModel,
  verification: 'off' | CheckedVerification,
): PlannedVerification | null {
  if (verification === 'off') return null;
  const { sampleRatio, seed } = verification;
  return { sampleRatio, seed, hasCheck: checkOf(verification, name) !== undefined };
}
