import type { GodwitException } from '../errors.ts';
import { MigrationException } from '../errors.ts';
import { openDatabaseToRead } from '../kv/open.ts';
import type { TransformPool } from '../migration/runtime.ts';
import { readStoreRow } from '../records/store-row.ts';
import { configureProgram } from './configure.ts';
import type { Ports } from './core.ts';
import { describeModel, isBlocking } from './plan/describe.ts';
import type { Look, Looker } from './plan/look.ts';
import { lookAt } from './plan/look.ts';
import { estimateSize } from './plan/estimate.ts';
import type { PlanOptions } from './plan/options.ts';
import { checkPlanOptions, checkShown } from './plan/options.ts';
import { createReader } from './plan/reader.ts';
import type {
  MigrationPlanReport,
  ModelPlanReport,
  PlanProblem,
  SampleReport,
  SizeEstimate,
} from './plan/report.ts';
import type { Sampler } from './plan/sample.ts';
import { sampleMigration } from './plan/sample.ts';
import { refusals } from './refuse-before-writing.ts';
import { throwIfAborted } from './request-error.ts';
import { useSharedPool } from './shared-pool.ts';

/** What `planMigrations` does, with this clock and chance. */
export async function planMigrationsWith(
  given: PlanOptions,
  { clock, random }: Pick<Ports, 'clock' | 'random'>,
): Promise<MigrationPlanReport> {
  const checked = checkPlanOptions(given);
  const { options } = checked;
  const { signal } = options;
  throwIfAborted(signal);
  const program = configureProgram(options);
  const database = await openDatabaseToRead(options.database, { clock, random });
  const ownPool = options.pool === undefined ? useSharedPool() : undefined;
  const pool = (ownPool?.pool ?? options.pool) as TransformPool;
  try {
    const reader = createReader(database, signal);
    const looker: Looker = {
      ...program,
      clock,
      stalledAfterMs: options.migrationStalledAfterMs,
      leads: options.migrationRole === 'migrate',
      refusesHalted: !options.continueMigrationsInBackground,
    };
    const { storeRow, looks } = await reader.read(async (tx) => ({
      storeRow: await readStoreRow(tx, program.keys),
      looks: await Promise.all(
        program.order.order.flatMap(({ id }) =>
          program.models.filter((model) => model.id === id).map((model) => lookAt(tx, looker, model)),
        ),
      ),
    }));
    checkShown(checked.show, propertiesOf(looks));
    const blocking = new Set(looks.filter(isBlocking).map(({ model }) => model.id));
    const nameOf = new Map(program.models.map(({ id, name }) => [id, name]));
    const refuser = { models: program.models, runtime: { role: options.migrationRole, random, pool } };
    const slow = createReader(database, signal, 'batch');
    const sampler: Sampler = { reader: slow, clock, random, pool, checked };
    const models: ModelPlanReport[] = [];
    const problems: PlanProblem[] = [];
    for (const look of looks) {
      const refused: GodwitException[] = [];
      for await (const error of refusals(refuser, [look])) refused.push(error);
      // Who is refused before anything is written never asks what else is in the way.
      if (refused.length === 0 && look.hindrance !== undefined && !look.isOwned) {
        problems.push(problemOf(look, look.hindrance));
      }
      for (const error of refused) problems.push(problemOf(look, error));
      const estimate = look.ranges.length === 0 ? null : await estimateSize(reader, look.ranges);
      const sampled = refused.length === 0 ? await sampleOf(sampler, look, estimate) : null;
      if (sampled instanceof MigrationException) problems.push(problemOf(look, sampled));
      const waitsFor = isBlocking(look) ? (program.order.dependencies.get(look.model.id) ?? []) : [];
      models.push({
        ...describeModel(look, options.migrationVerification),
        waitsFor: waitsFor.filter((id) => blocking.has(id)).map((id) => nameOf.get(id) ?? String(id)),
        estimate,
        sample: sampled instanceof MigrationException ? null : sampled,
      });
    }
    return { engine: database.engine, isNew: storeRow === undefined, models, problems };
  } catch (error) {
    throwIfAborted(signal);
    throw error;
  } finally {
    await ownPool?.release();
    await database.close();
  }
}

/** A transform that ends its threads is a problem of the plan, and not of planning. */
async function sampleOf(
  sampler: Sampler,
  { ahead, stored }: Look,
  size: SizeEstimate | null,
): Promise<SampleReport | MigrationException | null> {
  // Records of a later step are not there yet.
  const first = ahead.find((step) => step.type === 'migrate');
  if (sampler.checked.sample === 0 || first === undefined || stored === undefined || size === null)
    return null;
  try {
    return (await sampleMigration(sampler, first, size)) ?? null;
  } catch (error) {
    if (error instanceof MigrationException) return error;
    throw error;
  }
}

function problemOf({ model }: Look, { code, message }: GodwitException): PlanProblem {
  return { code, message, modelId: model.id, modelName: model.name };
}

function propertiesOf(looks: readonly Look[]): ReadonlySet<string> {
  const definitions = looks.flatMap(({ model, stored, ahead }) => [
    model.data,
    ...(stored === undefined ? [] : [stored.current.data]),
    ...ahead.map(({ plan }) => plan.target.data),
  ]);
  return new Set(definitions.flatMap(({ properties }) => properties.map(({ name }) => name)));
}
