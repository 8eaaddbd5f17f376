import { limits } from '../limits.ts';

/** Exact numbers as text, and the scaled integers that they are stored and compared as. */

/** Digits in all. */
export const maxPrecision = limits.model.decimalDigits.value;

const pattern = /^-?\d+(?:\.\d+)?$/;

/** The integer that has `scale` of its digits behind the point; undefined for text that is no such number. */
export function parseDecimal(text: string, scale: number): bigint | undefined {
  if (!pattern.test(text)) return undefined;
  const [whole = '', fraction = ''] = text.split('.');
  if (fraction.length > scale) return undefined;
  return BigInt(whole + fraction.padEnd(scale, '0'));
}

/** With exactly `scale` digits behind the point. Zero has no sign. */
export function formatDecimal(scaled: bigint, scale: number): string {
  const digits = (scaled < 0n ? -scaled : scaled).toString().padStart(scale + 1, '0');
  const sign = scaled < 0n ? '-' : '';
  if (scale === 0) return sign + digits;
  return `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

/** Whether it has at most that many digits. */
export function fitsPrecision(scaled: bigint, precision: number): boolean {
  const limit = 10n ** BigInt(precision);
  return scaled < limit && scaled > -limit;
}
