import { RequestException, StorageException } from '../errors.ts';
import { keyValueLimits } from '../kv/kv.ts';
import type { DefinitionData, IndexData, RecordData, ReferenceKeys } from '../model/data.ts';
import type { StoredIndex } from './definitions.ts';
import type { IndexEncoder, IndexEntry } from './index-entries.ts';
import { createIndexEncoder } from './index-entries.ts';
import type { ModelKeys } from './keys.ts';

/** An index that writers of a model keep up to date. */
export interface MaintainedIndex {
  readonly name: string;
  readonly indexId: number;
  /** Only a `ready` one may be scanned. */
  readonly state: StoredIndex['state'];
  readonly data: IndexData;
  /** All entries begin with it. */
  readonly prefix: Buffer;
  readonly encoder: IndexEncoder;
  /**
   * The whole entries of a record.
   *
   * @throws RequestException KEY_TOO_LARGE, RECORD_UNREADABLE (a stored value is of another type than the definition's)
   */
  entries(record: RecordData, primaryKey: Uint8Array): readonly IndexEntry[];
}

/**
 * Indexes of a definition under the ids that are given. Those that `stored` does not name are left out.
 *
 * @throws StorageException STORAGE_CORRUPT for an index that the definition does not have
 */
export function createMaintainedIndexes(
  data: DefinitionData,
  stored: readonly StoredIndex[],
  keys: ModelKeys,
  references: ReferenceKeys,
): readonly MaintainedIndex[] {
  return stored.map(({ name, indexId, state }) => {
    const index = data.indexes.find((candidate) => candidate.name === name);
    if (index === undefined) {
      throw new StorageException('STORAGE_CORRUPT', `${data.name} has no index ${name}, but an id for it.`, {
        details: { model: data.name, index: name },
      });
    }
    const prefix = keys.index(indexId);
    const encoder = createIndexEncoder(data, index, references);
    return {
      name,
      indexId,
      state,
      data: index,
      prefix,
      encoder,
      entries(record, primaryKey) {
        return entriesOf(data.name, name, encoder, record, primaryKey).map(({ key, value }) => {
          const bytes = prefix.length + key.length;
          if (bytes > keyValueLimits.keyBytes) throw entryTooLarge(data.name, name, bytes);
          return { key: Buffer.concat([prefix, key]), value };
        });
      },
    };
  });
}

function entriesOf(
  model: string,
  index: string,
  encoder: IndexEncoder,
  record: RecordData,
  primaryKey: Uint8Array,
): readonly IndexEntry[] {
  try {
    return encoder.entries(record, primaryKey);
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw new RequestException(
      'RECORD_UNREADABLE',
      `A stored record of ${model} has a value that does not fit index ${index}.`,
      { details: { model, index }, cause },
    );
  }
}

function entryTooLarge(model: string, index: string, bytes: number): RequestException {
  return new RequestException(
    'KEY_TOO_LARGE',
    `An entry of index ${index} of ${model} has a key of ${bytes} bytes; ` +
      `at most ${keyValueLimits.keyBytes} are allowed.`,
    { details: { model, index, bytes, maxBytes: keyValueLimits.keyBytes } },
  );
}
