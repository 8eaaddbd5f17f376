import type { ListedModel } from '../store/open-stored.ts';
import { CommandFailure } from './failure.ts';

/**
 * The model that a person means, by its id or its name. A name in other letters of a case is a guess, and is not taken.
 *
 * @throws CommandFailure MODEL_UNKNOWN, with what may have been meant
 */
export function findModel<M extends Pick<ListedModel, 'modelId' | 'modelName'>>(
  asked: string,
  models: readonly M[],
): M {
  const isId = /^[1-9]\d*$/.test(asked);
  const found = models.find(({ modelId, modelName }) => modelName === asked || String(modelId) === asked);
  if (found !== undefined) return found;
  const names = models.map(({ modelName }) => modelName);
  const near = isId ? [] : nearest(asked, names);
  const known =
    models.length === 0
      ? 'It has none.'
      : `There are ${models.map(({ modelId, modelName }) => `${modelName} (${modelId})`).join(', ')}.`;
  const more = near.length === 0 ? known : `Did you mean ${near.join(' or ')}?`;
  throw new CommandFailure('MODEL_UNKNOWN', `The store has no model ${asked}. ${more}`, {
    details: { model: asked, suggestions: near, models: names },
  });
}

/** Names that are a slip of the pen away: the nearest ones, at most three. */
function nearest(asked: string, names: readonly string[]): readonly string[] {
  const measured = names
    .map((name) => ({ name, distance: editDistance(asked.toLowerCase(), name.toLowerCase()) }))
    .filter(
      ({ name, distance }) => distance <= Math.max(1, Math.floor(Math.max(name.length, asked.length) / 3)),
    );
  const least = Math.min(...measured.map(({ distance }) => distance));
  return measured
    .filter(({ distance }) => distance === least)
    .map(({ name }) => name)
    .slice(0, 3);
}

/** How many characters have to be added, left out, changed or swapped with their neighbour, to make one of the other. */
export function editDistance(left: string, right: string): number {
  let before: number[] = [];
  let above = Array.from({ length: right.length + 1 }, (_, at) => at);
  for (let row = 1; row <= left.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= right.length; column += 1) {
      const isSame = left[row - 1] === right[column - 1];
      const isSwapped =
        row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      const ways = [
        (above[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (above[column - 1] ?? 0) + (isSame ? 0 : 1),
        ...(isSwapped ? [(before[column - 2] ?? 0) + 1] : []),
      ];
      current.push(Math.min(...ways));
    }
    before = above;
    above = current;
  }
  return above[right.length] ?? 0;
}
