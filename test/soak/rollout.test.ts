import { join } from 'node:path';
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { BuiltCommand, Started } from '../cluster/command.ts';
import { buildCommand } from '../cluster/command.ts';
import { codeBlocks, nameOf, readme } from '../rig/readme.ts';
import { waitUntil } from '../rig/operators.ts';

/** The chapter of the README, from its heading to the next one. */
const chapter = /^### A rollout, step by step\n([\s\S]*?)^### /m.exec(readme)?.[1] ?? '';

/** Commands, and what the README says that they print together; undefined where it says nothing. */
interface CommandBlock {
  readonly commands: readonly string[];
  readonly printed: string | undefined;
}

const commandBlocks: readonly CommandBlock[] = [
  ...chapter.matchAll(/^```sh\n([\s\S]*?)^```\n\n((?: {4}.*\n)*)/gm),
].map(([, commands = '', printed = '']) => ({
  commands: commands.trimEnd().split('\n'),
  printed: printed === '' ? undefined : printed.replaceAll(/^ {4}/gm, ''),
}));

let place: BuiltCommand;
beforeAll(async () => {
  place = await buildCommand();
  for (const { language, text } of codeBlocks(readme)) {
    const name = nameOf(text);
    if (language === 'js' && name !== undefined) writeFileSync(join(place.home, name), text);
  }
}, 120_000);
afterAll(() => place.remove());

/** Figures are those of a machine and a moment, and so are the columns that they stand in. */
const withoutFigures = (text: string): string =>
  text
    .replaceAll(/\d[\d,.]*/g, '#')
    .replaceAll(/ +/g, ' ')
    .trimEnd();

it('prints what the README says, command after command', async () => {
  expect(commandBlocks.filter(({ printed }) => printed !== undefined).length).toBeGreaterThan(4);
  // Where the server listens is no matter of this test.
  const environment: Record<string, string> = { PORT: '0' };
  let server: Started | undefined;

  const start = (command: string): Started => {
    const [file = '', ...args] = wordsOf(command.replace(/ &$/, ''));
    if (file === 'node') return place.spawn(process.execPath, args, environment);
    expect([file, args[0]]).toEqual(['npx', 'godwit']);
    return place.start(args.slice(1), environment);
  };
  /** What a block prints, all of it. */
  const run = async (commands: readonly string[]): Promise<string> => {
    let printed = '';
    for (const command of commands) {
      if (command.startsWith('export ')) {
        for (const word of wordsOf(command).slice(1)) {
          const at = word.indexOf('=');
          environment[word.slice(0, at)] = word.slice(at + 1);
        }
      } else if (command.endsWith(' &')) server = start(command);
      else {
        const { code, stdout, stderr } = await start(command).ended;
        expect({ command, code, stderr }).toEqual({ command, code: 0, stderr });
        printed += stdout;
      }
    }
    return printed;
  };

  for (const { commands, printed } of commandBlocks) {
    let last = await run(commands);
    if (printed === undefined) continue;
    const looks = commands.filter((command) => /^npx godwit (?:status|audit|metrics)\b/.test(command));
    // A migration goes on while it is looked at: what the README shows comes.
    const looking = waitUntil('it prints what the README says', async () => {
      if (looks.length === 0 || withoutFigures(last) === withoutFigures(printed)) return true;
      last = await run(looks);
      return false;
    });
    await looking.catch(() => undefined);
    expect(withoutFigures(last)).toBe(withoutFigures(printed));
  }
  server?.child.kill('SIGTERM');
  const ended = await server?.ended;
  expect(ended).toMatchObject({ code: 0, stderr: '' });
});

/** As a shell would part them. */
function wordsOf(command: string): readonly string[] {
  return [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, word]) => quoted ?? word ?? '');
}
