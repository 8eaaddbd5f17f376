import type { AtomicOperation } from '../kv.ts';

/**
 * What an atomic operation makes of a value: FoundationDB's rules, to the byte. `current` absent: there is no value.
 * Answers undefined when the key is to be cleared. The result has the operand's length (except for byteMin and
 * byteMax, which choose one of the two as it is).
 */
export function applyAtomicOperation(
  operation: AtomicOperation,
  current: Uint8Array | undefined,
  operand: Uint8Array,
): Buffer | undefined {
  switch (operation) {
    case 'add':
      return add(fit(current, operand.length), operand);
    case 'bitOr':
      return bitOr(fit(current, operand.length), operand);
    case 'max':
      return chooseInteger(current, operand, 1);
    case 'min':
      return current === undefined ? Buffer.from(operand) : chooseInteger(current, operand, -1);
    case 'byteMin':
      return Buffer.from(current !== undefined && Buffer.compare(current, operand) < 0 ? current : operand);
    case 'byteMax':
      return Buffer.from(current !== undefined && Buffer.compare(current, operand) > 0 ? current : operand);
    case 'compareAndClear':
      if (current === undefined || Buffer.compare(current, operand) === 0) return undefined;
      return Buffer.from(current);
  }
}

/** The value cut, or filled with zeros, to the operand's length: integers are little-endian. */
function fit(value: Uint8Array | undefined, length: number): Buffer {
  const fitted = Buffer.alloc(length);
  if (value !== undefined) fitted.set(value.subarray(0, length));
  return fitted;
}

function add(sum: Buffer, operand: Uint8Array): Buffer {
  let carry = 0;
  for (let i = 0; i < sum.length; i++) {
    const digit = (sum[i] ?? 0) + (operand[i] ?? 0) + carry;
    sum[i] = digit & 0xff;
    carry = digit >> 8;
  }
  return sum;
}

function bitOr(bits: Buffer, operand: Uint8Array): Buffer {
  for (let i = 0; i < bits.length; i++) bits[i] = (bits[i] ?? 0) | (operand[i] ?? 0);
  return bits;
}

function chooseInteger(current: Uint8Array | undefined, operand: Uint8Array, sign: 1 | -1): Buffer {
  const fitted = fit(current, operand.length);
  return compareIntegers(fitted, operand) * sign > 0 ? fitted : Buffer.from(operand);
}

function compareIntegers(left: Uint8Array, right: Uint8Array): number {
  for (let i = left.length - 1; i >= 0; i--) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
