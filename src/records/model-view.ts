import type { RecordData } from '../model/data.ts';
import type { ConfiguredModel } from './configured-model.ts';
import type { StoredDefinition } from './definitions.ts';
import type { Fence } from './fence.ts';
import type { MaintainedIndex } from './maintained-index.ts';
import { createMaintainedIndexes } from './maintained-index.ts';
import type { DecodedRecord } from './record-codec.ts';
import { checkRecordSize } from './record-codec.ts';
import type { EncodedRecord, RecordWriter } from './record-writer.ts';
import { createRecordWriter } from './record-writer.ts';

/**
 * All that a transaction needs to serve one model as it was found behind one `schemaEpoch` of the fence: the program
 * reads and names properties by the configured definition; records are written under the stored one, and the stored
 * one's indexes are maintained. They may differ, in either direction, as long as they are compatible (protocol 1).
 */
export interface ModelView {
  readonly model: ConfiguredModel;
  readonly schemaEpoch: number;
  readonly fence: Fence;
  /** The published definition. */
  readonly definition: StoredDefinition;
  /** Of the published definition. */
  readonly writer: RecordWriter;
  /** Of the published definition, those that are being built too. */
  readonly indexes: readonly MaintainedIndex[];
  /**
   * A stored record by the configured names; never validates.
   *
   * @throws RequestException RECORD_UNREADABLE
   */
  decode(bytes: Uint8Array): DecodedRecord;
  /** A stored record by the published definition's names: what index entries are made of. */
  storedForm(bytes: Uint8Array): RecordData;
  /**
   * A record of the configured definition, ready for `writer.write`.
   *
   * @param unknown what `decode` found under numbers that the configured definition does not know
   * @throws RequestException RECORD_TOO_LARGE
   */
  encode(record: RecordData, primaryKey: Buffer, unknown?: DecodedRecord['unknown']): EncodedRecord;
}

export function createModelView(
  model: ConfiguredModel,
  fence: Fence,
  definition: StoredDefinition,
): ModelView {
  const { data, schemaId } = definition;
  const { keys, references, codec } = model;
  const indexes = createMaintainedIndexes(data, definition.indexes, keys, references);
  const writer = createRecordWriter({ data, schemaId, keySpace: fence.keySpace, keys, indexes, references });
  const isSameDefinition = definition.hash === model.hash;
  const storedForm = (bytes: Uint8Array) => writer.codec.decode(bytes).record;
  return {
    model,
    schemaEpoch: fence.schemaEpoch,
    fence,
    definition,
    writer,
    indexes,
    decode: (bytes) => codec.decode(bytes),
    storedForm,
    encode(record, primaryKey, unknown) {
      const bytes = codec.encode(record, schemaId, unknown);
      checkRecordSize(data.name, bytes);
      // Names may differ, and a property that only the stored definition knows may stand in its indexes.
      return { primaryKey, bytes, record: isSameDefinition ? record : storedForm(bytes) };
    },
  };
}
