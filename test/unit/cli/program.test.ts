import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { repositoryTop } from '../../../.scripts/architecture.ts';
import { consequenceOf } from '../../../src/cli/commands/cancel.ts';
import { parseDuration, parseRatio, parseSubspace } from '../../../src/cli/flags.ts';
import type { Io } from '../../../src/cli/io.ts';
import { confirm } from '../../../src/cli/output.ts';
import { createProgram, run } from '../../../src/cli/program.ts';
import { isLeftToOthers } from '../../../src/cli/run-migrations.ts';
import { systemClock } from '../../../src/ports/clock.ts';
import { release } from '../../../src/release.ts';
import { commandsOf } from './flag-rows.ts';

function fakeIo({ isTTY = false, env = {} }: { isTTY?: boolean; env?: Io['env'] } = {}) {
  const written = { stdout: '', stderr: '' };
  const input = Object.assign(new PassThrough(), { isTTY });
  const io: Io = {
    env,
    cwd: repositoryTop,
    stdout: { isTTY, write: (text) => (written.stdout += text) },
    stderr: { isTTY, write: (text) => (written.stderr += text) },
    stdin: input,
    clock: systemClock,
    onSignal: () => () => undefined,
  };
  return { io, written, input };
}

const program = createProgram(fakeIo().io, () => undefined);

describe('the command line', () => {
  it('has help with examples for every command, and exit codes in the whole one', async () => {
    for (const { name } of commandsOf(program)) {
      const { io, written } = fakeIo();
      expect(await run([...name.split(' '), '--help'], io)).toBe(0);
      expect(written.stdout).toContain(`\nExamples:\n  godwit ${name}`);
      expect(written.stderr).toBe('');
    }
    const { io, written } = fakeIo();
    expect(await run(['--help'], io)).toBe(0);
    expect(written.stdout).toContain('   69  Database or bus are unavailable');
  });

  it.each([
    [['--version'], 0, `${release}\n`, ''],
    [['statsu'], 2, '', "godwit: OPTION_INVALID: unknown command 'statsu' (Did you mean status?)\n"],
    [['status', '--jsno'], 2, '', "godwit: OPTION_INVALID: unknown option '--jsno' (Did you mean --json?)\n"],
    [['pause'], 2, '', "godwit: OPTION_INVALID: missing required argument 'model'\n"],
    [
      ['status'],
      2,
      '',
      'godwit: OPTION_INVALID: Name the database with --database and --subspace, or its nodes with --nats and --store.\n',
    ],
    [
      ['status', '--database', 'memory:'],
      2,
      '',
      'godwit: OPTION_INVALID: --database needs --subspace (or GODWIT_SUBSPACE).\n',
    ],
    [
      ['status', '--nats', 'nats://h:1'],
      2,
      '',
      'godwit: OPTION_INVALID: --nats needs --store, the storeName of the nodes.\n',
    ],
    [
      ['status', '--database', 'memory:', '--subspace', 'app'],
      69,
      '',
      'godwit: STORE_MISSING: No store was ever opened under the subspace ["app"] of this database.\n',
    ],
    [
      ['status', '--database', 'postgres://u:secret@h', '--subspace', 'app'],
      2,
      '',
      expect.stringMatching(/^godwit: DATABASE_INVALID: The database address 'postgres:…' /),
    ],
  ])('%j ends with %i', async (args, code, stdout, stderr) => {
    const { io, written } = fakeIo();
    expect(await run(args, io)).toBe(code);
    expect(written).toEqual({ stdout, stderr });
  });

  it.each([
    [
      ['--models', './no-such-module.js'],
      2,
      /^godwit: OPTION_INVALID: The module \.\/no-such-module\.js of --models cannot/,
    ],
    [['--models', './.scripts/architecture.ts'], 2, /^godwit: OPTION_INVALID: The default export of /],
    [[], 2, /^godwit: OPTION_INVALID: migrate needs --models \(or GODWIT_MODELS\)/],
    [['--timeout', '90'], 2, /^godwit: OPTION_INVALID: .*a number with a unit/],
  ])('migrate %j ends with %i', async (args, code, stderr) => {
    const { io, written } = fakeIo();
    expect(await run(['migrate', '--database', 'memory:', '--subspace', 'app', ...args], io)).toBe(code);
    expect(written.stdout).toBe('');
    expect(written.stderr).toMatch(stderr);
  });

  it('tells what is wrong as JSON where that is asked for, and keeps secrets of servers to itself', async () => {
    const { io, written } = fakeIo();
    const args = ['status', '--json', '--nats', 'nats://ann:secret@h:1', '--store', 's'];
    expect(await run(args, io)).toBe(2);
    expect(JSON.parse(written.stdout)).toEqual({
      error: {
        code: 'OPTION_INVALID',
        message: expect.stringContaining('GODWIT_NATS_PASSWORD'),
        details: {},
      },
    });
    expect(`${written.stdout}${written.stderr}`).not.toContain('secret');
  });

  it('shows its help where no command is given, and that is no success', async () => {
    const { io, written } = fakeIo();
    expect(await run([], io)).toBe(2);
    expect(written.stderr).toContain('Usage: godwit');
  });
});

