import type { GodwitException } from '../errors.ts';
import { MigrationException, RequestException } from '../errors.ts';
import { planModel, readStoredModel } from '../migration/plan.ts';
import { readStatusIn } from '../migration/read-status.ts';
import type { MigrationRuntime } from '../migration/runtime.ts';
import type { MigrationStatus } from '../migration/status.ts';
import { watchUntil } from '../migration/watch.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { Transaction } from '../kv/kv.ts';
import type { Gate } from './gate.ts';
import { throwIfAborted } from './request-error.ts';

export interface AwaitMigrationOptions {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds; default: no limit. */
  readonly timeoutMs?: number | undefined;
}

/** A model that another one waits for, and the names from that one to it. */
export interface Dependency {
  readonly model: ConfiguredModel;
  readonly path: readonly string[];
}

/**
 * Resolves when there is nothing left to do for the model and the gate lets requests through: so will it every later
 * transaction.
 *
 * @param dependencies of the model, nearest first, with theirs
 * @throws MigrationException MIGRATION_FAILED, MIGRATION_CANCELED, DEPENDENCY_BLOCKED
 * @throws RequestException STORE_CLOSED, TIMEOUT, ABORTED; MODEL_SCHEMA_CHANGED when this program never will serve it
 */
export async function awaitMigration(
  runtime: MigrationRuntime,
  gate: Gate,
  model: ConfiguredModel,
  dependencies: readonly Dependency[],
  { signal, timeoutMs }: AwaitMigrationOptions,
  closing: AbortSignal,
): Promise<void> {
  throwIfAborted(signal);
  const { database, clock } = runtime;
  const tooLate = new AbortController();
  const timer = timeoutMs === undefined ? undefined : clock.setTimeout(() => tooLate.abort(), timeoutMs);
  const signals = [tooLate.signal, closing, ...(signal === undefined ? [] : [signal])];
  const all = [model, ...dependencies.map((dependency) => dependency.model)];
  try {
    const answer = await watchUntil({
      database,
      clock,
      keys: all.flatMap(({ keys }) => [keys.fence, keys.state]),
      signal: AbortSignal.any(signals),
      isAwaited: true,
      look: async (tx) => {
        const status = await readStatusIn(tx, runtime, model);
        if (status.state === 'Waiting' && status.reason?.code === 'dependency') {
          for (const { model: dependency, path } of dependencies) {
            const blocked = blockedBy(model, await readStatusIn(tx, runtime, dependency), path);
            if (blocked !== undefined) return blocked;
          }
        }
        const verdict = verdictOn(status);
        if (verdict === 'done') return passes(tx, gate, model);
        // A migration that was given up before it changed anything concerns nobody who has nothing to do.
        const plan = planModel(await readStoredModel(tx, model.keys), model);
        if (plan.type === 'none' && (await passes(tx, gate, model)) === 'done') return 'done';
        return verdict;
      },
    });
    if (answer === 'done') return;
    if (answer !== undefined) throw answer;
  } finally {
    if (timer !== undefined) clock.clearTimeout(timer);
  }
  if (closing.aborted) throw new RequestException('STORE_CLOSED', 'The store was closed.');
  throwIfAborted(signal);
  throw new RequestException('TIMEOUT', `${model.name} was not ready within ${timeoutMs ?? 0} ms.`);
}

/** An older program has nothing to do itself, but may find the model closed, for now or for good. */
async function passes(
  tx: Transaction,
  gate: Gate,
  model: ConfiguredModel,
): Promise<'done' | GodwitException | undefined> {
  try {
    await gate.readGate(tx, model);
    return 'done';
  } catch (error) {
    if (!(error instanceof RequestException)) throw error;
    return error.retryable ? undefined : error;
  }
}

function verdictOn(status: MigrationStatus): 'done' | GodwitException | undefined {
  switch (status.state) {
    case 'Idle':
      return 'done';
    case 'Failed':
    case 'Canceled':
      return haltedError(status);
    case 'Waiting':
    case 'Running':
    case 'Paused':
      return undefined;
  }
}

/** The same for whoever opens a store: another definition shows in the plan, another transform only in what went wrong. */
export function standingError(status: MigrationStatus): MigrationException {
  const { reason, lastError } = status;
  if (reason?.code !== 'targetChanged' && lastError?.code !== 'MIGRATION_TARGET_CHANGED') {
    return haltedError(status);
  }
  return new MigrationException('MIGRATION_TARGET_CHANGED', lastError?.message ?? reason?.message ?? '');
}

/** For a migration that stands still until an operator acts. */
export function haltedError(status: MigrationStatus): MigrationException {
  const { modelId, modelName, migrationId, lastError } = status;
  const details = { modelId, modelName, migrationId, phase: status.phase };
  switch (status.state) {
    case 'Paused':
      return new MigrationException('MIGRATION_PAUSED', `${modelName} is paused: ${status.message ?? ''}`, {
        details,
      });
    case 'Canceled':
      return new MigrationException(
        'MIGRATION_CANCELED',
        `The migration of ${modelName} was canceled: ${status.message ?? ''}. resumeMigration lets it go on; ` +
          'resetMigration ends it for good, so that a mended program can begin anew.',
        { details },
      );
    default: {
      const { code = 'MIGRATION_FAILED', message = 'unknown' } = lastError ?? {};
      return new MigrationException(
        'MIGRATION_FAILED',
        `The migration of ${modelName} failed: ${code}: ${status.message ?? message}`,
        { details: { ...details, lastError } },
      );
    }
  }
}

function blockedBy(
  model: ConfiguredModel,
  dependency: MigrationStatus,
  path: readonly string[],
): MigrationException | undefined {
  if (dependency.state !== 'Failed' && dependency.state !== 'Canceled') return undefined;
  return new MigrationException(
    'DEPENDENCY_BLOCKED',
    `${model.name} waits for ${dependency.modelName}, whose migration is ${dependency.state}: ${path.join(' -> ')}.`,
    {
      details: { modelId: model.id, modelName: model.name, path },
      cause: haltedError(dependency),
    },
  );
}
