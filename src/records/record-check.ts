import { RequestException } from '../errors.ts';
import { limits } from '../limits.ts';
import type { DefinitionData, PropertyData, RecordData, ReferenceKeys, TypeData } from '../model/data.ts';
import { maxPrecision } from '../model/decimal.ts';
import { createDefaults } from '../model/defaults.ts';
import { createValidator } from '../model/validate.ts';
import { isObject } from '../model/violation.ts';
import { lazily } from './lazily.ts';

/**
 * Checks what a caller passes against the configured definition. Messages and details name model, property and
 * constraint, never a value.
 */
export interface RecordCheck {
  /** A whole record, which it answers. @throws RequestException RECORD_INVALID */
  record(record: unknown): RecordData;
  /** Some properties of a record, answered too; `undefined` removes an optional one. @throws RequestException RECORD_INVALID */
  change(change: unknown): RecordData;
  /** A key: bare where it has one property. @throws RequestException RECORD_INVALID */
  key(key: unknown): void;
  /**
   * Values to look for: by type alone, because looking for what cannot be there is no mistake.
   *
   * @param values by property name; of a list property an element. `undefined` looks for records without a value
   * @throws RequestException RECORD_INVALID
   */
  sought(values: RecordData): void;
}

/** One thing that is wrong: a violation of the model, or of what a request demands besides. */
export interface Finding {
  /** Such as `address.city` or `tags[3]`; empty for the whole. */
  readonly path: string;
  readonly constraint: string;
  /** To be read behind the path. */
  readonly message: string;
}

/** Violations that one error lists; the rest are counted. */
const maxListedViolations = limits.model.listedViolations.value;

export function createRecordCheck(data: DefinitionData, references: ReferenceKeys): RecordCheck {
  // What was read as a number, because a newer program wrote it, is written back as that.
  const options = { references, unknownCases: true };
  const validateRecord = lazily(() => createValidator(data, options));
  const validateChange = lazily(() =>
    createValidator(withProperties(data, data.properties.map(asOptional)), options),
  );
  const validateKey = lazily(() => {
    const keyProperties = data.properties.filter(({ name }) => data.key.includes(name));
    return createValidator(withProperties(data, keyProperties), options);
  });
  const validateSought = lazily(() =>
    createValidator(withProperties(data, data.properties.map(asSought)), options),
  );
  const fillDefaults = lazily(() => createDefaults(data));
  const required = lazily(
    () => new Set(data.properties.filter((property) => property.required).map(({ name }) => name)),
  );

  const refuse = (what: string, violations: readonly Finding[]): void => {
    if (violations.length > 0) throw recordInvalid(data.name, what, violations);
  };
  const objectOf = (what: string, value: unknown): RecordData => {
    if (isPropertyObject(value)) return value;
    throw recordInvalid(data.name, what, [
      { path: '', constraint: 'type', message: 'must be an object of properties' },
    ]);
  };

  return {
    record(value) {
      const record = fillDefaults()(objectOf('record', value));
      refuse('record', validateRecord()(record));
      return record;
    },
    change(value) {
      const change = objectOf('change', value);
      const removed = Object.entries(change)
        .filter(([name, next]) => next === undefined && required().has(name))
        .map(([path]) => ({ path, constraint: 'required', message: 'is required and cannot be removed' }));
      refuse('change', [...removed, ...validateChange()(change)]);
      return change;
    },
    key(key) {
      const [only, ...others] = data.key;
      if (only !== undefined && others.length === 0) {
        refuse('key', validateKey()({ [only]: key }));
        return;
      }
      refuse('key', validateKey()(objectOf('key', key)));
    },
    sought(values) {
      refuse('query', validateSought()(values));
    },
  };
}

/** An error that lists what is wrong with a record of `model`, in the form that all of them have. */
export function recordInvalid(model: string, what: string, violations: readonly Finding[]): RequestException {
  const listed = violations.slice(0, maxListedViolations);
  const more = violations.length - listed.length;
  const text = listed
    .map(({ path, constraint, message }) => `${path === '' ? '' : `${path} `}${message} (${constraint})`)
    .join('; ');
  return new RequestException(
    'RECORD_INVALID',
    `Invalid ${what} of ${model}: ${text}${more > 0 ? `; and ${more} more` : ''}.`,
    { details: { model, violations: listed } },
  );
}

function isPropertyObject(value: unknown): value is RecordData {
  // A promise has no properties of its own: it would pass as a change of nothing.
  return isObject(value) && typeof value['then'] !== 'function';
}

function withProperties(data: DefinitionData, properties: readonly PropertyData[]): DefinitionData {
  return { ...data, properties };
}

function asOptional(property: PropertyData): PropertyData {
  return { ...property, required: false };
}

function asSought(property: PropertyData): PropertyData {
  const { type } = property;
  const element = type.kind === 'list' || type.kind === 'set' ? type.of : type;
  return { ...property, required: false, type: withoutLimits(element) };
}

function withoutLimits(type: TypeData): TypeData {
  switch (type.kind) {
    case 'string':
    case 'int32':
    case 'int64':
    case 'float64':
    case 'timestamp':
    case 'date':
    case 'bytes':
      return { kind: type.kind };
    case 'decimal':
      return { kind: 'decimal', precision: maxPrecision, scale: type.scale };
    case 'boolean':
    case 'enum':
    case 'list':
    case 'set':
    case 'map':
    case 'union':
    case 'embedded':
    case 'reference':
      return type;
  }
}
