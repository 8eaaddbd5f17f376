import type { DefinitionData, PropertiesData, PropertyData, RecordData, ReferenceKeys } from './data.ts';
import type { TypeData } from './data.ts';
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

/** Levels of embedded records; source: far above any sane model, far below the depth of the stack. */
const maxDepth = 100;

/** Compiles the validator of one definition. */
export function createValidator(data: DefinitionData, options: ValidatorOptions = {}): Validator {
  const compiler = new Compiler(data, options);
  const check = compiler.record(data, new Set(options.tolerate));
  return (record) => check(record, 0);
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
      case 'bytes':
        return scalarCheck(type);
    }
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
