import { CommanderError } from 'commander';
import { GodwitException } from '../errors.ts';
import type { ErrorDetails } from '../errors.ts';
import type { ExitCode } from './exit-codes.ts';
import { exitCodeOf, exitCodes } from './exit-codes.ts';

/** Why a command ends otherwise than done, where none of the library's own errors says it. */
export class CommandFailure extends Error {
  readonly code: string;
  readonly exitCode: ExitCode;
  readonly details: ErrorDetails;

  /** @param exitCode default: the one that belongs to the code */
  constructor(
    code: string,
    message: string,
    { exitCode, details = {} }: { readonly exitCode?: ExitCode; readonly details?: ErrorDetails } = {},
  ) {
    super(message);
    this.name = 'CommandFailure';
    this.code = code;
    this.exitCode = exitCode ?? exitCodeOf(code);
    this.details = details;
  }
}

/** What a flag or an argument is wrong about. */
export function usageFailure(message: string): CommandFailure {
  return new CommandFailure('OPTION_INVALID', message);
}

/** What is told of an error: `--json` has all of it. */
export interface ToldFailure {
  readonly code: string;
  readonly message: string;
  readonly details: ErrorDetails;
  readonly exitCode: ExitCode;
}

export function failureOf(error: unknown): ToldFailure {
  if (error instanceof CommandFailure) {
    const { code, message, details, exitCode } = error;
    return { code, message, details, exitCode };
  }
  if (error instanceof GodwitException) {
    const { code, message, details } = error;
    return { code, message, details, exitCode: exitCodeOf(code) };
  }
  if (error instanceof CommanderError) {
    const message = error.message.replace(/^error: /, '').replaceAll(/\s*\n\s*/g, ' ');
    return { code: 'OPTION_INVALID', message, details: {}, exitCode: exitCodes.usage };
  }
  const message = error instanceof Error ? error.message : String(error);
  // What was thrown by another copy of the library, in the program whose models are loaded, has its code too.
  const code: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : undefined;
  const exitCode = exitCodeOf(code);
  return {
    code: exitCode === exitCodes.unexpected ? 'UNEXPECTED' : String(code),
    message,
    details: {},
    exitCode,
  };
}
