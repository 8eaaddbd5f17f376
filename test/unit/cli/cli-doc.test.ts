import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { repositoryTop } from '../../../.scripts/architecture.ts';
import { exitCodeMeanings } from '../../../src/cli/exit-codes.ts';
import { systemIo } from '../../../src/cli/io.ts';
import { createProgram } from '../../../src/cli/program.ts';
import { tableRows } from '../../rig/readme.ts';
import { commandsOf, flagRows } from './flag-rows.ts';

const page = readFileSync(join(repositoryTop, 'docs/cli.md'), 'utf8');
const program = createProgram(systemIo, () => undefined);

describe('docs/cli.md', () => {
  it('has every command, as its help says it', () => {
    const own = commandsOf(program).map(({ name, command }) => [
      `${name} ${command.usage().replace('[options]', '').trim()}`.trim(),
      command.summary(),
    ]);
    expect(tableRows(page, 'command', 'what it does')).toEqual(own);
  });

  it('has every flag, with its variable and the commands that take it', () => {
    const rows = tableRows(page, 'flag', 'variable', 'commands', 'meaning');
    const inOrder = (all: readonly (readonly string[])[]) => all.map((row) => row.join(' ')).toSorted();
    expect(inOrder(rows)).toEqual(inOrder(flagRows(program)));
  });

  it('has the exit codes, and so does the help', () => {
    expect(tableRows(page, 'code', 'meaning')).toEqual(Object.entries(exitCodeMeanings));
  });
});
