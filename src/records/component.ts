import { formatDay, parseDay } from '../model/calendar.ts';
import type { RecordData, ReferenceKeys, TypeData } from '../model/data.ts';
import { formatDecimal, parseDecimal } from '../model/decimal.ts';
import { instantFromMs, isInstant } from '../ports/instant.ts';
import type { TupleReader, TupleWriter } from './tuple.ts';

/** How values of one type stand in keys and index entries. Never sees undefined: that is a null of the tuple layer. */
export interface ComponentCodec {
  write(to: TupleWriter, value: unknown): void;
  read(from: TupleReader): unknown;
}

/**
 * The codec for components of one type. A reference is written as the components of the key it names; where the
 * shape of that key is unknown, by what the value is, which gives the same bytes for every single key but a float64, a date or a decimal.
 *
 * @throws TypeError for types that cannot stand in a key (list, embedded), which `defineModel` refuses
 */
export function componentCodec(type: TypeData, references: ReferenceKeys = {}): ComponentCodec {
  switch (type.kind) {
    case 'string':
      return stringComponent;
    case 'bytes':
      return bytesComponent;
    case 'boolean':
      return booleanComponent;
    case 'int32':
      return integerComponent;
    case 'int64':
      return bigintComponent;
    case 'float64':
      return doubleComponent;
    case 'timestamp':
      return timestampComponent;
    case 'date':
      return dateComponent;
    case 'decimal':
      return decimalComponent(type.scale);
    case 'enum':
      return enumComponent(type.cases);
    case 'reference':
      return referenceComponent(type.to, references);
    case 'list':
    case 'set':
    case 'map':
    case 'union':
    case 'embedded':
      throw new TypeError(`a value of type ${type.kind} cannot stand in a key`);
  }
}

const stringComponent: ComponentCodec = {
  write(to, value) {
    if (typeof value !== 'string') throw mismatch('string', value);
    to.writeString(value);
  },
  read: (from) => from.readString(),
};

const bytesComponent: ComponentCodec = {
  write(to, value) {
    if (!(value instanceof Uint8Array)) throw mismatch('bytes', value);
    to.writeBytes(value);
  },
  read: (from) => from.readBytes(),
};

const booleanComponent: ComponentCodec = {
  write(to, value) {
    if (typeof value !== 'boolean') throw mismatch('boolean', value);
    to.writeBoolean(value);
  },
  read: (from) => from.readBoolean(),
};

const integerComponent: ComponentCodec = {
  write(to, value) {
    if (typeof value !== 'number') throw mismatch('int32', value);
    to.writeInteger(value);
  },
  read: (from) => from.readInteger(),
};

const bigintComponent: ComponentCodec = {
  write(to, value) {
    if (typeof value !== 'bigint') throw mismatch('int64', value);
    to.writeBigint(value);
  },
  read: (from) => from.readBigint(),
};

const doubleComponent: ComponentCodec = {
  write(to, value) {
    if (typeof value !== 'number') throw mismatch('float64', value);
    to.writeDouble(value);
  },
  read: (from) => from.readDouble(),
};

const timestampComponent: ComponentCodec = {
  write(to, value) {
    if (!isInstant(value)) throw mismatch('timestamp', value);
    to.writeInteger(value.getTime());
  },
  read: (from) => instantFromMs(from.readInteger()),
};

/** As days since 1970-01-01. */
const dateComponent: ComponentCodec = {
  write(to, value) {
    const day = typeof value === 'string' ? parseDay(value) : undefined;
    if (day === undefined) throw mismatch('date', value);
    to.writeInteger(day);
  },
  read: (from) => formatDay(from.readInteger()),
};

/** As the integer of all its digits. */
function decimalComponent(scale: number): ComponentCodec {
  return {
    write(to, value) {
      const scaled = typeof value === 'string' ? parseDecimal(value, scale) : undefined;
      if (scaled === undefined) throw mismatch('decimal', value);
      to.writeBigint(scaled);
    },
    read: (from) => formatDecimal(from.readBigint(), scale),
  };
}

