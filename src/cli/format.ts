import type { MigrationStatus } from '../migration/status.ts';

/** The two largest units that say something: `1 h 5 min`, `12 s`. */
export function formatDuration(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return withRest(minutes, 'min', seconds % 60, 's');
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return withRest(hours, 'h', minutes % 60, 'min');
  return withRest(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

const withRest = (count: number, unit: string, rest: number, smaller: string) =>
  rest === 0 ? `${count} ${unit}` : `${count} ${unit} ${rest} ${smaller}`;

/** With commas between thousands, whatever the machine's language. */
export function formatCount(count: number): string {
  return Math.round(count)
    .toString()
    .replaceAll(/\B(?=(?:\d{3})+$)/g, ',');
}

/** Down, so that 100 % is said only when it is over. */
export const formatPercent = (fraction: number) => `${Math.floor(fraction * 100)} %`;

/** `[#####.....]`; question marks where nobody knows. */
export function formatBar(fraction: number | null, width: number): string {
  if (fraction === null) return `[${'?'.repeat(width)}]`;
  const full = Math.floor(Math.min(1, Math.max(0, fraction)) * width);
  return `[${'#'.repeat(full)}${'.'.repeat(width - full)}]`;
}

/** `4,200 of about 10,000 records`. */
export function formatRecords({ recordsDone, recordsEstimated }: MigrationStatus['progress']): string {
  if (recordsEstimated === null) return `${formatCount(recordsDone)} records`;
  if (recordsEstimated === recordsDone) return `all ${formatCount(recordsDone)} records`;
  return `${formatCount(recordsDone)} of about ${formatCount(recordsEstimated)} records`;
}

/** Who leads, and how many others move records with it. Whoever is done is about to give its lease back. */
export function formatOwner({ state, owner, movers }: MigrationStatus): string | undefined {
  if (state === 'Idle') return undefined;
  const others = movers.filter(({ nodeId }) => nodeId !== owner?.nodeId).length;
  if (owner === null) return others === 0 ? undefined : formatOthers(others);
  const leader = plain(owner.nodeId);
  return others === 0 ? leader : `${leader} and ${formatOthers(others)}`;
}

const formatOthers = (others: number) => `${others} other ${others === 1 ? 'node' : 'nodes'}`;

/** Columns as wide as what is in them; the last one ends where it ends. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = rows.reduce<number[]>((all, row) => {
    for (const [at, cell] of row.entries()) all[at] = Math.max(all[at] ?? 0, cell.length);
    return all;
  }, []);
  return rows
    .map((row) =>
      row
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Control characters of texts that others wrote would steer the terminal. */
export function plain(text: string): string {
  // oxlint-disable-next-line no-control-regex -- those are meant
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
}

/** In the largest decimal unit of which there is one: `2.3 MB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const exponent = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  const count = bytes / 1_000 ** exponent;
  return `${exponent > 0 && count < 10 ? count.toFixed(1) : formatCount(count)} ${units[exponent] ?? ''}`;
}
