import { hasOtherEncoding } from './compare-type.ts';
import type { DefinitionData, IndexData, PropertyData } from './data.ts';
import type { Difference } from './difference.ts';

/**
 * Compares indexes, and answers the names of those whose entries have to be written anew: new ones, ones that changed,
 * and ones over a property whose encoding changed.
 *
 * @param building names of stored indexes that are not complete
 */
export function compareIndexes(
  stored: DefinitionData,
  configured: DefinitionData,
  building: ReadonlySet<string>,
  difference: Difference,
): readonly string[] {
  const storedByName = new Map(stored.indexes.map((index) => [index.name, index]));
  const names = new Set(configured.indexes.map(({ name }) => name));
  for (const { name } of stored.indexes) {
    if (!names.has(name)) difference.allows('', `index ${name} was removed`);
  }
  const storedNumbers = new Set(stored.properties.map(({ number }) => number));
  // One that is dropped or filled anew keeps nobody from adding a duplicate while the other is not complete.
  const isKept = (index: IndexData) =>
    configured.indexes.some(
      (other) => other.name === index.name && hasSameEntries(index, stored, other, configured),
    );
  const unique = stored.indexes.filter((index) => index.unique);
  const uniqueThroughout = unique.filter(isKept).map((index) => numbersOf(index, stored));
  /** What keeps the values of an index unique until it is built, where nothing of that stays. */
  const lastGuards = (index: IndexData): readonly IndexData[] => {
    if (!index.unique) return [];
    const numbers = numbersOf(index, configured);
    const guards = unique
      .filter(({ name }) => !building.has(name))
      .filter((other) => numbersOf(other, stored).every((number) => numbers.includes(number)));
    return guards.some(isKept) ? [] : guards;
  };
  const fill: string[] = [];
  for (const index of configured.indexes) {
    const before = storedByName.get(index.name);
    if (before !== undefined && hasSameEntries(before, stored, index, configured)) {
      const left = building.has(index.name) ? lastGuards(index) : [];
      if (left.length === 0) continue;
      fill.push(index.name);
      difference.breaks(
        'unique',
        '',
        `index ${index.name} is unique and still being built, and ${left.map(({ name }) => name).join(', ')}, ` +
          'by which its values stay unique until then, is removed or changed',
      );
      continue;
    }
    fill.push(index.name);
    difference.allows('', `index ${index.name} ${before === undefined ? 'is new' : 'is filled anew'}`);
    if (!index.unique) continue;
    const numbers = numbersOf(index, configured);
    // Two records that are alike in all of these properties are so in some of them, too.
    const staysUnique = uniqueThroughout.some((others) => others.every((number) => numbers.includes(number)));
    // A record without a value cannot offend, and nobody has one of a new property.
    const mayOffend = numbers.every((number) => storedNumbers.has(number));
    if (!staysUnique && mayOffend) {
      difference.breaks('unique', '', `index ${index.name} is unique, which existing records may not be`);
    }
  }
  return fill;
}

function hasSameEntries(
  before: IndexData,
  stored: DefinitionData,
  after: IndexData,
  configured: DefinitionData,
): boolean {
  if (before.unique !== after.unique || before.on.length !== after.on.length) return false;
  return before.on.every((part, position) => {
    const other = after.on[position];
    if (other === undefined || other.reversed !== part.reversed) return false;
    const [left, right] = [propertyOf(stored, part.property), propertyOf(configured, other.property)];
    return left.number === right.number && !hasOtherEncoding(left.type, right.type);
  });
}

function numbersOf({ on }: IndexData, data: DefinitionData): readonly number[] {
  return on.map(({ property }) => propertyOf(data, property).number);
}

function propertyOf(data: DefinitionData, name: string): PropertyData {
  const found = data.properties.find((property) => property.name === name);
  if (found === undefined) throw new RangeError(`${data.name} has no property "${name}"`);
  return found;
}
