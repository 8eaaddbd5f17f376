import { GodwitException } from '../errors.ts';
import type { MigrationStatus } from '../migration/status.ts';
import type { Clock } from '../ports/clock.ts';
import { sleep } from '../ports/clock.ts';
import type { StoreOptions } from '../store/options.ts';
import { FoundationDBDataStore } from '../store/store.ts';
import { lookMs } from './console.ts';
import { endedBy } from './end.ts';
import { exitCodeOf, exitCodes } from './exit-codes.ts';
import { CommandFailure } from './failure.ts';

export interface RunOptions {
  /** With the nodeId by which this process knows itself. */
  readonly options: StoreOptions & { readonly nodeId: string };
  /** Whether somebody else's migration is waited for. */
  readonly waits: boolean;
  /** Aborts when the time is over, or the process is told to end. */
  readonly end: AbortSignal;
  readonly clock: Clock;
  readonly show: (statuses: readonly MigrationStatus[]) => void;
}

const standing = 'Nothing is lost: whoever comes next goes on where this stopped.';

/**
 * Opens a store and migrates until all of its models are published, or stand still. Whichever way it ends, the store is
 * closed: its ranges and its leases are free for others.
 *
 * @throws CommandFailure MIGRATION_FAILED, MIGRATION_CANCELED and other codes of what went wrong; TIMEOUT, INTERRUPTED;
 *   MIGRATION_PENDING where another owner has what is left
 */
export async function runMigrations(run: RunOptions): Promise<readonly MigrationStatus[]> {
  const { options, end, show } = run;
  let store: FoundationDBDataStore;
  try {
    store = await FoundationDBDataStore.open({
      ...options,
      migrationRole: 'migrate',
      migrationStartupBudgetMs: 0,
      continueMigrationsInBackground: true,
      signal: end,
    });
  } catch (error) {
    throw end.aborted ? endedBy(end, standing) : error;
  }
  try {
    const errors = await settle(store, run);
    if (end.aborted) throw endedBy(end, standing);
    const statuses = await store.migrationStatuses();
    show(statuses);
    const worst = worstOf(errors);
    if (worst !== undefined) throw failureOf(worst, statuses);
    return statuses;
  } finally {
    await store.close();
  }
}

/** What went wrong with each model that will not be ready. */
async function settle(
  store: FoundationDBDataStore,
  { options, waits, end, clock, show }: RunOptions,
): Promise<readonly unknown[]> {
  const over = new AbortController();
  const settled = Promise.all(
    (await store.migrationStatuses()).map(({ modelId }) =>
      store.awaitMigration(modelId, { signal: end }).then(
        () => undefined,
        (error: unknown) => error,
      ),
    ),
  ).finally(() => over.abort());
  while (!over.signal.aborted && !end.aborted) {
    const statuses = await store.migrationStatuses();
    show(statuses);
    if (!waits && isLeftToOthers(statuses, options.nodeId)) throw leftToOthers(statuses, options.nodeId);
    await sleep(clock, lookMs, AbortSignal.any([over.signal, end]));
  }
  return (await settled).filter((error) => error !== undefined);
}

type Standing = Pick<MigrationStatus, 'state' | 'owner' | 'reason' | 'modelName'>;

/** Whether all that is left to do is in other hands, or waits for what is. */
export function isLeftToOthers(statuses: readonly Standing[], ownNodeId: string): boolean {
  const left = statuses.filter(({ state }) => state === 'Waiting' || state === 'Running');
  const isOthers = ({ owner }: Standing) => owner !== null && owner.nodeId !== ownNodeId;
  return (
    left.some(isOthers) && left.every((status) => isOthers(status) || status.reason?.code === 'dependency')
  );
}

function leftToOthers(statuses: readonly MigrationStatus[], ownNodeId: string): CommandFailure {
  const owners = statuses.flatMap(({ modelName, owner }) =>
    owner === null || owner.nodeId === ownNodeId ? [] : [`${modelName} by ${owner.nodeId}`],
  );
  return new CommandFailure('MIGRATION_PENDING', `Others migrate what is left: ${owners.join(', ')}.`, {
    exitCode: exitCodes.otherOwner,
    details: { statuses },
  });
}

/** What it comes down to: a model that waits for another says less than that one. */
function worstOf(errors: readonly unknown[]): unknown {
  const rank = (error: unknown) => {
    if (!(error instanceof GodwitException)) return 0;
    if (error.code === 'MIGRATION_FAILED') return 1;
    if (error.code === 'MIGRATION_CANCELED') return 3;
    return error.code === 'DEPENDENCY_BLOCKED' ? 4 : 2;
  };
  return errors.toSorted((left, right) => rank(left) - rank(right))[0];
}

/** With where everything stands; what failed because of this program has that exit code. */
function failureOf(error: unknown, statuses: readonly MigrationStatus[]): unknown {
  if (!(error instanceof GodwitException)) return error;
  const { code, message, details } = error;
  const { modelId } = details;
  const failed = statuses.find((status) => status.modelId === modelId);
  const cause =
    failed?.reason?.code === 'targetChanged' ? 'MIGRATION_TARGET_CHANGED' : failed?.lastError?.code;
  const isUnfit = code === 'MIGRATION_FAILED' && exitCodeOf(cause) === exitCodes.unfit;
  return new CommandFailure(isUnfit ? String(cause) : code, message, { details: { ...details, statuses } });
}
