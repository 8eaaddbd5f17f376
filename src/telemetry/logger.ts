import type { Logger as PinoLogger } from 'pino';

/** A pino logger, or anything that has these of its methods. */
export type Logger = Pick<PinoLogger, 'debug' | 'info' | 'warn' | 'error'>;

const nothing = (): void => undefined;

/** Says nothing: the default, as a library does not write where nobody asked it to. Nor loads pino for it. */
export const silentLogger: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing };

/** What every line about a migration has. */
export interface MigrationBindings {
  readonly model: string;
  readonly migrationId: string;
  /** Of the ownership; 0 where there is none. */
  readonly epoch: number;
}

/** The logger of a migration under an ownership: the same for as long as both are. */
export type MigrationLoggers = (about: MigrationBindings) => Logger;

export function createMigrationLoggers(logger: Logger): MigrationLoggers {
  const latest = new Map<string, MigrationBindings & { readonly logger: Logger }>();
  return ({ model, migrationId, epoch }) => {
    const known = latest.get(model);
    if (known?.migrationId === migrationId && known.epoch === epoch) return known.logger;
    const bindings = { model, migrationId, epoch };
    const made = { ...bindings, logger: childOf(logger, bindings) };
    latest.set(model, made);
    return made.logger;
  };
}

const levels = ['debug', 'info', 'warn', 'error'] as const;

/** A logger whose lines all have these fields: the child of one that can have children, else a wrapper around it. */
export function childOf(logger: Logger, bindings: object): Logger {
  if (logger === silentLogger) return logger;
  const child: unknown = 'child' in logger ? logger.child : undefined;
  const made: unknown = typeof child === 'function' ? Reflect.apply(child, logger, [bindings]) : undefined;
  return isLogger(made) ? made : withBindings(logger, bindings);
}

function isLogger(value: unknown): value is Logger {
  return (
    typeof value === 'object' &&
    value !== null &&
    levels.every((level) => typeof Reflect.get(value, level) === 'function')
  );
}

function withBindings(logger: Logger, bindings: object): Logger {
  const bound = levels.map((level) => [
    level,
    (...said: readonly unknown[]) => {
      Reflect.apply(logger[level], logger, merged(bindings, said));
    },
  ]);
  return Object.fromEntries(bound) as Logger;
}

/** As pino takes what is said: a text, an object or an error first. */
function merged(bindings: object, said: readonly unknown[]): readonly unknown[] {
  const [first, ...others] = said;
  if (first instanceof Error) {
    return [{ ...bindings, err: first }, ...(others.length === 0 ? [first.message] : others)];
  }
  if (typeof first === 'object' && first !== null) return [{ ...bindings, ...first }, ...others];
  return [bindings, ...said];
}
