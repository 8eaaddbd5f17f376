import { limits } from '../limits.ts';
import type { DefinitionData, PropertiesData, PropertyData, RecordData, ReferenceKeys } from './data.ts';
import { isInstant } from '../ports/instant.ts';
import type { MapTypeData, TypeData, UnionTypeData } from './data.ts';
import { at, fine, isObject, maxViolations, violated } from './violation.ts';
import type { Check, Violation } from './violation.ts';
import { enumCheck, scalarCheck, sizeChecks } from './validate-scalar.ts';
import { keyCheck } from './validate-key.ts';

export type { Violation } from './violation.ts';

/**
 * Validating records. A definition is compiled once into closures; a record that is fine costs no allocation but
 * the list of its keys.
 */

/** Answers what is wrong with a record: the same empty array whenever nothing is. */
export type Validator = (record: unknown) => readonly Violation[];

export interface ValidatorOptions {
  /** Key shapes of the models referred to. Default none: then any key passes. */
  readonly references?: ReferenceKeys | undefined;
  /** Names that a record may have although the definition does not: what a transform left over. Default none. */
  readonly tolerate?: Iterable<string> | undefined;
  /** Whether an enum takes a number that none of its cases has, as a newer program wrote it. Default false. */
  readonly unknownCases?: boolean | undefined;
}

/** Levels of embedded records. */
const maxDepth = limits.model.recordDepth.value;

/** Compiles the validator of one definition. */
export function createValidator(data: DefinitionData, options: ValidatorOptions = {}): Validator {
  const compiler = new Compiler(data, options);
  const check = compiler.record(data, new Set(options.tolerate));
  return (record) => check(record, 0);
}

const noSet = violated('type', 'must be a Set');
const noMap = violated('type', 'must be a Map');
const noUnion = violated('type', 'must be an object of case and value');
const required = violated('required', 'is required');
const notDistinct = violated('distinct', 'must not have two equal elements or keys');

function withMore(
  found: readonly Violation[],
  part: string,
  more: readonly Violation[],
): readonly Violation[] {
  return more === fine ? found : [...found, ...at(part, more)];
}

/** JavaScript tells a `Date` or bytes apart by identity; a set and a map must not hold one value twice. */
function distinct(values: Iterable<unknown>): readonly Violation[] {
  const seen = new Set<string>();
  for (const value of values) {
    if (typeof value !== 'object') continue;
    const text = textOf(value);
    if (seen.has(text)) return notDistinct;
    seen.add(text);
  }
  return fine;
}

function textOf(value: unknown): string {
  if (value instanceof Uint8Array) return `bytes ${Buffer.from(value).toString('hex')}`;
  if (isInstant(value)) return `instant ${value.getTime()}`;
  if (!isObject(value)) return `${typeof value} ${String(value)}`;
  const parts = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1));
  return `{${parts.map(([name, part]) => `${name} ${textOf(part)}`).join(', ')}}`;
}

class Compiler {
  readonly #data: DefinitionData;
  readonly #references: ReferenceKeys;
  readonly #unknownCases: boolean;
  readonly #embedded = new Map<string, Check>();

  constructor(data: DefinitionData, { references = {}, unknownCases = false }: ValidatorOptions) {
    this.#data = data;
    this.#references = references;
    this.#unknownCases = unknownCases;
  }

  record(data: PropertiesData, tolerated: ReadonlySet<string>): Check {
    const properties = data.properties.map((property) => this.#property(property));
    const known = new Set([...data.properties.map(({ name }) => name), ...tolerated]);
    const noObject = violated('type', 'must be an object of properties');
    const tooDeep = violated('depth', `must not be nested deeper than ${maxDepth} levels`);
    return (value, depth) => {
      if (!isObject(value)) return noObject;
      if (depth > maxDepth) return tooDeep;
      let found = fine;
      for (const check of properties) {
        const more = check(value, depth);
        if (more !== fine) found = found === fine ? more : [...found, ...more];
      }
      for (const name of Object.keys(value)) {
        if (known.has(name) || value[name] === undefined) continue;
        found = [...found, ...at(name, violated('unknown', 'is no property of the model'))];
        if (found.length >= maxViolations) break;
      }
      return found;
    };
  }

