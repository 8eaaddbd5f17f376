import { ModelException } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { AnyModels } from '../../model/infer.ts';
import type { CheckedOptions, StoreOptions } from '../options.ts';
import { checkOptions } from '../options.ts';

/** Options of `planMigrations`: those of `open`, so that one object serves both, and what a sample needs. */
export interface PlanOptions<Models extends AnyModels = AnyModels> extends StoreOptions<Models> {
  /** Records of each model that its transform is tried on, 0 to 10,000. Default 0. */
  readonly sample?: number | undefined;
  /**
   * Names of properties, of stored or configured definitions, whose values before and after are shown for the first records
   * of each sample. With any of them, what a transform threw is shown as well. Default none: no value leaves.
   */
  readonly show?: readonly string[] | undefined;
  /** Another one draws other records. A safe integer from 0; default 0. */
  readonly seed?: number | undefined;
}

export interface CheckedPlanOptions {
  readonly options: CheckedOptions;
  readonly sample: number;
  readonly show: readonly string[];
  readonly seed: number;
}

const maxSample = limits.plan.sampledRecords.value;

/** @throws ModelException OPTION_INVALID with every problem in `details.problems` */
export function checkPlanOptions(given: PlanOptions): CheckedPlanOptions {
  const { sample = 0, show = [], seed = 0, ...storeOptions } = given;
  const options = checkOptions(storeOptions);
  const isCount = (value: unknown, max: number) =>
    Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max;
  const isList: boolean = Array.isArray(show) && show.every((name) => typeof name === 'string');
  const problems = [
    ...(isCount(sample, maxSample)
      ? []
      : [`sample must be an integer from 0 to ${maxSample.toLocaleString('en')}`]),
    ...(isList ? [] : ['show must be an array of names of properties']),
    ...(isCount(seed, Number.MAX_SAFE_INTEGER) ? [] : ['seed must be a safe integer from 0']),
  ];
  if (problems.length > 0) throw invalidPlan(problems);
  return { options, sample, show, seed };
}

/** @throws ModelException OPTION_INVALID for a property that no definition has */
export function checkShown(show: readonly string[], known: ReadonlySet<string>): void {
  const unknown = show.filter((name) => !known.has(name));
  if (unknown.length === 0) return;
  const names = [...known].toSorted().join(', ');
  throw invalidPlan([`show names ${unknown.join(', ')}, which is no property; there are ${names}`]);
}

function invalidPlan(problems: readonly string[]): ModelException {
  return new ModelException('OPTION_INVALID', `No plan can be made: ${problems.join('; ')}.`, {
    details: { problems },
  });
}
