import type { MigrationStatus } from '../migration/status.ts';
import {
  formatBar,
  formatCount,
  formatDuration,
  formatOwner,
  formatPercent,
  formatRecords,
  formatTable,
  plain,
} from './format.ts';
import type { Paint, Style } from './output.ts';

const styles: Readonly<Record<MigrationStatus['state'], Style>> = {
  Idle: 'green',
  Waiting: 'yellow',
  Running: 'cyan',
  Paused: 'yellow',
  Canceled: 'red',
  Failed: 'red',
};

export const paintState = (paint: Paint, state: MigrationStatus['state'], text: string = state) =>
  paint(styles[state], text);

/** Why it stands where it stands, in the words of whoever knows. */
export function whyOf({ state, reason, lastError, message }: MigrationStatus): string | undefined {
  if (reason !== undefined) return plain(`${reason.code}: ${reason.message}`);
  if (state === 'Failed' && lastError !== null) return plain(`${lastError.code}: ${lastError.message}`);
  if (state === 'Idle') return undefined;
  return message === null ? undefined : plain(message);
}

/** One row for each model. */
export function statusTable(statuses: readonly MigrationStatus[]): string {
  const rows = statuses.map((status) => {
    const { fraction, recordsPerSecond } = status.progress;
    return [
      String(status.modelId),
      plain(status.modelName),
      status.state,
      status.phase ?? '-',
      fraction === null ? '-' : formatPercent(fraction),
      recordsPerSecond === 0 ? '-' : `${formatCount(recordsPerSecond)}/s`,
      status.etaMs === null ? '-' : formatDuration(status.etaMs),
      formatOwner(status) ?? '-',
      whyOf(status) ?? '',
    ];
  });
  return formatTable([['ID', 'MODEL', 'STATE', 'PHASE', 'DONE', 'RATE', 'ETA', 'OWNER', 'REASON'], ...rows]);
}

/** All of one model, a line each. */
export function statusDetails(status: MigrationStatus, paint: Paint): string {
  const { progress, owner, movers, lastError } = status;
  const lines: (readonly [string, string | undefined])[] = [
    ['model', `${plain(status.modelName)} (${status.modelId})`],
    ['state', paintState(paint, status.state)],
    ['reason', whyOf(status)],
    ['requests', status.blocking ? 'refused, or will be until it is published' : 'served'],
    ['migration', status.migrationId ?? undefined],
    ['phase', status.phase ?? undefined],
    ['progress', status.phase === null ? undefined : progressText(progress)],
    ['ETA of the phase', status.etaMs === null ? undefined : formatDuration(status.etaMs)],
    ['owner', owner === null ? undefined : `${plain(owner.nodeId)}, epoch ${owner.epoch}`],
    ...movers.map(
      ({ nodeId, ranges, recordsPerSecond }) =>
        [
          'mover',
          `${plain(nodeId)}: ${ranges} ${ranges === 1 ? 'range' : 'ranges'}, ${formatCount(recordsPerSecond)}/s`,
        ] as const,
    ),
    ['attempt', status.attempt === 0 ? undefined : String(status.attempt)],
    ['retries', status.retryCount === 0 ? undefined : String(status.retryCount)],
    ['last error', lastError === null ? undefined : plain(`${lastError.code}: ${lastError.message}`)],
  ];
  return formatTable(
    lines
      .filter((line): line is readonly [string, string] => line[1] !== undefined)
      .map(([name, text]) => [`${name}:`, text]),
  );
}

function progressText(progress: MigrationStatus['progress']): string {
  const { fraction, recordsPerSecond } = progress;
  const share = fraction === null ? '' : `${formatPercent(fraction)}, `;
  const rate = recordsPerSecond === 0 ? '' : `, ${formatCount(recordsPerSecond)}/s`;
  return `${share}${formatRecords(progress)}${rate}`;
}

const barWidth = 20;

/** One model in one line, with a bar while something moves. @param nameWidth of the longest name */
export function statusLine(status: MigrationStatus, nameWidth: number): string {
  const { state, phase, progress, etaMs } = status;
  const name = plain(status.modelName).padEnd(nameWidth);
  const isUnderWay = state !== 'Idle' && phase !== null;
  const parts = [
    `${name}  ${state.padEnd(8)}`,
    isUnderWay ? phase.padEnd(8) : undefined,
    isUnderWay ? formatBar(progress.fraction, barWidth) : undefined,
    isUnderWay && progress.fraction !== null ? formatPercent(progress.fraction).padStart(5) : undefined,
    isUnderWay ? formatRecords(progress) : undefined,
    progress.recordsPerSecond === 0 ? undefined : `${formatCount(progress.recordsPerSecond)}/s`,
    etaMs === null ? undefined : `ETA ${formatDuration(etaMs)}`,
    formatOwner(status),
    whyOf(status),
  ];
  return parts
    .filter((part) => part !== undefined)
    .join('  ')
    .trimEnd();
}
