import type { DefinitionData, RecordData } from '../model/data.ts';
import type { MutationWriter } from './chunk-format.ts';
import type { IndexEncoder, IndexEntry } from './index-entries.ts';
import { createIndexEncoder, isUniqueEntry } from './index-entries.ts';
import { RecordRefused } from './move-record.ts';
import type { SetupIndex, TransformSetup } from './transform-setup.ts';

/** The entries of one record in one index, before and after it is moved. */
interface IndexChange {
  readonly prefix: Uint8Array;
  readonly old: readonly IndexEntry[];
  readonly new: readonly IndexEntry[];
}

/** Entries of a setup's indexes, in the order of the setup. */
export type EntriesOf = (record: RecordData, primaryKey: Uint8Array) => readonly (readonly IndexEntry[])[];

/**
 * The entries that records of a stored definition have: those of patched indexes. A filled index has none yet.
 * The encoders throw `RecordRefused` RECORD_UNREADABLE where a stored value is of another type than its property.
 */
export function createStoredEntries(setup: TransformSetup, data: DefinitionData): EntriesOf {
  const encoders = setup.indexes.map(({ index, mode, prefix }) => {
    const stored = data.indexes.find(({ name }) => name === index.name);
    if (mode === 'fill' || stored === undefined) return undefined;
    return createIndexEncoder(data, stored, setup.references, prefix.length);
  });
  return (record, primaryKey) =>
    encoders.map((encoder) => (encoder === undefined ? [] : storedEntries(encoder, record, primaryKey)));
}

/** @throws RequestException KEY_TOO_LARGE from what it returns */
export function createTargetEntries(setup: TransformSetup): EntriesOf {
  const { data } = setup.target;
  const encoders = setup.indexes.map(({ index, prefix }) =>
    createIndexEncoder(data, index, setup.references, prefix.length),
  );
  return (record, primaryKey) => encoders.map((encoder) => encoder.entries(record, primaryKey));
}

export function writeIndexChanges(
  to: MutationWriter,
  ordinal: number,
  indexes: readonly SetupIndex[],
  before: readonly (readonly IndexEntry[])[],
  after: readonly (readonly IndexEntry[])[],
): void {
  indexes.forEach(({ prefix }, at) => {
    writeChange(to, ordinal, { prefix, old: before[at] ?? [], new: after[at] ?? [] });
  });
}

function writeChange(to: MutationWriter, ordinal: number, change: IndexChange): void {
  const { prefix, old } = change;
  const write = (entry: IndexEntry, isNew: boolean) => {
    if (isNew && isUniqueEntry(entry)) to.setIfAbsent(ordinal, prefix, entry.key, entry.value);
    else to.set(ordinal, prefix, entry.key, entry.value);
  };
  if (old.length === 0) {
    for (const entry of change.new) write(entry, true);
    return;
  }
  // Nearly always an index has at most one entry of a record, and nearly always it stays.
  const [oldEntry] = old;
  const [newEntry] = change.new;
  if (old.length === 1 && change.new.length === 1 && oldEntry !== undefined && newEntry !== undefined) {
    if (oldEntry.key.equals(newEntry.key) && oldEntry.value.equals(newEntry.value)) return;
  }
  const newKeys = new Set(change.new.map(({ key }) => key.toString('latin1')));
  const oldValues = new Map(old.map(({ key, value }) => [key.toString('latin1'), value]));
  for (const { key } of old) if (!newKeys.has(key.toString('latin1'))) to.clear(ordinal, prefix, key);
  for (const entry of change.new) {
    const present = oldValues.get(entry.key.toString('latin1'));
    // A row that this record has already is its own to overwrite.
    if (present?.equals(entry.value) !== true) write(entry, present === undefined);
  }
}

function storedEntries(
  encoder: IndexEncoder,
  record: RecordData,
  primaryKey: Uint8Array,
): readonly IndexEntry[] {
  try {
    return encoder.entries(record, primaryKey);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new RecordRefused('RECORD_UNREADABLE', `Stored index values cannot be read: ${error.message}.`);
  }
}
