import { RequestException } from '../errors.ts';
import { keyValueLimits } from '../kv/kv.ts';
import type { DefinitionData, IndexData, RecordData, ReferenceKeys } from '../model/data.ts';
import type { ComponentCodec } from './component.ts';
import { componentCodec } from './component.ts';
import { TupleWriter } from './tuple.ts';

/** One row of an index, without the prefix that the index lies under. */
export interface IndexEntry {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** A range over the component that follows those given as equal. Records without a value there are left out. */
export interface ComponentRange {
  readonly gt?: unknown;
  readonly gte?: unknown;
  readonly lt?: unknown;
  readonly lte?: unknown;
}

/**
 * Rows of one index.
 *
 * A row's key is the components, reversed ones complemented, then the primary key; its value is a varint: where in
 * the key the primary key begins. In a unique index the key is the components alone, and the value is 0 followed by
 * the primary key. A record that lacks a value of a unique index violates nothing: its row is as in other indexes.
 */
export interface IndexEncoder {
  /**
   * Rows of a record: one, or one for each distinct element where a component is a list (none for no elements).
   *
   * @throws RequestException KEY_TOO_LARGE naming model, index and sizes
   */
  entries(record: RecordData, primaryKey: Uint8Array): readonly IndexEntry[];
  /**
   * Bounds of the rows whose first components equal `values` and whose next one lies in `range`: begin inclusive,
   * end exclusive, both without the index's prefix. The order of the rows is the index's: reversed components fall.
   */
  scanBounds(
    values: readonly unknown[],
    range?: ComponentRange,
  ): { readonly begin: Buffer; readonly end: Buffer };
}

/** Key and value without the index's prefix; the answer shares the memory of one of them. */
export function primaryKeyOfEntry(key: Uint8Array, value: Uint8Array): Uint8Array {
  let offset = 0;
  let at = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = value[at++];
    if (byte === undefined) throw new TypeError('bytes are no entry of an index');
    offset |= (byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return offset === 0 ? value.subarray(at) : key.subarray(offset);
}

/** Whether a row's key alone keeps a second record out: it must be read before it is written. */
export function isUniqueEntry(entry: IndexEntry): boolean {
  return entry.value[0] === uniqueMark;
}

/** In the place of an offset: no primary key begins a row's key. */
const uniqueMark = 0;

interface Component {
  readonly name: string;
  readonly reversed: boolean;
  /** A list or set: each element has an entry. */
  readonly list: boolean;
  readonly codec: ComponentCodec;
}

/**
 * Values must have been validated: a wrong type is a `TypeError`, which is a fault of this library.
 *
 * @param prefixBytes what the prefix of the index takes of the 10,000 bytes that a key may have; default 0
 */
export function createIndexEncoder(
  data: DefinitionData,
  index: IndexData,
  references?: ReferenceKeys,
  prefixBytes = 0,
): IndexEncoder {
  const components = index.on.map((on) => componentOf(data, on, references));
  const listAt = components.findIndex((component) => component.list);
  const writer = new TupleWriter();

  /** @param valueAt of each component; undefined where the record has none */
  const entry = (valueAt: (at: number) => unknown, primaryKey: Uint8Array): IndexEntry => {
    writer.reset();
    let isComplete = true;
    for (let at = 0; at < components.length; at += 1) {
      const value = valueAt(at);
      isComplete &&= value !== undefined;
      writeComponent(writer, components[at]!, value);
    }
    const offset = writer.length;
    if (index.unique && isComplete) {
      checkKeySize(data, index, prefixBytes + offset);
      return { key: writer.toBuffer(), value: Buffer.concat([Buffer.of(uniqueMark), primaryKey]) };
    }
    writer.writeRaw(primaryKey);
    checkKeySize(data, index, prefixBytes + writer.length);
    return { key: writer.toBuffer(), value: offsetBytes(offset) };
  };

  return {
    entries(record, primaryKey) {
      if (listAt === -1) return [entry((at) => record[components[at]!.name], primaryKey)];
      const elements = (record[components[listAt]!.name] ?? []) as Iterable<unknown>;
      const rows = new Map<string, IndexEntry>();
      for (const element of elements) {
        const row = entry((at) => (at === listAt ? element : record[components[at]!.name]), primaryKey);
        rows.set(row.key.toString('latin1'), row);
      }
      return [...rows.values()];
    },

    scanBounds(values, range = {}) {
      const next = components[values.length];
      writer.reset();
      values.forEach((value, at) => {
        const component = components[at];
        if (component === undefined) throw new TypeError(`${index.name} has fewer than ${at + 1} components`);
        writeComponent(writer, component, value);
      });
      const prefix = writer.toBuffer();
      // Only a reversed null begins with 0xff, so behind this lies nothing that begins with `bytes`.
      const tail = Buffer.alloc(components.length - values.length + 1, 0xff);
      const before = (bytes: Buffer) => Buffer.concat([prefix, bytes]);
      const behind = (bytes: Buffer) => Buffer.concat([prefix, bytes, tail]);
      const empty = Buffer.alloc(0);

      const { gt, gte, lt, lte } = range;
      if ([gt, gte, lt, lte].every((bound) => bound === undefined)) {
        return { begin: prefix, end: behind(empty) };
      }
      if (next === undefined) throw new TypeError(`${index.name} has no component behind the ones given`);
      const bytesOf = (value: unknown) => {
        writer.reset();
        writeComponent(writer, next, value);
        return writer.toBuffer();
      };
      const none = bytesOf(undefined);
      // In a reversed component the larger value comes first.
      const [lowest, above, highest, below] = next.reversed ? [lte, lt, gte, gt] : [gte, gt, lte, lt];
      let begin: Buffer = next.reversed ? prefix : behind(none);
      if (lowest !== undefined) begin = before(bytesOf(lowest));
      if (above !== undefined) begin = later(begin, behind(bytesOf(above)));
      let end: Buffer = next.reversed ? before(none) : behind(empty);
      if (highest !== undefined) end = behind(bytesOf(highest));
      if (below !== undefined) end = earlier(end, before(bytesOf(below)));
      // Bounds that exclude each other are an empty range, not an inverted one, which the database refuses.
      return { begin, end: later(begin, end) };
    },
  };
}

function componentOf(
  data: DefinitionData,
  on: IndexData['on'][number],
  references?: ReferenceKeys,
): Component {
  const property = data.properties.find(({ name }) => name === on.property);
  if (property === undefined) throw new TypeError(`${data.name} has no property ${on.property}`);
  const { type } = property;
  const isMany = type.kind === 'list' || type.kind === 'set';
  const codec = componentCodec(isMany ? type.of : type, references);
  return { name: property.name, reversed: on.reversed, list: isMany, codec };
}

function writeComponent(to: TupleWriter, { codec, reversed }: Component, value: unknown): void {
  const start = to.length;
  if (value === undefined) to.writeNull();
  else codec.write(to, value);
  if (reversed) to.reverseFrom(start);
}

function checkKeySize(data: DefinitionData, index: IndexData, bytes: number): void {
  if (bytes <= keyValueLimits.keyBytes) return;
  throw new RequestException(
    'KEY_TOO_LARGE',
    `An entry of index ${index.name} of ${data.name} has a key of ${bytes} bytes; ` +
      `at most ${keyValueLimits.keyBytes} are allowed.`,
    { details: { model: data.name, index: index.name, bytes, maxBytes: keyValueLimits.keyBytes } },
  );
}

/** Nobody changes an entry: those whose primary keys begin at the same place share their value. */
const shortOffsets = Array.from({ length: 0x80 }, (_, offset) => Buffer.of(offset));

function offsetBytes(offset: number): Buffer {
  const short = shortOffsets[offset];
  if (short !== undefined) return short;
  const bytes: number[] = [];
  let rest = offset;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

function later(one: Buffer, other: Buffer): Buffer {
  return one.compare(other) >= 0 ? one : other;
}

function earlier(one: Buffer, other: Buffer): Buffer {
  return one.compare(other) <= 0 ? one : other;
}
