import type { Transaction } from '../kv/kv.ts';
import { limits } from '../limits.ts';
import type { DefinitionData } from '../model/data.ts';
import type { ModelKeys } from './keys.ts';
import { rangeOf } from './keys.ts';
import {
  createRowFormat,
  isBoolean,
  isCount,
  isListOf,
  isObject,
  isOneOf,
  isShape,
  isString,
} from './row.ts';

/** A definition as the database keeps it: records name it by its schema id. */
export interface StoredDefinition {
  readonly schemaId: number;
  readonly hash: string;
  readonly version: string;
  /** The lineage it was, or would be, published under. */
  readonly lineage: number;
  /** False for the target of a migration that has not ended. */
  readonly published: boolean;
  readonly data: DefinitionData;
  readonly indexes: readonly StoredIndex[];
}

/** Which id the entries of a named index lie under. */
export interface StoredIndex {
  readonly name: string;
  readonly indexId: number;
  /** A scan needs `ready`; writers maintain both. */
  readonly state: 'building' | 'ready';
}

const definitionFormat = createRowFormat<StoredDefinition>('definition', {
  schemaId: isCount,
  hash: isString,
  version: isString,
  lineage: isCount,
  published: isBoolean,
  data: (value): value is DefinitionData =>
    isObject(value) && isString(value['name']) && Array.isArray(value['properties']),
  indexes: isListOf(
    isShape<StoredIndex>({ name: isString, indexId: isCount, state: isOneOf('building', 'ready') }),
  ),
});

const definitionPartBytes = limits.records.partBytes.value;

export function writeDefinition(tx: Transaction, keys: ModelKeys, definition: StoredDefinition): void {
  const bytes = definitionFormat.encode(definition);
  const prefix = keys.definition(definition.schemaId);
  const { begin, end } = rangeOf(prefix);
  tx.clearRange(begin, end);
  for (let part = 0; part * definitionPartBytes < bytes.length; part += 1) {
    const slice = bytes.subarray(part * definitionPartBytes, (part + 1) * definitionPartBytes);
    tx.set(Buffer.concat([prefix, Buffer.of(part >> 8, part & 0xff)]), slice);
  }
}

export async function readDefinition(
  tx: Transaction,
  keys: ModelKeys,
  schemaId: number,
): Promise<StoredDefinition | undefined> {
  const { begin, end } = rangeOf(keys.definition(schemaId));
  const parts = await tx.getRangeAll(begin, end);
  return parts.length === 0
    ? undefined
    : definitionFormat.parse(Buffer.concat(parts.map((part) => part.value)));
}

/** All definitions of a model, by schema id. */
export async function readDefinitions(
  tx: Transaction,
  keys: ModelKeys,
): Promise<ReadonlyMap<number, StoredDefinition>> {
  const { begin, end } = rangeOf(keys.definitions);
  const definitions = new Map<number, StoredDefinition>();
  let parts: Buffer[] = [];
  let current: string | undefined;
  const finish = () => {
    if (parts.length === 0) return;
    const definition = definitionFormat.parse(Buffer.concat(parts));
    definitions.set(definition.schemaId, definition);
    parts = [];
  };
  for (const { key, value } of await tx.getRangeAll(begin, end)) {
    // The last two bytes are the part number.
    const row = key.subarray(0, key.length - 2).toString('latin1');
    if (row !== current) finish();
    current = row;
    parts.push(value);
  }
  finish();
  return definitions;
}