describe('values of flags', () => {
  it.each([
    ['500ms', 500],
    ['1.5s', 1_500],
    ['10m', 600_000],
    ['2h', 7_200_000],
  ])('%s is %i milliseconds', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(['90', '0s', '-1s', 's', '1d', '600h', ''])('the duration %j is refused', (text) => {
    expect(() => parseDuration(text)).toThrow('a number with a unit');
  });

  it.each([
    ['app', ['app']],
    ['app/1', ['app', 1]],
    ['0/-7/07', [0, -7, '07']],
    ['["a/b","1",2]', ['a/b', '1', 2]],
  ])('%s is the subspace %j', (text, subspace) => {
    expect(parseSubspace(text)).toEqual(subspace);
  });

  it.each(['', 'a//b', '[', '[]', '[1.5]', '[true]', '99999999999999999999'])(
    'the subspace %j is refused',
    (text) => {
      expect(() => parseSubspace(text)).toThrow("elements parted by '/'");
    },
  );

  it.each(['0', '1.1', '', 'x', '-1'])('the ratio %j is refused', (text) => {
    expect(() => parseRatio(text)).toThrow('above 0, to 1');
  });
});

describe('what cannot be undone', () => {
  const canceling = { modelName: 'Town', migrationId: 'Town:1.0->2.0#0', blocking: true };
  it.each([
    [
      { gateClosed: true, touched: true },
      'Records were written already: Town stays closed to requests until',
    ],
    [
      { gateClosed: true, touched: false },
      'No record was written yet: Town serves its stored definition again',
    ],
    [{ gateClosed: false, touched: false }, 'Town goes on serving requests.'],
    [undefined, 'If a record was written already, Town stays closed'],
  ])('a cancel where %j says: %s', (standing, text) => {
    expect(consequenceOf(canceling, standing)).toContain(text);
  });

  it('is asked about on a terminal, and not done without a yes', async () => {
    for (const [answer, isDone] of [
      ['y\n', true],
      ['YES\n', true],
      ['n\n', false],
      ['\n', false],
    ] as const) {
      const { io, written, input } = fakeIo({ isTTY: true });
      const asked = confirm(io, 'It will be gone.', false).then(
        () => true,
        () => false,
      );
      input.write(answer);
      expect(await asked).toBe(isDone);
      expect(written.stderr).toBe('It will be gone.\nGo on? [y/N] ');
    }
  });

  it('is refused where there is no terminal, unless it was answered before', async () => {
    const { io, written } = fakeIo();
    await expect(confirm(io, 'It will be gone.', false)).rejects.toMatchObject({
      code: 'NOT_CONFIRMED',
      exitCode: 2,
    });
    await expect(confirm(io, 'It will be gone.', true)).resolves.toBeUndefined();
    expect(written.stderr).toBe('');
  });
});

describe('what is left to others', () => {
  const mine = { modelName: 'A', state: 'Running', owner: { nodeId: 'me', epoch: 1 } } as const;
  const theirs = { modelName: 'B', state: 'Running', owner: { nodeId: 'you', epoch: 1 } } as const;
  const free = { modelName: 'C', state: 'Waiting', owner: null } as const;
  const waiting = { ...free, reason: { code: 'dependency', message: '', sinceMs: 0 } } as const;
  const over = { modelName: 'D', state: 'Idle', owner: null } as const;
  it.each([
    ['nothing is left', [over], false],
    ['mine', [mine, over], false],
    ['theirs', [theirs, over], true],
    ['theirs, and mine beside it', [theirs, mine], false],
    ['theirs, and one that nobody has yet', [theirs, free], false],
    ['theirs, and one that waits for it', [theirs, waiting], true],
    ['one that waits, and nobody has what it waits for', [waiting, free], false],
  ])('%s', (_, statuses, isLeft) => {
    expect(isLeftToOthers(statuses, 'me')).toBe(isLeft);
  });
});
