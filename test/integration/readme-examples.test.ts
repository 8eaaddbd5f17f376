import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildPackageInto } from '../rig/built-package.ts';
import { codeBlocks, nameOf, readme } from '../rig/readme.ts';
import { createTemporaryDirectory } from '../rig/temporary-directory.ts';

/** Every block of JavaScript names its file in its first line. */
const programs = codeBlocks(readme)
  .filter(({ language }) => language !== 'sh')
  .map(({ language, text }) => ({ language, text, name: nameOf(text) }))
  // With the commands between them, by test/soak/rollout.test.ts.
  .filter(({ name }) => name?.startsWith('rollout-') !== true);

const directory = createTemporaryDirectory('readme');

beforeAll(async () => {
  await buildPackageInto(directory.path);
  writeFileSync(join(directory.path, 'package.json'), '{ "type": "module" }');
  for (const { name = '', text } of programs) writeFileSync(join(directory.path, name), text);
}, 60_000);

afterAll(() => {
  directory.remove();
});

function run(name: string): Promise<{ readonly code: number | null; readonly output: string }> {
  return new Promise((resolve) => {
    // No loader: plain JavaScript, as a reader would run it.
    const child = spawn(process.execPath, [name], {
      cwd: directory.path,
      env: { PATH: process.env['PATH'], NO_COLOR: '1' },
      timeout: 25_000,
      killSignal: 'SIGKILL',
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (output += text));
    }
    child.on('close', (code) => resolve({ code, output }));
  });
}

/** What a program says that it prints: the comments behind its calls of console.log. */
const promised = (text: string) =>
  [...text.matchAll(/console\.log\(.*\);? *\)?;? \/\/ (.+)$/gm)].map(([, expected]) => expected);

describe('the programs of the README', () => {
  it('are plain JavaScript, each with the name of its file', () => {
    expect(programs.length).toBeGreaterThan(5);
    expect(programs.filter(({ language, name }) => language !== 'js' || name === undefined)).toEqual([]);
    expect(new Set(programs.map(({ name }) => name)).size).toBe(programs.length);
  });

  // In the order in which the README has them: some go on where the one before ended.
  it.each(programs)('$name runs, and prints what its comments say', async ({ name = '', text }) => {
    const { code, output } = await run(name);
    expect({ code, output }).toEqual({ code: 0, output });
    const printed = output.split('\n').filter((line) => line !== '' && !line.startsWith('godwit=audit'));
    expect(printed.filter((line) => promised(text).includes(line))).toEqual(promised(text));
  });
});
