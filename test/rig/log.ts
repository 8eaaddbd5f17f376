import { pino } from 'pino';
import type { Logger } from '../../src/telemetry/logger.ts';

export interface LogLine extends Readonly<Record<string, unknown>> {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly msg: string;
}

/** A logger of pino that keeps what it writes. */
export interface Log {
  readonly logger: Logger;
  /** Every byte of it. */
  text(): string;
  /** The lines, of one level or of all. */
  lines(level?: LogLine['level']): readonly LogLine[];
}

export function createLog(): Log {
  const written: string[] = [];
  const logger = pino(
    { level: 'debug', base: null, timestamp: false, formatters: { level: (level) => ({ level }) } },
    { write: (line) => void written.push(line) },
  );
  return {
    logger,
    text: () => written.join(''),
    lines: (level) =>
      written
        .map((line) => JSON.parse(line) as LogLine)
        .filter((line) => level === undefined || line.level === level),
  };
}
