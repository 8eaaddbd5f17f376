import fc from 'fast-check';
import { pack } from 'fdb-tuple';
import { describe, expect, it } from 'vitest';
import { TupleReader, TupleWriter, encodeTuple } from '../../../src/records/tuple.ts';
import { drawSeed } from '../../rig/seed.ts';
import { bytes, float64s, int32s, int64s, strings } from './key-values.ts';

const seed = drawSeed('tuple.test.ts');
const check = (property: fc.IProperty<[unknown]>) => {
  fc.assert(property as fc.IProperty<unknown>, { seed, numRuns: 500 });
};

const written = (write: (to: TupleWriter) => void) => {
  const writer = new TupleWriter();
  write(writer);
  return writer.toBuffer();
};

describe('bytes of components', () => {
  it('are those of the tuple layer for strings', () => {
    check(
      fc.property(strings, (value) => {
        expect(written((to) => to.writeString(value))).toEqual(pack([value]));
      }),
    );
  });

  it('are those of the tuple layer for bytes', () => {
    check(
      fc.property(bytes, (value) => {
        expect(written((to) => to.writeBytes(value))).toEqual(pack([Buffer.from(value)]));
      }),
    );
  });

  it('are those of the tuple layer for integers', () => {
    const integers = fc.oneof(int32s, fc.maxSafeInteger());
    check(
      fc.property(integers, (value) => {
        expect(written((to) => to.writeInteger(value))).toEqual(pack([value]));
      }),
    );
  });

  it('are those of the tuple layer for integers of 64 bits', () => {
    check(
      fc.property(int64s, (value) => {
        expect(written((to) => to.writeBigint(value))).toEqual(pack([value]));
      }),
    );
  });

  it('are those of the tuple layer for integers of any length', () => {
    const longest = 2n ** (8n * 255n) - 1n;
    const integers = fc.oneof(
      fc.bigInt({ min: -(2n ** 130n), max: 2n ** 130n }),
      fc.constantFrom(2n ** 64n, -(2n ** 64n), 2n ** 64n - 1n, longest, -longest),
    );
    check(
      fc.property(integers, (value) => {
        const bytes = written((to) => to.writeBigint(value));
        expect(bytes).toEqual(pack([value]));
        expect(new TupleReader(bytes).readBigint()).toBe(value);
      }),
    );
    expect(() => new TupleWriter().writeBigint(longest + 1n)).toThrow(TypeError);
  });

  it('are those of the tuple layer for doubles', () => {
    check(
      fc.property(float64s, (value) => {
        expect(written((to) => to.writeDouble(value))).toEqual(pack([{ type: 'double', value }]));
      }),
    );
  });

  it('are those of the tuple layer for null, booleans, nested and whole tuples', () => {
    expect(written((to) => to.writeNull())).toEqual(pack([null]));
    expect(written((to) => to.writeBoolean(true))).toEqual(pack([true]));
    expect(written((to) => to.writeBoolean(false))).toEqual(pack([false]));
    const nested = (to: TupleWriter) => {
      to.writeNested(() => {
        to.writeString('a\0b');
        to.writeInteger(-300);
      });
    };
    expect(written(nested)).toEqual(pack([['a\0b', -300]]));
    expect(encodeTuple(['geo', 1, -1])).toEqual(pack(['geo', 1, -1]));
  });
});

describe('a writer', () => {
  it('grows, and begins anew after a reset', () => {
    const writer = new TupleWriter();
    writer.writeString('文'.repeat(9_000));
    expect(writer.toBuffer()).toEqual(pack(['文'.repeat(9_000)]));
    writer.reset();
    writer.writeInteger(1);
    expect(writer.toBuffer()).toEqual(pack([1]));
  });

  it('of whole tuples shares nothing between them, also behind one that was refused', () => {
    const first = encodeTuple(['geo', 1]);
    expect(() => encodeTuple(['left over', 1.5])).toThrow(TypeError);
    expect(encodeTuple(['other', 2])).toEqual(pack(['other', 2]));
    expect(first).toEqual(pack(['geo', 1]));
  });

  it('has nothing to answer before something is written', () => {
    const writer = new TupleWriter();
    expect(writer.toBuffer()).toEqual(Buffer.alloc(0));
    writer.reverseFrom(0);
    expect(writer.length).toBe(0);
  });

  it.each([1.5, Number.NaN, 2 ** 53])('refuses %s as an integer', (value) => {
    expect(() => {
      new TupleWriter().writeInteger(value);
    }).toThrow(TypeError);
  });
});

describe('a reader', () => {
  it.each([
    ['a string that does not end', [0x02, 0x61], (from: TupleReader) => from.readString()],
    ['bytes that end in an escape', [0x01, 0x00, 0xff], (from: TupleReader) => from.readBytes()],
    ['an integer cut short', [0x17, 0x01], (from: TupleReader) => from.readInteger()],
    ['a long integer cut short', [0x1d, 0x09, 0x01], (from: TupleReader) => from.readBigint()],
    ['a double cut short', [0x21, 0x80], (from: TupleReader) => from.readDouble()],
    ['another type', [0x02, 0x00], (from: TupleReader) => from.readBoolean()],
    ['nothing', [], (from: TupleReader) => from.readInteger()],
    ['an open nesting', [0x05, 0x26], (from: TupleReader) => from.readNested(() => from.readBoolean())],
  ])('refuses %s', (_what, content, read) => {
    expect(() => {
      read(new TupleReader(Uint8Array.from(content)));
    }).toThrow(TypeError);
  });
});
