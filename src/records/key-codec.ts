import type { DefinitionData, RecordData, ReferenceKeys } from '../model/data.ts';
import type { KeyPart } from './component.ts';
import { componentCodec, readKeyParts, writeKeyParts } from './component.ts';
import { TupleReader, TupleWriter } from './tuple.ts';

/** Keys of one definition's records as bytes, without the prefix they lie under. Bytes sort as the keys do. */
export interface KeyCodec {
  /** @param key the bare value where the key has one property, else an object of them */
  encode(key: unknown): Buffer;
  encodeFromRecord(record: RecordData): Buffer;
  /** @throws TypeError for bytes that are no key of this definition */
  decode(bytes: Uint8Array): unknown;
}

/** Keys must have been validated: a wrong type is a `TypeError`, which is a fault of this library. */
export function createKeyCodec(data: DefinitionData, references?: ReferenceKeys): KeyCodec {
  const parts = keyParts(data, references);
  const writer = new TupleWriter();
  return {
    encode(key) {
      writer.reset();
      writeKeyParts(writer, parts, key);
      return writer.toBuffer();
    },
    encodeFromRecord(record) {
      writer.reset();
      for (const { name, codec } of parts) codec.write(writer, record[name]);
      return writer.toBuffer();
    },
    decode(bytes) {
      const reader = new TupleReader(bytes);
      const key = readKeyParts(reader, parts);
      if (!reader.atEnd) throw new TypeError('bytes are no key of this model');
      return key;
    },
  };
}

function keyParts(data: DefinitionData, references?: ReferenceKeys): readonly KeyPart[] {
  return data.key.map((name) => {
    const property = data.properties.find((candidate) => candidate.name === name);
    if (property === undefined) throw new TypeError(`${data.name} has no key property ${name}`);
    return { name, codec: componentCodec(property.type, references) };
  });
}
