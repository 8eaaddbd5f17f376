import { ModelException } from '../errors.ts';
import { isModel } from '../model/brand.ts';
import type { AnyModel } from '../model/define.ts';
import { versionPattern } from '../model/names.ts';
import type { Backfill } from './backfill-spec.ts';
import type { MigrationHandler, MigrationHandlers } from './handlers.ts';

/** What a step of a chain of versions has: the options of `open`, for this step alone. */
export interface StepOptions<Store = unknown> {
  /** The model at the step's second version. May be left out in the last step: it is the configured one. */
  readonly dataModel?: AnyModel | undefined;
  readonly migrationExpandHandler?: MigrationHandler<Store> | undefined;
  readonly migrationHandler?: MigrationHandler<Store> | Backfill | undefined;
  readonly migrationVerifyHandler?: MigrationHandler<Store> | undefined;
  readonly migrationContractHandler?: MigrationHandler<Store> | undefined;
}

/** One step of a chain of versions: what `step` makes. */
export interface MigrationStep {
  readonly kind: 'step';
  readonly from: string;
  readonly to: string;
  readonly dataModel: AnyModel | undefined;
  readonly handlers: MigrationHandlers;
}

/**
 * One step on the way from an old version to the program's: `migrations: { City: [step('1.0', '2.0', {...}), ...] }`.
 *
 * @throws ModelException OPTION_INVALID
 */
export function step<Store>(from: string, to: string, options: StepOptions<Store> = {}): MigrationStep {
  const { dataModel } = options;
  for (const version of [from, to]) {
    if (typeof version !== 'string' || !versionPattern.test(version)) {
      throw invalid(from, to, 'takes two versions, such as 1.0 and 2.0');
    }
  }
  if (dataModel !== undefined && !isModel(dataModel)) {
    throw invalid(from, to, 'has a dataModel that was not made by defineModel');
  }
  if (dataModel !== undefined && dataModel.version !== to) {
    throw invalid(from, to, `has a dataModel of version ${dataModel.version}`);
  }
  return Object.freeze({
    kind: 'step',
    from,
    to,
    dataModel,
    handlers: {
      expand: options.migrationExpandHandler as MigrationHandler | undefined,
      backfill: options.migrationHandler as MigrationHandlers['backfill'],
      verify: options.migrationVerifyHandler as MigrationHandler | undefined,
      contract: options.migrationContractHandler as MigrationHandler | undefined,
    },
  });
}

function invalid(from: string, to: string, problem: string): ModelException {
  return new ModelException('OPTION_INVALID', `step(${from}, ${to}) ${problem}.`);
}
