/**
 * FoundationDB's tuple layer, as far as keys need it: bytes that sort as their values do, and an encoding of which
 * none is the beginning of another. Written here because keys are typed (an int64 is always a bigint), decoded on
 * the hot path of a scan, and because an index component may be reversed. `test/unit/records` holds it against
 * `fdb-tuple`.
 */

/** First byte of each encoded component. Source: FoundationDB, design/tuple.md. */
const TypeCode = {
  null: 0x00,
  bytes: 0x01,
  string: 0x02,
  nested: 0x05,
  /** An integer of n bytes has this plus n, a negative one this minus n. */
  integerZero: 0x14,
  double: 0x21,
  false: 0x26,
  true: 0x27,
} as const;

/** A zero byte within a string or bytes is followed by this, so that the terminating zero stays unmistakable. */
const zeroEscape = 0xff;

/** Integers of more bytes have a type code that is followed by their number. */
const maxIntegerBytes = 8;
/** Of an integer whatsoever: its number of bytes is one byte. */
const maxLongIntegerBytes = 255;

/** The writer keeps its buffer for the next key; longer ones are let go. Twice the longest key (10,000 bytes). */
const keptBytes = 20_000;

/** The buffer that a writer begins with; most keys are shorter. */
const leastBytes = 256;

const noBytes = Buffer.alloc(0);

/** Writes components one after another. Reusable: `reset` begins the next key. Has no buffer until something is written. */
export class TupleWriter {
  #bytes: Buffer = noBytes;
  #length = 0;

  /** Bytes written since the last `reset`. */
  get length(): number {
    return this.#length;
  }

  reset(): void {
    this.#length = 0;
    if (this.#bytes.length > keptBytes) this.#bytes = noBytes;
  }

  /** A copy of what was written since the last `reset`, from `start`. */
  toBuffer(start = 0): Buffer {
    const copy = Buffer.allocUnsafe(this.#length - start);
    this.#bytes.copy(copy, 0, start, this.#length);
    return copy;
  }

  writeNull(): void {
    this.#byte(TypeCode.null);
  }

  writeBoolean(value: boolean): void {
    this.#byte(value ? TypeCode.true : TypeCode.false);
  }

  /** @param value a safe integer */
  writeInteger(value: number): void {
    if (!Number.isSafeInteger(value)) throw new TypeError('a key integer must be a safe integer');
    // -1 and ~0 differ by one: FoundationDB stores negative integers as the ones' complement of their magnitude.
    const magnitude = Math.abs(value);
    let size = 0;
    for (let rest = magnitude; rest > 0; rest = Math.floor(rest / 256)) size++;
    this.#reserve(size + 1);
    const flip = value < 0 ? 0xff : 0x00;
    this.#bytes[this.#length] = TypeCode.integerZero + (value < 0 ? -size : size);
    let rest = magnitude;
    for (let at = this.#length + size; at > this.#length; at--) {
      this.#bytes[at] = (rest % 256) ^ flip;
      rest = Math.floor(rest / 256);
    }
    this.#length += size + 1;
  }

  /** @param value of at most 255 bytes */
  writeBigint(value: bigint): void {
    if (value >= -maxSafeBigint && value <= maxSafeBigint) {
      this.writeInteger(Number(value));
      return;
    }
    const magnitude = value < 0n ? -value : value;
    const size = Math.ceil(magnitude.toString(16).length / 2);
    if (size > maxLongIntegerBytes) throw new TypeError('a key integer must fit 255 bytes');
    this.#reserve(size + 2);
    const flip = value < 0n ? 0xff : 0x00;
    const coded = Math.min(size, maxIntegerBytes + 1);
    this.#bytes[this.#length++] = TypeCode.integerZero + (value < 0n ? -coded : coded);
    if (size > maxIntegerBytes) this.#bytes[this.#length++] = size ^ flip;
    let rest = magnitude;
    for (let at = this.#length + size - 1; at >= this.#length; at--) {
      this.#bytes[at] = Number(rest & 0xffn) ^ flip;
      rest >>= 8n;
    }
    this.#length += size;
  }

  /** -0 keeps its sign and sorts just before 0. */
  writeDouble(value: number): void {
    this.#reserve(9);
    const at = this.#length;
    this.#bytes[at] = TypeCode.double;
    this.#bytes.writeDoubleBE(value, at + 1);
    flipDouble(this.#bytes, at + 1, (this.#bytes[at + 1]! & 0x80) !== 0);
    this.#length += 9;
  }

  writeString(value: string): void {
    if (value.includes('\0')) {
      this.#escaped(TypeCode.string, Buffer.from(value, 'utf8'));
      return;
    }
    this.#reserve(value.length * 3 + 2);
    this.#bytes[this.#length] = TypeCode.string;
    this.#length += 1 + this.#bytes.write(value, this.#length + 1, 'utf8');
    this.#bytes[this.#length++] = 0;
  }

  writeBytes(value: Uint8Array): void {
    this.#escaped(TypeCode.bytes, value);
  }

  /** Everything that `write` writes becomes one component. Nulls are not supported inside. */
  writeNested(write: () => void): void {
    this.#byte(TypeCode.nested);
    write();
    this.#byte(0);
  }

  /** Bytes that are encoded already, as they are. */
  writeRaw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Complements every bit from `start` on: the components there now sort the other way round. */
  reverseFrom(start: number): void {
    for (let at = start; at < this.#length; at++) this.#bytes[at] = this.#bytes[at]! ^ 0xff;
  }

  #byte(byte: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = byte;
  }

  #escaped(code: number, content: Uint8Array): void {
    this.#reserve(content.length * 2 + 2);
    const bytes = this.#bytes;
    let at = this.#length;
    bytes[at++] = code;
    for (const byte of content) {
      bytes[at++] = byte;
      if (byte === 0) bytes[at++] = zeroEscape;
    }
    bytes[at++] = 0;
    this.#length = at;
  }

  #reserve(size: number): void {
    const needed = this.#length + size;
    if (needed <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2, leastBytes));
    this.#bytes.copy(larger, 0, 0, this.#length);
    this.#bytes = larger;
  }
}

