import { RequestException } from '../errors.ts';
import { keyValueLimits } from '../kv/kv.ts';
import type { DefinitionData, RecordData, ReferenceKeys } from '../model/data.ts';
import type { KeyCodec } from './key-codec.ts';
import { createKeyCodec } from './key-codec.ts';
import type { ModelKeys } from './keys.ts';
import type { RecordCheck } from './record-check.ts';
import { createRecordCheck } from './record-check.ts';
import type { RecordCodec } from './record-codec.ts';
import { createRecordCodec } from './record-codec.ts';

/** A model as the running program configures it, with what is made of it once. Knows nothing of the database's state. */
export interface ConfiguredModel {
  readonly id: number;
  readonly name: string;
  readonly data: DefinitionData;
  readonly hash: string;
  readonly keys: ModelKeys;
  readonly references: ReferenceKeys;
  /** Reads any record by property number, whichever definition wrote it; the names are the configured ones. */
  readonly codec: RecordCodec;
  readonly keyCodec: KeyCodec;
  readonly check: RecordCheck;
  /** The way that older databases take to this definition, where it is not one step. */
  readonly steps: readonly ConfiguredStep[];
  /** @throws RequestException RECORD_INVALID, KEY_TOO_LARGE */
  acceptRecord(record: unknown): AcceptedRecord;
  /**
   * @param key the bare value where the key has one property, else an object of them
   * @returns the primary key's bytes, without the prefix that records lie under
   * @throws RequestException RECORD_INVALID, KEY_TOO_LARGE
   */
  acceptKey(key: unknown): Buffer;
}

/** One step of a chain of versions. */
export interface ConfiguredStep {
  /** The version that a database is at. */
  readonly from: string;
  /** What it is brought to; of the last step the configured model itself. */
  readonly model: ConfiguredModel;
  /** Whether it can be taken together with its neighbours, in one pass over the records. */
  readonly isComposable: boolean;
  /** Whether it shall, where it can: what was begun in one pass is finished so in any case. */
  readonly composes: boolean;
}

/** A record that has been validated. */
export interface AcceptedRecord {
  readonly record: RecordData;
  readonly primaryKey: Buffer;
}

/** What `resolveModels` knows of a model, as far as it is needed here. */
export interface ModelIdentity {
  readonly id: number;
  readonly data: DefinitionData;
  readonly hash: string;
}

export function createConfiguredModel(
  { id, data, hash }: ModelIdentity,
  keys: ModelKeys,
  references: ReferenceKeys,
  steps: (self: ConfiguredModel) => readonly ConfiguredStep[] = () => [],
): ConfiguredModel {
  const keyCodec = createKeyCodec(data, references);
  const check = createRecordCheck(data, references);
  const checkKeySize = (primaryKey: Buffer): Buffer => {
    const bytes = keys.records(maxKeySpace).length + primaryKey.length;
    if (bytes <= keyValueLimits.keyBytes) return primaryKey;
    throw new RequestException(
      'KEY_TOO_LARGE',
      `A key of ${data.name} has ${bytes} bytes; at most ${keyValueLimits.keyBytes} are allowed.`,
      { details: { model: data.name, bytes, maxBytes: keyValueLimits.keyBytes } },
    );
  };
  const model: Omit<ConfiguredModel, 'steps'> & { steps: readonly ConfiguredStep[] } = {
    id,
    name: data.name,
    data,
    hash,
    keys,
    references,
    codec: createRecordCodec(data),
    keyCodec,
    check,
    acceptRecord(value) {
      const record = check.record(value);
      return { record, primaryKey: checkKeySize(keyCodec.encodeFromRecord(record)) };
    },
    acceptKey(key) {
      check.key(key);
      return checkKeySize(keyCodec.encode(key));
    },
    steps: [],
  };
  model.steps = steps(model);
  return model;
}

/** The prefix grows by a byte now and then: a key that is accepted once stays acceptable. */
const maxKeySpace = 0xffff_ffff;
