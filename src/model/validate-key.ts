import { limits } from '../limits.ts';
import { isInstant } from '../ports/instant.ts';
import type { ReferenceKeys, TypeData } from './data.ts';
import { enumCheck, isWellFormed, scalarCheck } from './validate-scalar.ts';
import { at, fine, isObject, violated } from './violation.ts';
import type { Check, Violation } from './violation.ts';

/** Checks of references: whether a value is a key of the model referred to. */

const noKey = violated('type', 'must be a key');

/** Compiles the check of keys of the model `to`; when its key is not known, of keys of any model. */
export function keyCheck(to: string, references: ReferenceKeys): Check {
  if (!Object.hasOwn(references, to)) return (value) => (isAnyKey(value, 0) ? fine : noKey);
  // Compiled at first use: models may refer to each other.
  let compiled: Check | undefined;
  return (value, depth) => (compiled ??= knownKeyCheck(to, references))(value, depth);
}

function knownKeyCheck(to: string, references: ReferenceKeys): Check {
  const parts = (references[to] ?? []).map(({ name, type }) => ({
    name,
    check: partCheck(type, references),
  }));
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only.check;
  const names = new Set(parts.map(({ name }) => name));
  const noObject = violated('type', `must be an object of ${[...names].join(', ')}`);
  return (value, depth) => {
    if (!isObject(value)) return noObject;
    if (Object.keys(value).some((name) => !names.has(name))) return noObject;
    const found: Violation[] = [];
    for (const { name, check } of parts) {
      const part = value[name];
      const more = part === undefined ? violated('required', 'is required') : check(part, depth);
      if (more !== fine) found.push(...at(name, more));
    }
    return found.length === 0 ? fine : found;
  };
}

function partCheck(type: TypeData, references: ReferenceKeys): Check {
  switch (type.kind) {
    case 'enum':
      return enumCheck(type, false);
    case 'reference':
      return keyCheck(type.to, references);
    case 'list':
    case 'set':
    case 'map':
    case 'union':
    case 'embedded':
      throw new TypeError(`a value of type ${type.kind} cannot stand in a key`);
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

/** Keys within keys: a key that refers to a model whose key refers to a model, and so on. */
const maxKeyDepth = limits.model.keyDepth.value;

function isAnyKey(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case 'string':
      return isWellFormed(value);
    case 'number':
      return Number.isFinite(value);
    case 'bigint':
      return BigInt.asIntN(64, value) === value;
    case 'boolean':
      return true;
    default:
      break;
  }
  if (isInstant(value) || value instanceof Uint8Array) return true;
  if (!isObject(value) || depth >= maxKeyDepth) return false;
  const parts = Object.values(value);
  return parts.length > 1 && parts.every((part) => isAnyKey(part, depth + 1));
}
