import { clearScreenDown, moveCursor } from 'node:readline';
import type { MigrationStatus } from '../migration/status.ts';
import { plain } from './format.ts';
import type { TextSink } from './io.ts';
import type { Paint } from './output.ts';
import { paintState, statusLine } from './status-text.ts';

/** Shows where migrations stand, again and again. */
export interface ProgressView {
  show(statuses: readonly MigrationStatus[]): void;
}

/** Columns and lines of a terminal that does not say. */
const unknownSize = { columns: 80, rows: 24 } as const;

/** One bar for each model, redrawn in place on a terminal; elsewhere one line whenever something has changed. */
export function createProgressView(sink: TextSink, paint: Paint): ProgressView {
  return sink.isTTY === true ? liveView(sink, paint) : lineView(sink);
}

function liveView(sink: TextSink, paint: Paint): ProgressView {
  let drawn = 0;
  let last = '';
  return {
    show(statuses) {
      const { columns = unknownSize.columns, rows = unknownSize.rows } = sink;
      const width = nameWidthOf(statuses);
      const most = Math.max(1, rows - 2);
      const lines = statuses.slice(0, most).map((status) => {
        // A line that wraps would be two, and the next drawing one too low.
        const line = statusLine(status, width).slice(0, columns - 1);
        return paintName(paint, status, line, width);
      });
      if (statuses.length > most) lines.push(`and ${statuses.length - most} more`.slice(0, columns - 1));
      const text = lines.map((line) => `${line}\n`).join('');
      if (text === last) return;
      const stream = sink as NodeJS.WritableStream;
      if (drawn > 0) moveCursor(stream, 0, -drawn);
      clearScreenDown(stream);
      sink.write(text);
      drawn = lines.length;
      last = text;
    },
  };
}

function paintName(paint: Paint, { state }: MigrationStatus, line: string, width: number): string {
  const end = width + 2 + state.length;
  return `${paint('bold', line.slice(0, width))}${line.slice(width, width + 2)}${paintState(
    paint,
    state,
    line.slice(width + 2, end),
  )}${line.slice(end)}`;
}

function lineView(sink: TextSink): ProgressView {
  const told = createChangeFilter(lineKey);
  return {
    show(statuses) {
      const width = nameWidthOf(statuses);
      for (const status of told(statuses)) sink.write(`${statusLine(status, width)}\n`);
    },
  };
}

const nameWidthOf = (statuses: readonly MigrationStatus[]) =>
  Math.max(0, ...statuses.map(({ modelName }) => plain(modelName).length));

/** Passes what is not as it was told last. */
export function createChangeFilter(
  keyOf: (status: MigrationStatus) => string,
): (statuses: readonly MigrationStatus[]) => readonly MigrationStatus[] {
  const last = new Map<number, string>();
  return (statuses) =>
    statuses.filter((status) => {
      const key = keyOf(status);
      if (last.get(status.modelId) === key) return false;
      last.set(status.modelId, key);
      return true;
    });
}

/** Steps of the fraction that are worth a line: a twentieth. */
const steps = 20;

function lineKey({ state, reason, phase, progress, owner, lastError }: MigrationStatus): string {
  const step = progress.fraction === null ? null : Math.floor(progress.fraction * steps);
  return JSON.stringify([state, reason?.code, phase, step, owner, lastError?.code]);
}

/** Everything but times that pass by themselves. */
export function wholeKey({ reason, bus: _bus, ...status }: MigrationStatus): string {
  return JSON.stringify([status, reason?.code, reason?.message, reason?.untilMs]);
}
