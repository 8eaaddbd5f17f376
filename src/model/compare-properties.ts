import { compareType } from './compare-type.ts';
import type { TypePair } from './compare-type.ts';
import type { DefinitionData, PropertiesData, PropertyData } from './data.ts';
import type { Difference } from './difference.ts';

/** Two sets of properties at the same place: of the models themselves, or of what is embedded there. */
export interface PropertiesPair {
  readonly stored: PropertiesData;
  readonly configured: PropertiesData;
  /** Path of the place, ending in a dot, or empty. */
  readonly prefix: string;
}

/** The whole definitions, in which embedded ones are found by name. */
export interface DefinitionPair {
  readonly stored: DefinitionData;
  readonly configured: DefinitionData;
}

/** Compares properties by their numbers, and what is reserved. */
export function compareProperties(pair: PropertiesPair, whole: DefinitionPair, difference: Difference): void {
  const { stored, configured, prefix } = pair;
  const storedByNumber = new Map(stored.properties.map((property) => [property.number, property]));
  const numbers = new Set(configured.properties.map(({ number }) => number));
  const gone = stored.properties.filter(({ number }) => !numbers.has(number));
  const renumbered = new Set<PropertyData>();

  for (const property of configured.properties) {
    const path = prefix + property.name;
    const before = storedByNumber.get(property.number);
    if (before !== undefined) {
      compareProperty(before, property, path, whole, difference);
      continue;
    }
    const same = gone.find(({ name }) => isCalled(property, name));
    if (same !== undefined) {
      renumbered.add(same);
      difference.breaks('number', path, `has number ${property.number} now, was ${same.number}`);
    } else if (property.required) {
      difference.breaks('requiredAdded', path, 'is new and required');
    } else {
      difference.allows(path, 'is new');
    }
  }
  for (const property of gone) {
    if (!renumbered.has(property)) compareRemoved(property, pair, difference);
  }
  compareReservations(pair, difference);
}

function compareProperty(
  before: PropertyData,
  property: PropertyData,
  path: string,
  whole: DefinitionPair,
  difference: Difference,
): void {
  if (before.name !== property.name) {
    if (property.alternativeNames.includes(before.name)) {
      difference.allows(path, `was called ${before.name}`);
    } else {
      difference.breaks('renamed', path, `was called ${before.name}, which is no alternative name of it`);
    }
  }
  const names = before.alternativeNames.filter((name) => !isCalled(property, name));
  if (names.length > 0) difference.allows(path, `has no alternative name ${names.join(', ')} any more`);
  if (property.required && !before.required) difference.breaks('required', path, 'is required now');
  if (!property.required && before.required) difference.allows(path, 'may be missing now');
  if (property.default !== before.default) difference.allows(path, 'has another default now');
  compareValue({ stored: before.type, configured: property.type, path }, whole, difference);
}

/** Compares types through what they are made of. */
function compareValue(pair: TypePair, whole: DefinitionPair, difference: Difference): void {
  const { stored, configured, path } = pair;
  compareType(pair, difference);
  if (stored.kind === 'list' && configured.kind === 'list') {
    compareValue({ stored: stored.of, configured: configured.of, path: `${path}[]` }, whole, difference);
  }
  if (stored.kind === 'set' && configured.kind === 'set') {
    compareValue({ stored: stored.of, configured: configured.of, path: `${path}[]` }, whole, difference);
  }
  if (stored.kind === 'map' && configured.kind === 'map') {
    const keys = { stored: stored.key, configured: configured.key, path: `${path}{key}` };
    compareValue(keys, whole, difference);
    const values = { stored: stored.of, configured: configured.of, path: `${path}{value}` };
    compareValue(values, whole, difference);
  }
  if (stored.kind === 'union' && configured.kind === 'union') {
    for (const [name, before] of Object.entries(stored.cases)) {
      const after = configured.cases[name];
      if (after?.number !== before.number) continue;
      const types = { stored: before.type, configured: after.type, path: `${path}<${name}>` };
      compareValue(types, whole, difference);
    }
  }
  if (stored.kind === 'embedded' && configured.kind === 'embedded') {
    compareEmbedded(stored.model, configured.model, path, whole, difference);
  }
}

function compareEmbedded(
  storedName: string,
  configuredName: string,
  path: string,
  whole: DefinitionPair,
  difference: Difference,
): void {
  if (storedName !== configuredName) {
    difference.allows(path, `the embedded model is called ${configuredName} now, was ${storedName}`);
  }
  if (!difference.isNew(storedName, configuredName)) return;
  const stored = whole.stored.embedded[storedName];
  const configured = whole.configured.embedded[configuredName];
  if (stored === undefined || configured === undefined)
    throw new RangeError(`${path} embeds an unknown model`);
  compareProperties({ stored, configured, prefix: `${path}.` }, whole, difference);
}

function compareRemoved({ name, number }: PropertyData, pair: PropertiesPair, difference: Difference): void {
  const path = pair.prefix + name;
  const { reservedNumbers, reservedNames } = pair.configured;
  const missing = [
    ...(reservedNumbers.includes(number) ? [] : [`number ${number}`]),
    ...(reservedNames.includes(name) ? [] : [`name "${name}"`]),
  ];
  if (missing.length === 0) difference.allows(path, 'was removed; its number and name are reserved');
  else difference.breaks('removed', path, `was removed without reserving ${missing.join(' and ')}`);
}

/** What was reserved stays so: a record may still hold a value under the number. */
function compareReservations({ stored, configured, prefix }: PropertiesPair, difference: Difference): void {
  const place = prefix.slice(0, -1);
  for (const number of stored.reservedNumbers) {
    if (configured.reservedNumbers.includes(number)) continue;
    const user = configured.properties.find((property) => property.number === number);
    if (user === undefined) {
      difference.breaks('reservationDropped', place, `number ${number} is not reserved any more`);
    } else {
      difference.breaks('reservedUsed', prefix + user.name, `uses number ${number}, which was reserved`);
    }
  }
  for (const name of stored.reservedNames) {
    if (configured.reservedNames.includes(name)) continue;
    const user = configured.properties.find((property) => isCalled(property, name));
    if (user === undefined) {
      difference.breaks('reservationDropped', place, `name "${name}" is not reserved any more`);
    } else {
      difference.breaks('reservedUsed', prefix + user.name, `uses name "${name}", which was reserved`);
    }
  }
}

function isCalled(property: PropertyData, name: string): boolean {
  return property.name === name || property.alternativeNames.includes(name);
}
