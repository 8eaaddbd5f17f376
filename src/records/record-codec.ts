import { Packr, RESERVE_START_SPACE } from 'msgpackr';
import { RequestException } from '../errors.ts';
import { limits } from '../limits.ts';
import type { DefinitionData, RecordData } from '../model/data.ts';
import { lazily } from './lazily.ts';
import { setPartCount } from './record-rows.ts';
import type { StoredField } from './stored-values.ts';
import { fieldsOf, readFields, writeFields } from './stored-values.ts';

/**
 * A record's value: format byte, part count, schema id, then a msgpack map of property numbers to values.
 * The schema id says which stored definition wrote it, so mixed data is always readable.
 */
export interface RecordCodec {
  /**
   * @param unknown values under numbers that the definition does not know, as `decode` returned them
   * @returns bytes that the caller must not change; see `checkRecordSize` for their limit
   */
  encode(record: RecordData, schemaId: number, unknown?: UnknownValues): Buffer;
  /**
   * Never validates: a value of another type than the definition's comes back as it is.
   *
   * @throws RequestException RECORD_UNREADABLE
   */
  decode(bytes: Uint8Array): DecodedRecord;
}

/** Stored values by property number. */
export type UnknownValues = ReadonlyMap<number, unknown>;

export interface DecodedRecord {
  readonly schemaId: number;
  /** Optional properties that are absent are absent here too. */
  readonly record: Record<string, unknown>;
  /**
   * Values under numbers that the definition does not know: pass them to `encode`, and they survive. Those inside an
   * embedded value need no care: they survive for as long as the same embedded object is written back.
   */
  readonly unknown: UnknownValues | undefined;
}

/** The only format of a record's value so far. */
const recordFormat = 1;

/**
 * Bytes that an encoded record may have. A tenth of what FoundationDB allows a transaction (its documentation, "Known
 * Limitations"), so that a record can be replaced together with its index entries and others.
 */
export const maxRecordBytes = limits.records.recordBytes.value;

/** Numbers as map keys, integers of 64 bits as bigint: nothing that a value could lose on its way. */
const packr = new Packr({ useRecords: false, mapsAsObjects: false, int64AsType: 'bigint' });

export function createRecordCodec(data: DefinitionData): RecordCodec {
  const fields = lazily(() => fieldsOf(data, data.embedded));
  const fieldsByNumber = lazily(
    () => new Map<number, StoredField>(fields().map((field) => [field.number, field])),
  );
  return {
    encode(record, schemaId, unknown) {
      const values = writeFields(fields(), record, unknown);
      const headerBytes = 2 + varintBytes(schemaId);
      const bytes = packr.pack(values, RESERVE_START_SPACE | headerBytes);
      bytes[0] = recordFormat;
      setPartCount(bytes);
      writeVarint(bytes, 2, schemaId);
      return bytes;
    },
    decode(source) {
      const bytes = asBuffer(source);
      const schemaId = schemaIdOf(bytes);
      const values = unpackMap(bytes, 2 + varintBytes(schemaId));
      const record: Record<string, unknown> = {};
      const unknown = readFields(fieldsByNumber(), values, record);
      return { schemaId, record, unknown };
    },
  };
}

/**
 * Which stored definition wrote a record, from its first bytes.
 *
 * @throws RequestException RECORD_UNREADABLE
 */
export function schemaIdOf(bytes: Uint8Array): number {
  if (bytes[0] !== recordFormat || bytes[1] === 0) throw unreadable('its header is not known');
  let schemaId = 0;
  let factor = 1;
  for (let at = 2; at < 2 + maxVarintBytes; at++) {
    const byte = bytes[at];
    if (byte === undefined) break;
    schemaId += (byte & 0x7f) * factor;
    if (byte < 0x80) return schemaId;
    factor *= 0x80;
  }
  throw unreadable('it ends within its header');
}

/** @throws RequestException RECORD_TOO_LARGE naming the model and both sizes */
export function checkRecordSize(modelName: string, bytes: Uint8Array): void {
  if (bytes.length <= maxRecordBytes) return;
  throw new RequestException(
    'RECORD_TOO_LARGE',
    `A record of ${modelName} has ${bytes.length} bytes encoded; at most ${maxRecordBytes} are allowed.`,
    { details: { model: modelName, bytes: bytes.length, maxBytes: maxRecordBytes } },
  );
}

function unpackMap(bytes: Buffer, start: number): ReadonlyMap<number, unknown> {
  let values: unknown;
  try {
    values = packr.unpack(bytes, { start, end: bytes.length });
  } catch {
    // The decoder's own message may show parts of the record.
    throw unreadable('its contents cannot be decoded');
  }
  if (!(values instanceof Map)) throw unreadable('it holds no properties');
  return values;
}

function unreadable(reason: string): RequestException {
  return new RequestException('RECORD_UNREADABLE', `Stored bytes are not a record: ${reason}.`);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Schema ids are below 2^32. */
const maxVarintBytes = 5;

function varintBytes(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) size++;
  return size;
}

function writeVarint(bytes: Uint8Array, offset: number, value: number): void {
  let at = offset;
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes[at++] = (rest % 0x80) | 0x80;
  bytes[at] = rest;
}
