import { formatDay, parseDay } from '../model/calendar.ts';
import type { EmbeddedData, PropertiesData, RecordData, TypeData } from '../model/data.ts';
import { formatDecimal, parseDecimal } from '../model/decimal.ts';
import { instantFromMs, isInstant } from '../ports/instant.ts';
import { componentCodec } from './component.ts';
import { TupleWriter } from './tuple.ts';

/**
 * Between the values of a record and those that msgpack stores. What msgpack holds exactly stays as it is; else:
 * a timestamp is its milliseconds, a date its days since 1970, a decimal the integer of its digits (as text where that
 * has more than 64 bits), an enum case its number, a set an array and a map an array of keys and values by turns, both in
 * the order of their keys, a union an array of case number and value, an embedded value a map by property number, a
 * composite reference a map by name, and -0, which msgpackr would store as 0, is nil.
 */
export interface StoredField {
  readonly name: string;
  readonly number: number;
  /** Undefined where the value is stored as it is. */
  readonly write: Conversion | undefined;
  readonly read: Conversion | undefined;
}

/** Leaves values of another type than its own as they are: telling them apart is validation's work. */
type Conversion = (value: unknown) => unknown;

type Embedded = Readonly<Record<string, EmbeddedData>>;

/** Fields in the order of their numbers. */
export function fieldsOf(data: PropertiesData, embedded: Embedded): readonly StoredField[] {
  return createFields(data, embedded, new Map());
}

/** Property numbers to stored values: of the record's properties, then of what is not known. A known one wins. */
export function writeFields(
  fields: readonly StoredField[],
  record: RecordData,
  unknown: ReadonlyMap<number, unknown> | undefined,
): Map<number, unknown> {
  const values = new Map<number, unknown>();
  for (const field of fields) {
    const value = record[field.name];
    if (value !== undefined) values.set(field.number, field.write === undefined ? value : field.write(value));
  }
  if (unknown === undefined) return values;
  for (const [number, value] of unknown) if (!values.has(number)) values.set(number, value);
  return values;
}

/** Fills `record` and returns the values under numbers that no field has. */
export function readFields(
  fields: ReadonlyMap<number, StoredField>,
  values: ReadonlyMap<number, unknown>,
  record: Record<string, unknown>,
): Map<number, unknown> | undefined {
  let unknown: Map<number, unknown> | undefined;
  for (const [number, value] of values) {
    const field = fields.get(number);
    if (field === undefined) (unknown ??= new Map()).set(number, value);
    else record[field.name] = field.read === undefined ? value : field.read(value);
  }
  return unknown;
}

/** Fields by the name of the embedded model, so that recursive models end. */
type KnownFields = Map<string, StoredField[]>;

function createFields(data: PropertiesData, embedded: Embedded, known: KnownFields): StoredField[] {
  const fields: StoredField[] = [];
  addFields(fields, data, embedded, known);
  return fields;
}

function addFields(
  fields: StoredField[],
  data: PropertiesData,
  embedded: Embedded,
  known: KnownFields,
): void {
  for (const { name, number, type } of data.properties) {
    const { write, read } = conversions(type, embedded, known);
    fields.push({ name, number, write, read });
  }
}

interface Conversions {
  readonly write?: Conversion;
  readonly read?: Conversion;
}

const asItIs: Conversions = {};

function conversions(type: TypeData, embedded: Embedded, known: KnownFields): Conversions {
  switch (type.kind) {
    case 'string':
    case 'boolean':
    case 'int32':
    case 'int64':
      return asItIs;
    case 'float64':
      return float64;
    case 'timestamp':
      return timestamp;
    case 'bytes':
      return bytes;
    case 'date':
      return date;
    case 'decimal':
      return decimalConversions(type.scale);
    case 'enum':
      return enumConversions(type.cases);
    case 'list':
      return listConversions(conversions(type.of, embedded, known));
    case 'set':
      return setConversions(type.of, conversions(type.of, embedded, known));
    case 'map':
      return mapConversions(
        type.key,
        conversions(type.key, embedded, known),
        conversions(type.of, embedded, known),
      );
    case 'union':
      return unionConversions(
        Object.entries(type.cases).map(([name, { number, type: of }]) => ({
          name,
          number,
          ...conversions(of, embedded, known),
        })),
      );
    case 'embedded':
      return embeddedConversions(type.model, embedded, known);
    case 'reference':
      return reference;
  }
}

const float64: Conversions = {
  write: (value) => (Object.is(value, -0) ? null : value),
  read: (value) => (value === null ? -0 : value),
};

const timestamp: Conversions = {
  write: (value) => (value as Date).getTime(),
  read: (value) => (typeof value === 'number' ? instantFromMs(value) : value),
};

const date: Conversions = {
  write: (value) => parseDay(value as string),
  read: (value) => (typeof value === 'number' ? formatDay(value) : value),
};

function decimalConversions(scale: number): Conversions {
  return {
    write(value) {
      const scaled = parseDecimal(value as string, scale);
      return scaled === undefined || BigInt.asIntN(64, scaled) === scaled ? scaled : scaled.toString();
    },
    read(value) {
      if (typeof value === 'bigint') return formatDecimal(value, scale);
      const isDigits = typeof value === 'string' && /^-?\d+$/.test(value);
      return isDigits ? formatDecimal(BigInt(value), scale) : value;
    },
  };
}

const bytes: Conversions = {
  // A plain view: what was given as a Uint8Array comes back as one.
  read: (value) =>
    value instanceof Uint8Array ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength) : value,
};

