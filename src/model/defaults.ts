import { instantFromMs } from '../ports/instant.ts';
import type { DefinitionData, PropertiesData, PropertyData, RecordData } from './data.ts';
import { isObject } from './violation.ts';

/** Fills in the defaults of properties that a record lacks; the record itself where it lacks none. */
export type FillDefaults = (record: RecordData) => RecordData;

const asItIs: FillDefaults = (record) => record;

/** Defaults of the model, and of what is embedded directly in it; elements of lists and the like have none. */
export function createDefaults(data: DefinitionData): FillDefaults {
  return fillerOf(data, data, new Set()) ?? asItIs;
}

interface Fill {
  readonly name: string;
  readonly value: unknown;
  /** Of an embedded value that is there. */
  readonly inner: FillDefaults | undefined;
}

function fillerOf(
  model: DefinitionData,
  { properties }: PropertiesData,
  around: ReadonlySet<string>,
): FillDefaults | undefined {
  const fills = properties.flatMap((property): Fill[] => {
    const { name, type } = property;
    if (property.default !== undefined) return [{ name, value: valueOf(property), inner: undefined }];
    // A model inside itself would have no end.
    if (type.kind !== 'embedded' || around.has(type.model)) return [];
    const embedded = model.embedded[type.model];
    if (embedded === undefined) return [];
    const inner = fillerOf(model, embedded, new Set([...around, type.model]));
    return inner === undefined ? [] : [{ name, value: undefined, inner }];
  });
  if (fills.length === 0) return undefined;
  return (record) => {
    let filled: Record<string, unknown> | undefined;
    for (const { name, value, inner } of fills) {
      const present = record[name];
      const next = inner === undefined || !isObject(present) ? (present ?? value) : inner(present);
      if (next === present) continue;
      filled ??= { ...record };
      filled[name] = next;
    }
    return filled ?? record;
  };
}

/** The value that a record holds for a default as the definition keeps it. */
function valueOf({ type, default: data }: PropertyData): unknown {
  switch (type.kind) {
    case 'int64':
      return BigInt(data as string);
    case 'timestamp':
      return instantFromMs(data as number);
    default:
      return data;
  }
}
