import fc from 'fast-check';
import { formatDay } from '../../../src/model/calendar.ts';
import type { TypeData } from '../../../src/model/data.ts';
import { formatDecimal, parseDecimal } from '../../../src/model/decimal.ts';
import { instantFromMs } from '../../../src/ports/instant.ts';

/** Types that may stand in a key, random values of each, and the order that their bytes must have. */
export interface KeyType {
  readonly type: TypeData;
  readonly values: fc.Arbitrary<unknown>;
  compare(left: never, right: never): number;
}

/** Strings of whole characters: half a surrogate pair has no UTF-8. Short alphabets make equal beginnings likely. */
export const strings = fc.oneof(
  fc.string({ unit: fc.constantFrom('', 'a', 'b', '\0', '\u0001', 'ÿ', 'é', '文', '🪶', '\uffff') }),
  fc.string({ unit: 'binary' }),
);

export const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.array(fc.constantFrom(0, 1, 0xfe, 0xff), { maxLength: 6 }).map((content) => Uint8Array.from(content)),
);

export const int32s = fc.oneof(
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  fc.constantFrom(-(2 ** 31), 2 ** 31 - 1, -256, -255, -1, 0, 1, 255, 256, 65_535, 65_536),
);

export const int64s = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(
    -(2n ** 63n),
    2n ** 63n - 1n,
    -(2n ** 56n),
    2n ** 56n,
    2n ** 56n - 1n,
    -(2n ** 53n),
    2n ** 53n,
    2n ** 53n - 1n,
    2n ** 53n + 1n,
  ),
  int32s.map(BigInt),
);

export const float64s = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(
    -0,
    0,
    Number.MIN_VALUE,
    -Number.MIN_VALUE,
    Number.MAX_VALUE,
    -Number.MAX_VALUE,
    2 ** 53,
    1.5,
  ),
);

export const timestamps = fc
  .oneof(
    fc.integer({ min: -8.64e15, max: 8.64e15 }),
    fc.constantFrom(-8.64e15, 8.64e15, -1, 0, 1, 1_700_000_000_123),
  )
  .map(instantFromMs);

export const dates = fc
  .oneof(fc.integer({ min: -719_528, max: 2_932_896 }), fc.constantFrom(-719_528, -1, 0, 1, 2_932_896))
  .map(formatDay);

export const decimals = (precision: number, scale: number) => {
  const most = 10n ** BigInt(precision) - 1n;
  return fc
    .oneof(
      fc.bigInt({ min: -most, max: most }),
      fc.constantFrom(0n, 1n, -1n, most, -most, 2n ** 62n % most, -(2n ** 63n % most)),
    )
    .map((scaled) => formatDecimal(scaled, scale));
};

const cases = { small: 1, large: 300, none: 0 };

const byOrder = <T>(left: T, right: T) => (left < right ? -1 : left > right ? 1 : 0);

/** As by `<`, but that -0 comes before 0. */
const compareDoubles = (left: number, right: number) =>
  byOrder(left, right) || Number(Object.is(right, -0)) - Number(Object.is(left, -0));

const byNumber = (scale: number) => (left: string, right: string) =>
  byOrder(parseDecimal(left, scale) ?? 0n, parseDecimal(right, scale) ?? 0n);

export const keyTypes: Readonly<Record<string, KeyType>> = {
  string: {
    type: { kind: 'string' },
    values: strings,
    // By code point, which is the order of UTF-8 and not of JavaScript's strings.
    compare: (left: string, right: string) => Buffer.from(left).compare(Buffer.from(right)),
  },
  bytes: {
    type: { kind: 'bytes' },
    values: bytes,
    compare: (left: Uint8Array, right: Uint8Array) => Buffer.compare(left, right),
  },
  boolean: { type: { kind: 'boolean' }, values: fc.boolean(), compare: byOrder },
  int32: { type: { kind: 'int32' }, values: int32s, compare: byOrder },
  int64: { type: { kind: 'int64' }, values: int64s, compare: byOrder },
  float64: { type: { kind: 'float64' }, values: float64s, compare: compareDoubles },
  timestamp: {
    type: { kind: 'timestamp' },
    values: timestamps,
    compare: (left: Date, right: Date) => byOrder(left.getTime(), right.getTime()),
  },
  date: { type: { kind: 'date' }, values: dates, compare: byOrder },
  decimal: {
    type: { kind: 'decimal', precision: 9, scale: 2 },
    values: decimals(9, 2),
    compare: byNumber(2),
  },
  longDecimal: {
    type: { kind: 'decimal', precision: 38, scale: 10 },
    values: decimals(38, 10),
    compare: byNumber(10),
  },
  enum: {
    type: { kind: 'enum', cases, reservedNumbers: [], reservedNames: [] },
    values: fc.constantFrom(...Object.keys(cases)),
    compare: (left: keyof typeof cases, right: keyof typeof cases) => byOrder(cases[left], cases[right]),
  },
};