function enumConversions(cases: Readonly<Record<string, number>>): Conversions {
  const numbers = new Map<unknown, number>(Object.entries(cases));
  const names = new Map<unknown, string>(Object.entries(cases).map(([name, number]) => [number, name]));
  return {
    // A case that this definition does not know is its number, both ways.
    write: (value) => numbers.get(value) ?? value,
    read: (value) => names.get(value) ?? value,
  };
}

function listConversions({ write, read }: Conversions): Conversions {
  return {
    ...(write === undefined ? {} : { write: (value) => (value as readonly unknown[]).map(write) }),
    ...(read === undefined ? {} : { read: (value) => (Array.isArray(value) ? value.map(read) : value) }),
  };
}

const apply = (conversion: Conversion | undefined, value: unknown): unknown =>
  conversion === undefined ? value : conversion(value);

/** Equal sets have equal bytes, whatever the order in which they were filled. */
function setConversions(of: TypeData, { write, read }: Conversions): Conversions {
  const inOrder = orderBy(of, (element) => element);
  return {
    write: (value) => inOrder([...(value as ReadonlySet<unknown>)]).map((element) => apply(write, element)),
    read: (value) =>
      Array.isArray(value) ? new Set(value.map((element: unknown) => apply(read, element))) : value,
  };
}

function mapConversions(keyType: TypeData, key: Conversions, inner: Conversions): Conversions {
  const inOrder = orderBy<readonly [unknown, unknown]>(keyType, ([name]) => name);
  return {
    write: (value) =>
      inOrder([...(value as ReadonlyMap<unknown, unknown>)]).flatMap(([name, one]) => [
        apply(key.write, name),
        apply(inner.write, one),
      ]),
    read(value) {
      if (!Array.isArray(value)) return value;
      const entries = new Map<unknown, unknown>();
      for (let at = 0; at + 1 < value.length; at += 2) {
        entries.set(apply(key.read, value[at]), apply(inner.read, value[at + 1]));
      }
      return entries;
    },
  };
}

/** Sorts by the bytes that values of the type have in keys. */
function orderBy<Item>(type: TypeData, valueOf: (item: Item) => unknown) {
  const codec = componentCodec(type);
  const writer = new TupleWriter();
  return (items: readonly Item[]): readonly Item[] =>
    items
      .map((item) => {
        writer.reset();
        codec.write(writer, valueOf(item));
        return { item, bytes: writer.toBuffer() };
      })
      .sort((left, right) => left.bytes.compare(right.bytes))
      .map(({ item }) => item);
}

interface UnionCase extends Conversions {
  readonly name: string;
  readonly number: number;
}

function unionConversions(cases: readonly UnionCase[]): Conversions {
  const byName = new Map<unknown, UnionCase>(cases.map((one) => [one.name, one]));
  const byNumber = new Map<unknown, UnionCase>(cases.map((one) => [one.number, one]));
  return {
    // A case that this definition does not know is its number and what was stored, both ways.
    write(value) {
      const { case: name, value: inner } = value as { readonly case: unknown; readonly value: unknown };
      const known = byName.get(name);
      return known === undefined ? [name, inner] : [known.number, apply(known.write, inner)];
    },
    read(value) {
      if (!Array.isArray(value) || value.length !== 2) return value;
      const [number, inner] = value as readonly unknown[];
      const known = byNumber.get(number);
      return known === undefined
        ? { case: number, value: inner }
        : { case: known.name, value: apply(known.read, inner) };
    },
  };
}

/**
 * What stands under unknown numbers inside an embedded value, kept beside the object that was decoded: whoever writes
 * the same object back loses nothing, and nobody sees it.
 */
const unknownInside = new WeakMap<object, ReadonlyMap<number, unknown>>();

/** Whoever writes `to` writes the unknown values inside of `from` with it, unless it has some of its own. */
export function adoptUnknown(from: object, to: object): void {
  const unknown = unknownInside.get(from);
  if (unknown !== undefined && !unknownInside.has(to)) unknownInside.set(to, unknown);
}

function embeddedConversions(model: string, embedded: Embedded, known: KnownFields): Conversions {
  let fields = known.get(model);
  if (fields === undefined) {
    const data = embedded[model];
    if (data === undefined) throw new TypeError(`there is no embedded model ${model}`);
    fields = [];
    known.set(model, fields);
    addFields(fields, data, embedded, known);
  }
  const all = fields;
  let byNumber: ReadonlyMap<number, StoredField> | undefined;
  return {
    write: (value) => writeFields(all, value as RecordData, unknownInside.get(value as object)),
    read(value) {
      if (!(value instanceof Map)) return value;
      byNumber ??= new Map(all.map((field) => [field.number, field]));
      const record: Record<string, unknown> = {};
      const unknown = readFields(byNumber, value, record);
      if (unknown !== undefined) unknownInside.set(record, unknown);
      return record;
    },
  };
}

/** By what the value is, not by the key it names: a record must be readable without the other model. */
const reference: Conversions = {
  write(value) {
    if (typeof value === 'object' && value !== null && !(value instanceof Uint8Array) && !isInstant(value)) {
      return new Map(Object.entries(value).map(([name, part]) => [name, float64.write?.(part)]));
    }
    return float64.write?.(value);
  },
  read(value) {
    if (value instanceof Map) {
      return Object.fromEntries([...value].map(([name, part]) => [name, keyPartOf(part)]));
    }
    return keyPartOf(value);
  },
};

const keyPartOf: Conversion = (value) =>
  value instanceof Uint8Array ? bytes.read?.(value) : float64.read?.(value);
