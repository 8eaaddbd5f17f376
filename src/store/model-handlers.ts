import { ModelException } from '../errors.ts';
import type { Backfill } from '../migration/backfill-spec.ts';
import type { MigrationHandler, MigrationHandlers } from '../migration/handlers.ts';
import { isBackfill } from '../migration/handlers.ts';
import type { StoreOptions } from './options.ts';

type Option = MigrationHandler | Backfill | Readonly<Record<string, unknown>> | undefined;

const handlerOptions = {
  expand: 'migrationExpandHandler',
  backfill: 'migrationHandler',
  verify: 'migrationVerifyHandler',
  contract: 'migrationContractHandler',
} as const;

/**
 * The handlers of each model.
 *
 * @throws ModelException MODEL_UNKNOWN for a name that is no model's; OPTION_INVALID for what is no handler
 */
export function createHandlerLookup(
  options: StoreOptions,
  modelNames: readonly string[],
): (modelName: string) => MigrationHandlers {
  for (const name of Object.values(handlerOptions)) checkOption(name, options[name] as Option, modelNames);
  const { migrationVerification: verification } = options;
  if (typeof verification === 'object') {
    checkOption('migrationVerification.check', verification.check as Option, modelNames);
  }
  const find = (name: keyof typeof handlerOptions, modelName: string): unknown => {
    const option = options[handlerOptions[name]] as Option;
    if (option === undefined || typeof option === 'function' || isMadeByBackfill(option)) return option;
    return Object.hasOwn(option, modelName) ? option[modelName] : undefined;
  };
  return (modelName) => ({
    expand: find('expand', modelName) as MigrationHandler | undefined,
    backfill: find('backfill', modelName) as MigrationHandlers['backfill'],
    verify: find('verify', modelName) as MigrationHandler | undefined,
    contract: find('contract', modelName) as MigrationHandler | undefined,
  });
}

function checkOption(name: string, option: Option, modelNames: readonly string[]): void {
  if (option === undefined || typeof option === 'function') return;
  if (isMadeByBackfill(option)) {
    if (name === handlerOptions.backfill) return;
    throw new ModelException(
      'OPTION_INVALID',
      `${name} is no function; backfill(...) belongs to ${handlerOptions.backfill}.`,
      { details: { option: name } },
    );
  }
  const unknown = Object.keys(option).filter((model) => !modelNames.includes(model));
  if (unknown.length > 0) {
    throw new ModelException(
      'MODEL_UNKNOWN',
      `${name} names ${unknown.join(', ')}, which is no registered model; there are ${modelNames.join(', ')}.`,
      { details: { option: name, models: unknown } },
    );
  }
  for (const [model, handler] of Object.entries(option)) {
    if (handler === undefined || typeof handler === 'function') continue;
    if (name === handlerOptions.backfill && isMadeByBackfill(handler)) continue;
    throw new ModelException('OPTION_INVALID', `${name}.${model} is no function.`, {
      details: { option: name, model },
    });
  }
}

function isMadeByBackfill(value: unknown): value is Backfill {
  return (
    typeof value === 'object' &&
    value !== null &&
    Object.isFrozen(value) &&
    isBackfill(value as MigrationHandlers['backfill'])
  );
}
