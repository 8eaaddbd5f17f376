import { MigrationException } from '../errors.ts';
import type { ResolvedModel } from './resolve.ts';
import { referencesOf } from './resolve.ts';

/** In which order models migrate, and which ones each of them waits for. */
export interface ModelOrder {
  /** Each model behind all its dependencies; where that leaves a choice, by name, then id. */
  readonly order: readonly ResolvedModel[];
  /** Of each model id the ids it depends on, without itself, ascending. */
  readonly dependencies: ReadonlyMap<number, readonly number[]>;
}

/**
 * Orders models by what they refer to and embed, also inside lists and embedded definitions. Weak references and
 * those of a model to itself order nothing.
 *
 * @throws MigrationException MIGRATION_CYCLE with the way round (`A -> B -> A`) in the message, and as names in
 *   `details.path`.
 */
export function orderModels(models: readonly ResolvedModel[]): ModelOrder {
  const byName = new Map(models.map((model) => [model.data.name, model]));
  const dependencies = new Map(models.map((model) => [model.id, dependenciesOf(model, byName)]));
  const order: ResolvedModel[] = [];
  const done = new Set<number>();
  const waiting = [...models].sort(byNameThenId);
  while (waiting.length > 0) {
    const at = waiting.findIndex(({ id }) => dependencies.get(id)?.every((other) => done.has(other)));
    const [next] = at === -1 ? [] : waiting.splice(at, 1);
    if (next === undefined) throw cycle(waiting, dependencies);
    order.push(next);
    done.add(next.id);
  }
  return { order, dependencies };
}

function dependenciesOf(model: ResolvedModel, byName: ReadonlyMap<string, ResolvedModel>): readonly number[] {
  const strong = referencesOf(model.data).filter(({ weak }) => !weak);
  const names = [...strong.map(({ to }) => to), ...Object.keys(model.data.embedded)];
  const ids = names.map((name) => byName.get(name)?.id).filter((id) => id !== undefined && id !== model.id);
  return [...new Set(ids as number[])].sort((left, right) => left - right);
}

function byNameThenId(left: ResolvedModel, right: ResolvedModel): number {
  if (left.data.name !== right.data.name) return left.data.name < right.data.name ? -1 : 1;
  return left.id - right.id;
}

/** Each of the waiting models depends on another one that waits: following them must come round. */
function cycle(
  waiting: readonly ResolvedModel[],
  dependencies: ReadonlyMap<number, readonly number[]>,
): MigrationException {
  const walked: ResolvedModel[] = [];
  let at = waiting[0];
  while (at !== undefined && !walked.includes(at)) {
    walked.push(at);
    const ids = dependencies.get(at.id) ?? [];
    at = waiting.find(({ id }) => ids.includes(id));
  }
  const round = at === undefined ? walked : [...walked.slice(walked.indexOf(at)), at];
  const path = round.map(({ data }) => data.name);
  return new MigrationException(
    'MIGRATION_CYCLE',
    `Models depend on each other in a circle: ${path.join(' -> ')}. Make one of the references weak.`,
    { details: { path } },
  );
}
