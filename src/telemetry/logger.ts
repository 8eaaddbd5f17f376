import type { Logger as PinoLogger } from 'pino';
import { pino } from 'pino';

/** A pino logger, or anything that has these of its methods. */
export type Logger = Pick<PinoLogger, 'debug' | 'info' | 'warn' | 'error'>;

/** Says nothing: the default, as a library does not write where nobody asked it to. */
export function createSilentLogger(): Logger {
  return pino({ level: 'silent' });
}
