const integers = new Intl.NumberFormat('en-US');

export const thousands = (value: number): string => integers.format(value);

/** Rounded down: 100.0 % is for what is over. */
export const percent = (fraction: number): string => `${(Math.floor(fraction * 1_000) / 10).toFixed(1)} %`;

export const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;

/** With it, a line of progress fits into the 80 columns of a small terminal. */
const barWidth = 14;

export function bar(fraction: number): string {
  const full = Math.floor(fraction * barWidth);
  return `[${'#'.repeat(full)}${'.'.repeat(barWidth - full)}]`;
}