  #property({
    name,
    required,
    type,
  }: PropertyData): (record: RecordData, depth: number) => readonly Violation[] {
    const check = this.type(type);
    const absent = required ? at(name, violated('required', 'is required')) : fine;
    return (record, depth) => {
      const value = record[name];
      if (value === undefined) return absent;
      const found = check(value, depth);
      return found === fine ? fine : at(name, found);
    };
  }

  type(type: TypeData): Check {
    switch (type.kind) {
      case 'enum':
        return enumCheck(type, this.#unknownCases);
      case 'list':
        return this.#list(type);
      case 'set':
        return this.#set(type);
      case 'map':
        return this.#map(type);
      case 'union':
        return this.#union(type);
      case 'embedded':
        return this.#embeddedRecord(type.model);
      case 'reference':
        return keyCheck(type.to, this.#references);
      case 'string':
      case 'boolean':
      case 'int32':
      case 'int64':
      case 'float64':
      case 'timestamp':
      case 'date':
      case 'decimal':
      case 'bytes':
        return scalarCheck(type);
    }
  }

  #set(type: TypeData & { readonly kind: 'set' }): Check {
    const element = this.type(type.of);
    const size = sizeChecks(type, 'elements');
    return (value, depth) => {
      if (!(value instanceof Set)) return noSet;
      let found = size(value.size);
      for (const [index, one] of [...value].entries()) {
        if (found.length >= maxViolations) break;
        const more = element(one, depth);
        if (more !== fine) found = [...found, ...at(`[${index}]`, more)];
      }
      return found === fine ? distinct(value) : found;
    };
  }

  #map(type: MapTypeData): Check {
    const key = this.type(type.key);
    const inner = this.type(type.of);
    const size = sizeChecks(type, 'entries');
    return (value, depth) => {
      if (!(value instanceof Map)) return noMap;
      let found = size(value.size);
      let index = 0;
      for (const [name, one] of value) {
        if (found.length >= maxViolations) break;
        // Keys are data: they are told by their place.
        found = withMore(found, `{key ${index}}`, key(name, depth));
        found = withMore(found, `{value ${index}}`, inner(one, depth));
        index += 1;
      }
      return found === fine ? distinct(value.keys()) : found;
    };
  }

  #union({ cases }: UnionTypeData): Check {
    const checks = new Map(Object.entries(cases).map(([name, { type }]) => [name, this.type(type)]));
    const numbers = new Set(Object.values(cases).map(({ number }) => number));
    const noCase = at('case', violated('case', `must be one of ${[...checks.keys()].join(', ')}`));
    const extra = violated('unknown', 'must have the properties case and value, and no others');
    return (value, depth) => {
      if (!isObject(value)) return noUnion;
      if (Object.keys(value).some((name) => name !== 'case' && name !== 'value')) return extra;
      const { case: name } = value;
      const isUnknown = typeof name === 'number' && Number.isInteger(name) && !numbers.has(name);
      // What a newer program wrote was read as a number, and is written back as it was.
      if (this.#unknownCases && isUnknown) return fine;
      const check = typeof name === 'string' ? checks.get(name) : undefined;
      if (check === undefined) return noCase;
      const found = value['value'] === undefined ? required : check(value['value'], depth);
      return found === fine ? fine : at('value', found);
    };
  }

  #list(type: TypeData & { readonly kind: 'list' }): Check {
    const element = this.type(type.of);
    const size = sizeChecks(type, 'elements');
    const noArray = violated('type', 'must be an array');
    return (value, depth) => {
      if (!Array.isArray(value)) return noArray;
      let found = size(value.length);
      for (let index = 0; index < value.length && found.length < maxViolations; index += 1) {
        const more = element(value[index], depth);
        if (more !== fine) found = [...found, ...at(`[${index}]`, more)];
      }
      return found;
    };
  }

  /** Compiled at first use: an embedded definition may contain itself. */
  #embeddedRecord(name: string): Check {
    return (value, depth) => {
      let check = this.#embedded.get(name);
      if (check === undefined) {
        const data = this.#data.embedded[name];
        if (data === undefined) throw new RangeError(`${this.#data.name} embeds no ${name}`);
        check = this.record(data, new Set());
        this.#embedded.set(name, check);
      }
      return check(value, depth + 1);
    };
  }
}
