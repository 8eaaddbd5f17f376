import { CommanderError } from 'commander';
import { describe, expect, it } from 'vitest';
import { exitCodeMeanings, exitCodeOf, exitCodes } from '../../../src/cli/exit-codes.ts';
import { CommandFailure, failureOf } from '../../../src/cli/failure.ts';
import { errorCodes, MigrationException } from '../../../src/errors.ts';

/** Where "unexpected" is meant: nothing that the command does can meet them, but by a fault. */
const unexpected = [
  'INDEX_UNKNOWN',
  'KEY_TOO_LARGE',
  'RECORD_EXISTS',
  'RECORD_INVALID',
  'RECORD_NOT_FOUND',
  'RECORD_TOO_LARGE',
  'RECORD_UNREADABLE',
  'STORE_CLOSED',
];

describe('exit codes', () => {
  it('there is one for every error code, and unexpected only where that is meant', () => {
    const found = Object.keys(errorCodes).filter((code) => exitCodeOf(code) === exitCodes.unexpected);
    expect(found.toSorted()).toEqual(unexpected);
  });

  it('each has a meaning, and none is there that nothing ends with', () => {
    const own = [...new Set<number>(Object.values(exitCodes))].toSorted((a, b) => a - b);
    expect(Object.keys(exitCodeMeanings).map(Number)).toEqual(own);
  });

  it.each([
    [new MigrationException('MIGRATION_HANDLER_MISSING', 'm'), 'MIGRATION_HANDLER_MISSING', 8],
    [new CommandFailure('MIGRATION_PENDING', 'm', { exitCode: 75 }), 'MIGRATION_PENDING', 75],
    [new CommandFailure('A_CODE_OF_A_NEWER_NODE', 'm'), 'A_CODE_OF_A_NEWER_NODE', 1],
    // Of another copy of the library.
    [Object.assign(new Error('m'), { code: 'MIGRATION_CYCLE' }), 'MIGRATION_CYCLE', 8],
    [Object.assign(new Error('m'), { code: 'ENOENT' }), 'UNEXPECTED', 1],
    [new TypeError('m'), 'UNEXPECTED', 1],
    [new CommanderError(1, 'commander.unknownOption', 'error: m'), 'OPTION_INVALID', 2],
  ])('%o ends as %s with %i', (error, code, exitCode) => {
    expect(failureOf(error)).toMatchObject({ code, exitCode, message: 'm' });
  });

  it('a string that is thrown is told too', () => {
    expect(failureOf('what')).toEqual({ code: 'UNEXPECTED', message: 'what', details: {}, exitCode: 1 });
  });
});
