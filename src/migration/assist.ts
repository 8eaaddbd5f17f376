import { isBackfill } from './handlers.ts';
import { isStopping, readIntent } from './intent.ts';
import type { LeaseHandle } from './lease.ts';
import { leaseLost } from './lease.ts';
import { ownerFormat } from './owner.ts';
import type { Owner } from './owner.ts';
import { createIndexPass } from './passes/index-pass.ts';
import { readRanges } from './passes/ledger.ts';
import type { Pass } from './passes/mover.ts';
import { movePass } from './passes/mover.ts';
import { createTransformPass } from './passes/transform-pass.ts';
import { createTransformSetups } from './passes/transform-setups.ts';
import { createVerifyPass, verificationPlanOf } from './passes/verify-pass.ts';
import { planModel, readStoredModel } from './plan.ts';
import { migrationIdOf } from './read-status.ts';
import type { HeldMigration, ModelMigration } from './runtime.ts';
import type { MigrationReason } from './status.ts';
import { isLeaseLost } from './step.ts';
import { passOf } from './step-transitions.ts';
import { isRetryable } from './retry.ts';
import { readState } from './state.ts';
import { termsOf } from './terms.ts';
import { watchUntil } from './watch.ts';
import type { Transaction } from '../kv/kv.ts';
import { KeyValueError } from '../kv/kv.ts';
import type { PassName } from '../records/keys.ts';
import { passNames } from '../records/keys.ts';

/** Moves ranges of a migration that another node leads, while this one waits for it. */
export interface Assistant {
  /** Ends with the chunk under way, its claims given back. Twice is fine. */
  end(): Promise<void>;
}

/** What there is to help with, as of one transaction. */
interface Job {
  readonly owner: Buffer;
  readonly held: HeldMigration;
  readonly migration: ModelMigration;
  readonly pass: Pass;
}

/** How often work is looked for without a watch. Milliseconds. */
const lookMs = 1_000;

/**
 * Looks for ranges to move until it is ended. What goes wrong here fails nothing: the range is given back, and the leader,
 * who meets the same, says so where it counts. Under that ownership this process helps no more.
 */
