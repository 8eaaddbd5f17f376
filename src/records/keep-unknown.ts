import type { DefinitionData, PropertiesData, RecordData } from '../model/data.ts';
import { isObject } from '../model/violation.ts';
import { adoptUnknown } from './stored-values.ts';

/**
 * Carries what a program does not know inside embedded values over to those that replace them: a full write by an
 * older program must not drop what a newer one wrote. Inside lists it is lost when an element is replaced by another
 * object, because nothing says which element follows which.
 */
export type KeepUnknown = (existing: RecordData, record: RecordData) => RecordData;

export function createKeepUnknown(data: DefinitionData): KeepUnknown {
  return (existing, record) => keepIn(data, data, existing, record);
}

function keepIn(
  model: DefinitionData,
  { properties }: PropertiesData,
  existing: RecordData,
  record: RecordData,
): RecordData {
  let kept: Record<string, unknown> | undefined;
  for (const { name, type } of properties) {
    if (type.kind !== 'embedded') continue;
    const [before, after] = [existing[name], record[name]];
    const embedded = model.embedded[type.model];
    if (embedded === undefined || before === after || !isObject(before) || !isObject(after)) continue;
    // A copy: the caller's object may be written to other records too.
    const copy = { ...keepIn(model, embedded, before, after) };
    adoptUnknown(after, copy);
    adoptUnknown(before, copy);
    kept ??= { ...record };
    kept[name] = copy;
  }
  return kept ?? record;
}
