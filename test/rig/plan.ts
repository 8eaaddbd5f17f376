import { expect } from 'vitest';
import type { AnyModels } from '../../src/model/infer.ts';
import { systemClock } from '../../src/ports/clock.ts';
import { systemRandom } from '../../src/ports/random.ts';
import type { StoreOptions } from '../../src/store/options.ts';
import { planMigrationsWith } from '../../src/store/plan-migrations.ts';
import type { PlanOptions } from '../../src/store/plan/options.ts';
import type { MigrationPlanReport, ModelPlanReport } from '../../src/store/plan/report.ts';
import { createInlinePool } from './inline-pool.ts';

type Place = Pick<StoreOptions, 'database' | 'subspace'>;

/** Plans without threads, and demands that the report survives JSON as it is. */
export async function planOn(
  { database, subspace }: Place,
  models: AnyModels,
  options: Partial<PlanOptions> = {},
): Promise<MigrationPlanReport> {
  const given = { pool: createInlinePool(), ...options, database, subspace, dataModelsById: models };
  const report = await planMigrationsWith(given, { clock: systemClock, random: systemRandom });
  expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  return report;
}

/** What a report says of one model. */
export function planOf({ models }: MigrationPlanReport, modelId: number): ModelPlanReport {
  const found = models.find((model) => model.modelId === modelId);
  if (found === undefined) throw new Error(`the plan says nothing of model ${modelId}`);
  return found;
}
