import type { GodwitException } from '../errors.ts';
import { MigrationException } from '../errors.ts';
import { isBackfill } from '../migration/handlers.ts';
import { createTransformSetups } from '../migration/passes/transform-setups.ts';
import { isBegunInOnePass } from '../migration/plan.ts';
import {
  refuseMissingHandlers,
  refuseMissingStep,
  refuseMixedRecords,
  refuseReferencedKeyChange,
} from '../migration/preflight.ts';
import type { MigrationRuntime } from '../migration/runtime.ts';
import { readState } from '../migration/state.ts';
import { referencesOf } from '../model/resolve.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import { checkTransform, legSetups } from '../records/load-transform.ts';
import type { StoreCore } from './core.ts';
import type { ForeseenMigration, ForeseenStep, Survey } from './foresee.ts';
import { foreseeSteps } from './foresee.ts';

/** A model with all that lies ahead of it. */
export interface Foreseen extends Survey {
  readonly ahead: readonly ForeseenStep[];
}

/** What it takes to find what would be refused. */
export interface Refuser {
  /** All that are registered. */
  readonly models: readonly ConfiguredModel[];
  readonly runtime: Pick<MigrationRuntime, 'role' | 'random' | 'pool'>;
}

/** All that can be known to go wrong, before a key is written: the database stays as it was. Throws the first. */
export async function refuseBeforeWriting(core: StoreCore, surveyed: readonly Survey[]): Promise<void> {
  const { database } = core.runtime;
  if (!surveyed.some(mayMigrate)) return;
  const foreseen = await database.transact((tx) =>
    Promise.all(
      surveyed.map(async (one) => {
        if (!mayMigrate(one)) return { ...one, ahead: [] };
        const state = await readState(tx, one.model.keys);
        return { ...one, ahead: await foreseeSteps(tx, core, one, state) };
      }),
    ),
  );
  for await (const error of refusals(core, foreseen)) throw error;
}

/** At once, or once what comes before it is published. */
function mayMigrate({ model, stored, plan }: Survey): boolean {
  return (
    plan.type === 'migrate' || (plan.type === 'publish' && stored !== undefined && model.steps.length > 0)
  );
}

/** Everything that is to be refused, in the order in which it is looked for; what is not asked for is not looked for. */
export async function* refusals(
  { models, runtime }: Refuser,
  foreseen: readonly Foreseen[],
): AsyncGenerator<GodwitException, void, undefined> {
  // Another process does it, with handlers of its own.
  if (runtime.role === 'wait') return;
  for (const { model, stored, plan } of foreseen) {
    if (plan.type === 'migrate' && stored !== undefined)
      yield* thrownBy(() => refuseMissingStep(model, stored));
  }
  const ahead = foreseen.flatMap((one) => one.ahead).filter((step) => step.type === 'migrate');
  // Those that were begun in one pass fail by themselves where they cannot go on: an operator needs the store to reset.
  const needy = ahead
    .filter(({ plan, stored }) => !isBegunInOnePass(stored, plan.target))
    .map(({ plan: { target, reasons }, handlers }) => ({ target, reasons, handlers }));
  yield* thrownBy(() => refuseMissingHandlers(needy));
  for (const { plan, stored, handlers } of ahead) {
    const { target } = plan;
    yield* thrownBy(() => refuseReferencedKeyChange(target, stored, referringTo(target, models)));
    yield* thrownBy(() => refuseMixedRecords({ model: target, handlers }, stored));
  }
  const checked = await Promise.allSettled(ahead.map((one) => refuseUnfitTransform(runtime, one)));
  for (const one of checked) {
    if (one.status === 'rejected')
      yield* thrownBy(() => {
        throw one.reason;
      });
  }
}

function* thrownBy(check: () => void): Generator<GodwitException, void, undefined> {
  try {
    check();
  } catch (error) {
    if (!(error instanceof MigrationException)) throw error;
    yield error;
  }
}

function referringTo(model: ConfiguredModel, models: readonly ConfiguredModel[]): readonly string[] {
  return models
    .filter(({ name }) => name !== model.name)
    .filter(({ data }) => referencesOf(data).some(({ to, weak }) => to === model.name && !weak))
    .map(({ name }) => name);
}

/** Loads modules in a worker thread, where they will run. @throws MigrationException TRANSFORM_INVALID */
async function refuseUnfitTransform(
  runtime: Refuser['runtime'],
  { plan: { target }, handlers, closed }: ForeseenMigration,
): Promise<void> {
  if (!isBackfill(handlers.backfill)) return;
  const { work } = handlers.backfill;
  const model = target;
  const [setup] = createTransformSetups({ runtime, model }, closed.stored, closed.state, handlers.backfill);
  if (setup === undefined) return;
  const works = work.type === 'composed' ? work.legs.map((leg) => leg.work) : [work];
  legSetups(setup).forEach((leg, at) => {
    const one = works[at];
    if (one?.type === 'inline' && one.definition !== undefined) checkTransform(leg, one.definition);
  });
  if (!works.some(({ type }) => type === 'module')) return;
  const answer = await runtime.pool.run({ kind: 'check', setup });
  if (answer.kind === 'checked') return;
  const message = 'message' in answer ? answer.message : 'The worker answered another question.';
  throw new MigrationException('TRANSFORM_INVALID', message, {
    details: { modelId: target.id, modelName: target.name },
  });
}