function enumComponent(cases: Readonly<Record<string, number>>): ComponentCodec {
  const numbers = new Map(Object.entries(cases));
  const names = new Map(Object.entries(cases).map(([name, number]) => [number, name]));
  return {
    write(to, value) {
      // A case that this program does not know was read as its number and goes back as that.
      const number = typeof value === 'string' ? numbers.get(value) : value;
      if (typeof number !== 'number') throw mismatch('enum', value);
      to.writeInteger(number);
    },
    read(from) {
      const number = from.readInteger();
      return names.get(number) ?? number;
    },
  };
}

/** Built at first use: two models may refer to each other in their keys' definitions. */
function referenceComponent(to: string, references: ReferenceKeys): ComponentCodec {
  const key = references[to];
  if (key === undefined) return untypedComponent;
  let parts: { readonly name: string; readonly codec: ComponentCodec }[] | undefined;
  const partsOfKey = () =>
    (parts ??= key.map(({ name, type }) => ({ name, codec: componentCodec(type, references) })));
  return {
    write: (writer, value) => {
      writeKeyParts(writer, partsOfKey(), value);
    },
    read: (reader) => readKeyParts(reader, partsOfKey()),
  };
}

/** A named component of a key. */
export interface KeyPart {
  readonly name: string;
  readonly codec: ComponentCodec;
}

/** Writes a key: the bare value where it has one part, else an object with all of them. */
export function writeKeyParts(to: TupleWriter, parts: readonly KeyPart[], key: unknown): void {
  const [first, ...others] = parts;
  if (first === undefined) throw new TypeError('a key has at least one property');
  if (others.length === 0) {
    first.codec.write(to, key);
    return;
  }
  if (typeof key !== 'object' || key === null) throw mismatch('key', key);
  for (const { name, codec } of parts) codec.write(to, (key as RecordData)[name]);
}

/** The inverse of `writeKeyParts`. */
export function readKeyParts(from: TupleReader, parts: readonly KeyPart[]): unknown {
  const [first, ...others] = parts;
  if (first !== undefined && others.length === 0) return first.codec.read(from);
  return Object.fromEntries(parts.map(({ name, codec }) => [name, codec.read(from)]));
}

/** By what the value is. Integers come back as numbers where they are safe, a `Date` comes back as its milliseconds. */
const untypedComponent: ComponentCodec = {
  write(to, value) {
    if (typeof value === 'string') to.writeString(value);
    else if (typeof value === 'bigint') to.writeBigint(value);
    else if (typeof value === 'boolean') to.writeBoolean(value);
    else if (value instanceof Uint8Array) to.writeBytes(value);
    else if (isInstant(value)) to.writeInteger(value.getTime());
    else if (typeof value === 'number') {
      if (Number.isSafeInteger(value) && !Object.is(value, -0)) to.writeInteger(value);
      else to.writeDouble(value);
    } else if (typeof value === 'object' && value !== null) {
      to.writeNested(() => {
        for (const [name, part] of Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) {
          to.writeString(name);
          untypedComponent.write(to, part);
        }
      });
    } else throw mismatch('reference', value);
  },
  read(from) {
    const kind = from.peek();
    switch (kind) {
      case 'string':
        return from.readString();
      case 'bytes':
        return from.readBytes();
      case 'boolean':
        return from.readBoolean();
      case 'double':
        return from.readDouble();
      case 'integer': {
        const integer = from.readBigint();
        return Number.isSafeInteger(Number(integer)) ? Number(integer) : integer;
      }
      case 'nested': {
        const parts: [string, unknown][] = [];
        from.readNested(() => parts.push([from.readString(), untypedComponent.read(from)]));
        return Object.fromEntries(parts);
      }
      case 'null':
      case 'end':
        throw new TypeError(`a reference is no ${kind}`);
    }
  },
};

function mismatch(expected: string, value: unknown): TypeError {
  return new TypeError(`a key component of type ${expected} cannot be a ${typeof value}`);
}
