import type { ErrorCode } from '../errors.ts';
import { limits } from '../limits.ts';
import type { DefinitionData, RecordData } from '../model/data.ts';
import type { Transform, TransformContext } from '../model/transform.ts';
import { drop } from '../model/transform.ts';
import { createDefaults } from '../model/defaults.ts';
import { createValidator } from '../model/validate.ts';
import type { Violation } from '../model/violation.ts';
import { isObject } from '../model/violation.ts';
import type { DecodedRecord, RecordCodec, UnknownValues } from './record-codec.ts';
import type { SetupDefinition, TransformSetup } from './transform-setup.ts';

/** Why one record does not go through. Its message shows no values, but for what a transform says itself. */
export class RecordRefused extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string) {
    super(cut(message));
    this.name = 'RecordRefused';
    this.code = code;
  }
}

/** A record as the target definition has it, validated. */
export interface MovedRecord {
  readonly record: RecordData;
  /** Values under numbers that neither definition knows. */
  readonly unknown: UnknownValues | undefined;
}

/** @throws RecordRefused TRANSFORM_FAILED, TRANSFORM_REJECTED */
export type MoveRecord = (stored: DecodedRecord, bytes: Uint8Array) => MovedRecord | typeof drop;

const maxMessageLength = limits.migration.reasonLength.value;

/** How records of one stored definition become records of the target. Without a transform: by property number. */
export function createMoveRecord(
  setup: TransformSetup,
  from: SetupDefinition,
  targetCodec: RecordCodec,
  transform: Transform | undefined,
): MoveRecord {
  return transform === undefined
    ? carryOver(setup, from, targetCodec)
    : applyTransform(setup, from, transform);
}

function carryOver(setup: TransformSetup, from: SetupDefinition, targetCodec: RecordCodec): MoveRecord {
  const validate = createValidator(setup.target.data, { references: setup.references });
  const fillDefaults = createDefaults(setup.target.data);
  const known = new Set(from.data.properties.map(({ number }) => number));
  return (_stored, bytes) => {
    // Records name properties by number: read by the target, they have its names.
    const { record: carried, unknown } = targetCodec.decode(bytes);
    const record = fillDefaults(carried);
    refuse(validate(record), 'The record does not meet the new definition');
    return { record, unknown: withoutNumbers(unknown, known) };
  };
}

function applyTransform(setup: TransformSetup, from: SetupDefinition, transform: Transform): MoveRecord {
  const { data } = setup.target;
  const validate = createValidator(data, {
    references: setup.references,
    tolerate: from.data.properties.map(({ name }) => name),
  });
  const fillDefaults = createDefaults(data);
  const renames = renamedProperties(from.data, data);
  const known = new Set([...data.properties.map(({ number }) => number), ...data.reservedNumbers]);
  const context: TransformContext = Object.freeze({
    from: Object.freeze({ version: from.version, schemaId: from.schemaId }),
  });
  return (stored) => {
    const returned = callTransform(transform, stored.record, context);
    if (returned === drop) return drop;
    const record = fillDefaults(carryRenamed(asRecord(returned), renames));
    refuse(validate(record), 'What the transform returned does not meet the new definition');
    return { record, unknown: withoutNumbers(stored.unknown, known) };
  };
}

function callTransform(transform: Transform, record: RecordData, context: TransformContext): unknown {
  try {
    return transform(record, context);
  } catch (error) {
    const text =
      error instanceof Error ? `${error.name}: ${error.message}` : `it threw a ${typeof error}, not an Error`;
    throw new RecordRefused('TRANSFORM_FAILED', `${transformFailed}: ${text}`);
  }
}

const transformFailed = 'The transform failed';

/** Why a record does not go through, without what a transform says itself: that may be about values. */
export function withoutValues(message: string): string {
  const [, said] = message.split(`${transformFailed}: `, 2);
  if (said === undefined || /^it threw a \w+, not an Error$/.test(said)) return message;
  const [name] = /^[A-Za-z]\w{0,63}(?=:)/.exec(said) ?? [];
  return name === undefined ? transformFailed : `${transformFailed}: ${name}`;
}

function asRecord(returned: unknown): RecordData {
  if (isThenable(returned)) {
    // Whatever becomes of it, it must not end the thread as an unhandled rejection.
    returned.then(undefined, () => undefined);
    throw new RecordRefused(
      'TRANSFORM_REJECTED',
      'The transform returned a promise; it must be synchronous.',
    );
  }
  if (isObject(returned)) return returned;
  const what = Array.isArray(returned) ? 'an array' : returned === null ? 'null' : typeof returned;
  throw new RecordRefused(
    'TRANSFORM_REJECTED',
    `The transform returned ${what} instead of a record or drop.`,
  );
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof Reflect.get(value, 'then') === 'function';
}

interface Rename {
  readonly from: string;
  readonly to: string;
}

/** Properties that kept their number and changed their name. */
function renamedProperties(from: DefinitionData, to: DefinitionData): readonly Rename[] {
  const names = new Set(to.properties.map(({ name }) => name));
  const newNames = new Map(to.properties.map(({ number, name }) => [number, name]));
  return from.properties.flatMap(({ number, name }) => {
    const newName = newNames.get(number);
    return newName === undefined || names.has(name) ? [] : [{ from: name, to: newName }];
  });
}

/**
 * A value that was returned under its old name alone is meant for the new one: `{ ...city }` must not lose it
 * because the property was renamed.
 */
function carryRenamed(record: RecordData, renames: readonly Rename[]): RecordData {
  let carried: Record<string, unknown> | undefined;
  for (const { from, to } of renames) {
    if (record[to] !== undefined || record[from] === undefined) continue;
    carried ??= { ...record };
    carried[to] = record[from];
  }
  return carried ?? record;
}

function withoutNumbers(
  unknown: UnknownValues | undefined,
  numbers: ReadonlySet<number>,
): UnknownValues | undefined {
  if (unknown === undefined) return undefined;
  const left = [...unknown].filter(([number]) => !numbers.has(number));
  return left.length === 0 ? undefined : new Map(left);
}

function refuse(violations: readonly Violation[], what: string): void {
  if (violations.length === 0) return;
  const list = violations.map(({ path, message }) => `${path} ${message}`.trim()).join('; ');
  throw new RecordRefused('TRANSFORM_REJECTED', `${what}: ${list}`);
}

function cut(message: string): string {
  return message.length <= maxMessageLength ? message : `${message.slice(0, maxMessageLength - 1)}…`;
}