/** Reads components one after another. Throws a `TypeError` on bytes that are no such component. */
export class TupleReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** What kind of component comes next. */
  peek(): 'null' | 'bytes' | 'string' | 'nested' | 'integer' | 'double' | 'boolean' | 'end' {
    const code = this.#bytes[this.#at];
    switch (code) {
      case undefined:
        return 'end';
      case TypeCode.null:
        return 'null';
      case TypeCode.bytes:
        return 'bytes';
      case TypeCode.string:
        return 'string';
      case TypeCode.nested:
        return 'nested';
      case TypeCode.double:
        return 'double';
      case TypeCode.false:
      case TypeCode.true:
        return 'boolean';
      default:
        if (Math.abs(code - TypeCode.integerZero) <= maxIntegerBytes + 1) return 'integer';
        throw unreadable();
    }
  }

  /** Steps over a null; false, and no step, where there is none. */
  readNull(): boolean {
    if (this.#bytes[this.#at] !== TypeCode.null) return false;
    this.#at++;
    return true;
  }

  readBoolean(): boolean {
    const code = this.#bytes[this.#at++];
    if (code !== TypeCode.true && code !== TypeCode.false) throw unreadable();
    return code === TypeCode.true;
  }

  /** A safe integer. */
  readInteger(): number {
    const { size, negative } = this.#integerHead();
    const flip = negative ? 0xff : 0x00;
    let magnitude = 0;
    for (let n = 0; n < size; n++) magnitude = magnitude * 256 + (this.#bytes[this.#at++]! ^ flip);
    if (!Number.isSafeInteger(magnitude)) throw unreadable();
    return negative ? -magnitude : magnitude;
  }

  readBigint(): bigint {
    const { size, negative } = this.#integerHead();
    const flip = negative ? 0xff : 0x00;
    let magnitude = 0n;
    for (let n = 0; n < size; n++) magnitude = (magnitude << 8n) | BigInt(this.#bytes[this.#at++]! ^ flip);
    return negative ? -magnitude : magnitude;
  }

  readDouble(): number {
    if (this.#bytes[this.#at] !== TypeCode.double || this.#at + 9 > this.#bytes.length) throw unreadable();
    const content = Buffer.from(this.#bytes.subarray(this.#at + 1, this.#at + 9));
    flipDouble(content, 0, (content[0]! & 0x80) === 0);
    this.#at += 9;
    return content.readDoubleBE(0);
  }

  readString(): string {
    return this.#escaped(TypeCode.string).toString('utf8');
  }

  readBytes(): Uint8Array {
    return Uint8Array.from(this.#escaped(TypeCode.bytes));
  }

  /** Calls `read` until the nested component ends. */
  readNested(read: () => void): void {
    if (this.#bytes[this.#at++] !== TypeCode.nested) throw unreadable();
    while (this.#bytes[this.#at] !== 0) {
      if (this.atEnd) throw unreadable();
      read();
    }
    this.#at++;
  }

  #integerHead(): { size: number; negative: boolean } {
    const signed = (this.#bytes[this.#at++] ?? Number.NaN) - TypeCode.integerZero;
    const negative = signed < 0;
    let size = Math.abs(signed);
    if (size === maxIntegerBytes + 1) size = (this.#bytes[this.#at++] ?? 0) ^ (negative ? 0xff : 0x00);
    else if (!(size <= maxIntegerBytes)) throw unreadable();
    if (this.#at + size > this.#bytes.length) throw unreadable();
    return { size, negative };
  }

  #escaped(code: number): Buffer {
    if (this.#bytes[this.#at] !== code) throw unreadable();
    const begin = this.#at + 1;
    let end = this.#bytes.indexOf(0, begin);
    if (end !== -1 && this.#bytes[end + 1] !== zeroEscape) {
      this.#at = end + 1;
      return this.#bytes.subarray(begin, end);
    }
    const content: number[] = [];
    for (end = begin; ; end++) {
      const byte = this.#bytes[end];
      if (byte === undefined) throw unreadable();
      if (byte === 0) {
        if (this.#bytes[end + 1] !== zeroEscape) break;
        end++;
      }
      content.push(byte);
    }
    this.#at = end + 1;
    return Buffer.from(content);
  }
}

const maxSafeBigint = BigInt(Number.MAX_SAFE_INTEGER);

/** Makes the eight bytes of a double sort as it does: all bits of a negative one turn, else only the sign. */
function flipDouble(bytes: Uint8Array, at: number, negative: boolean): void {
  if (!negative) {
    bytes[at] = bytes[at]! ^ 0x80;
    return;
  }
  for (let n = at; n < at + 8; n++) bytes[n] = bytes[n]! ^ 0xff;
}

function unreadable(): TypeError {
  return new TypeError('bytes are no key of this model');
}

/** Nothing else is written between its reset and its answer. */
const tupleWriter = new TupleWriter();

/** A whole tuple: for the keys that are put together from few elements. */
export function encodeTuple(elements: readonly (string | number)[]): Buffer {
  tupleWriter.reset();
  for (const element of elements) {
    if (typeof element === 'string') tupleWriter.writeString(element);
    else tupleWriter.writeInteger(element);
  }
  return tupleWriter.toBuffer();
}
