import { RequestException } from '../errors.ts';
import type { Transaction } from '../kv/kv.ts';
import type { StoredDefinition } from './definitions.ts';
import { readDefinition } from './definitions.ts';
import type { ModelKeys } from './keys.ts';
import type { DecodedRecord, RecordCodec } from './record-codec.ts';
import { createRecordCodec, schemaIdOf } from './record-codec.ts';

/** A definition that records were written under, with its codec. */
export interface StoredForm {
  readonly definition: StoredDefinition;
  readonly codec: RecordCodec;
}

/** Records by the names and types of the definition they were written under. */
export interface StoredForms {
  /**
   * The definition of a schema id, read in the same transaction when it is met for the first time. Kept for ever:
   * nothing of it changes but the states of its indexes, which are not to be taken from here.
   *
   * @throws RequestException RECORD_UNREADABLE for an id that no definition has
   */
  form(tx: Transaction, schemaId: number): Promise<StoredForm>;
  /** @throws RequestException RECORD_UNREADABLE */
  decode(
    tx: Transaction,
    bytes: Uint8Array,
  ): Promise<DecodedRecord & { readonly definition: StoredDefinition }>;
}

export function createStoredForms(keys: ModelKeys): StoredForms {
  const forms = new Map<number, StoredForm>();
  const form = async (tx: Transaction, schemaId: number): Promise<StoredForm> => {
    const known = forms.get(schemaId);
    if (known !== undefined) return known;
    const definition = await readDefinition(tx, keys, schemaId);
    if (definition === undefined) {
      throw new RequestException(
        'RECORD_UNREADABLE',
        `A record was written under schema id ${schemaId}, which has no definition.`,
        { details: { schemaId } },
      );
    }
    const loaded = { definition, codec: createRecordCodec(definition.data) };
    forms.set(schemaId, loaded);
    return loaded;
  };
  return {
    form,
    async decode(tx, bytes) {
      const { definition, codec } = await form(tx, schemaIdOf(bytes));
      return { ...codec.decode(bytes), definition };
    },
  };
}