export function assist(migration: ModelMigration): Assistant {
  const { runtime, configured } = migration;
  const { keys } = configured;
  const ending = new AbortController();
  const signal = AbortSignal.any([ending.signal, migration.stop]);
  let givenUp: Buffer | undefined;

  const findJob = () =>
    watchUntil<Job>({
      database: runtime.database,
      clock: runtime.clock,
      // The first range of a pass: written with all the others when it is planned.
      keys: [keys.owner, keys.state, keys.intent, ...passNames.map((pass) => keys.range(pass, 0))],
      pollMs: lookMs,
      signal,
      onHint: (look) => runtime.hints.listen(configured.id, look),
      look: async (tx) => {
        const job = await jobIn(tx, migration, signal);
        return job === undefined || givenUp?.equals(job.owner) === true ? undefined : job;
      },
    });

  const help = async (): Promise<void> => {
    for (;;) {
      const job = await findJob();
      if (job === undefined) return;
      try {
        await movePass(job.migration, job.held, job.pass, { role: 'helper' });
        // What is left, others move: there may be more with the next phase, or when one of them dies.
        await rest(job, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (isLeaseLost(error)) continue;
        if (isPassing(error)) {
          await rest(job, signal);
          continue;
        }
        givenUp = job.owner;
        job.held.logger.warn({ err: error }, 'this node cannot help with a migration; its leader goes on');
      }
    }
  };
  const over = help().catch((error: unknown) => {
    migration.logger.warn({ err: error }, 'this node looks for no more ranges');
  });
  return {
    async end() {
      ending.abort();
      await over;
    },
  };
}

/** What the database, or the error itself, says may go well later. */
const isPassing = (error: unknown): boolean => error instanceof KeyValueError || isRetryable(error);

/**
 * A while, or until the leader has come further, or somebody says that ranges are free: others may have died meanwhile, or
 * have more before them.
 */
async function rest({ migration, held, owner }: Job, signal: AbortSignal): Promise<void> {
  const { runtime, model } = migration;
  const { keys } = model;
  const over = new AbortController();
  // Of the silence of others no more than two heartbeats count between two looks.
  const restMs = Math.min(lookMs, runtime.heartbeatMs);
  const timer = runtime.clock.setTimeout(() => over.abort(), restMs);
  const endHints = runtime.hints.listen(model.id, () => over.abort());
  await watchUntil({
    database: runtime.database,
    clock: runtime.clock,
    keys: [keys.owner, keys.state],
    signal: AbortSignal.any([signal, over.signal]),
    look: async (tx) => {
      const [state, present] = await Promise.all([readState(tx, keys), tx.get(keys.owner)]);
      const isSame = state?.revision === held.state.revision && present?.equals(owner) === true;
      return isSame ? undefined : true;
    },
  });
  runtime.clock.clearTimeout(timer);
  endHints();
}

async function jobIn(
  tx: Transaction,
  migration: ModelMigration,
  signal: AbortSignal,
): Promise<Job | undefined> {
  const { runtime, configured } = migration;
  const { keys } = configured;
  const ownerBytes = await tx.get(keys.owner);
  const owner = ownerFormat.parseOptional(ownerBytes);
  if (ownerBytes === undefined || owner === undefined || owner.token === '') return undefined;
  if (owner.session === runtime.session) return undefined;
  const [state, stored, fence] = await Promise.all([
    readState(tx, keys),
    readStoredModel(tx, keys),
    tx.get(keys.fence),
  ]);
  const plan = planModel(stored, configured);
  if (state === undefined || stored === undefined || fence === undefined) return undefined;
  if (plan.type !== 'migrate' && plan.type !== 'index') return undefined;
  if (state.migrationId !== migrationIdOf(plan) || state.status !== 'Running' || state.phaseCompleted) {
    return undefined;
  }
  if (isStopping(await readIntent(tx, keys, state.migrationId))) return undefined;
  const handlers = migration.handlersFor(plan.target, stored.current.version);
  const mine: ModelMigration = { ...migration, model: plan.target, handlers, stop: signal, held: undefined };
  const held: HeldMigration = {
    lease: leaseOf(ownerBytes, owner, keys.owner),
    logger: runtime.loggerFor({
      model: configured.name,
      migrationId: state.migrationId,
      epoch: owner.epoch,
    }),
    stored,
    fence,
    state,
    isFresh: false,
  };
  const isLeft = async (pass?: PassName) => {
    const rows = await readRanges(tx, keys, pass, { snapshot: true });
    return rows.some(({ done }) => !done);
  };
  if (termsOf(mine) !== state.terms) {
    if (await isLeft()) migration.mismatch = mismatchOf(migration, owner);
    return undefined;
  }
  migration.mismatch = undefined;
  // What is left of another pass is nobody's any more.
  const name = passOf(mine, state);
  const pass = name !== undefined && (await isLeft(name)) ? passFor(mine, held, name) : undefined;
  return pass === undefined ? undefined : { owner: ownerBytes, held, migration: mine, pass };
}

/** Undefined where this program would do it otherwise than the leader. */
function passFor(migration: ModelMigration, held: HeldMigration, name: PassName): Pass | undefined {
  const { state, stored } = held;
  switch (name) {
    case 'backfill': {
      const spec = migration.handlers.backfill;
      if (!isBackfill(spec)) return undefined;
      return createTransformPass(migration, createTransformSetups(migration, stored, state, spec), spec);
    }
    case 'index':
      return createIndexPass(migration, state);
    case 'verify': {
      const plan = verificationPlanOf(migration, state);
      return plan === undefined ? undefined : createVerifyPass(migration, state, plan);
    }
  }
}

function mismatchOf({ runtime, mismatch }: ModelMigration, { nodeId }: Owner): MigrationReason {
  const message = `this node does not help ${nodeId}: it has another transform, or verifies in another way`;
  return mismatch ?? { code: 'transformMismatch', message, sinceMs: runtime.clock.wallMs() };
}

/** Commits under the ownership of another: they conflict with whoever ends it. */
function leaseOf(row: Buffer, { epoch }: Owner, key: Buffer): LeaseHandle {
  const lost = new AbortController();
  return {
    epoch,
    takeover: false,
    lost: lost.signal,
    async guard(tx) {
      const owner = await tx.get(key);
      if (owner?.equals(row) === true) return;
      const error = leaseLost(epoch);
      lost.abort(error);
      throw error;
    },
    release: () => Promise.resolve(),
  };
}
