/**
 * `npm run traps [-- <number>]`: shows that the tests of the design's traps can fail. For each trap the cure is taken
 * out of a copy of the sources, and the test that belongs to it must go red: by an assertion, not because something does
 * not load. Before that, the same tests pass in the copy as it is. A replacement that no longer fits is an error of its
 * own: whoever changed the code knows what the cure looks like now.
 */
import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Replacement, Trap } from './traps.ts';
import { traps } from './traps.ts';

const top = fileURLToPath(new URL('../..', import.meta.url));
const copied = ['src', 'machines', 'workers', 'test', '.config', 'package.json', 'tsconfig.json'];
/** Copies that are worked in at the same time: one for each of two cores. */
const parallel = 2;
/** A test that hangs without its cure is as red as one that fails, but must say so in time. Milliseconds. */
const testTimeoutMs = 15_000;

interface TestResult {
  readonly fullName: string;
  readonly status: string;
  readonly failureMessages: readonly string[];
}

/** A copy of the sources, with the repository's packages beside it. */
function createCopy(parent: string, number: number): string {
  const copy = join(parent, `copy-${number}`);
  for (const name of copied) cpSync(join(top, name), join(copy, name), { recursive: true });
  // Links one by one: vitest keeps a cache in here, which must not be the repository's.
  const packages = join(copy, 'node_modules');
  mkdirSync(packages);
  for (const name of readdirSync(join(top, 'node_modules'))) {
    if (name.startsWith('.vite')) continue;
    symlinkSync(join(top, 'node_modules', name), join(packages, name));
  }
  return copy;
}

/** The results of some tests of the copy; none where the files did not load. */
async function runTests(
  copy: string,
  files: readonly string[],
  test?: string,
): Promise<{ readonly results: readonly TestResult[]; readonly output: string }> {
  const report = join(copy, 'report.json');
  rmSync(report, { force: true });
  const name =
    test === undefined ? [] : ['-t', `^${test.replaceAll(/[.*+?^${}()|[\]\\]/gu, String.raw`\$&`)}$`];
  const vitest = ['run', '--config', '.config/vitest.ts', '--root', '.', '--reporter', 'json'];
  const output = await runNode(copy, [
    join(copy, 'node_modules/vitest/vitest.mjs'),
    ...vitest,
    `--outputFile=${report}`,
    `--testTimeout=${testTimeoutMs}`,
    ...name,
    ...files,
  ]);
  if (!existsSync(report)) return { results: [], output };
  const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as {
    readonly testResults: readonly { readonly assertionResults: readonly TestResult[] }[];
  };
  const results = testResults.flatMap(({ assertionResults }) => assertionResults);
  return { results: results.filter(({ status }) => status === 'passed' || status === 'failed'), output };
}

function runNode(cwd: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data: Buffer) => {
        output += data.toString();
      });
    }
    child.on('error', reject);
    child.on('close', () => resolve(output));
  });
}

/** Changes the copy; the answer changes it back. @throws Error where a replacement does not fit */
function apply(copy: string, replacements: readonly Replacement[]): () => void {
  const originals = new Map<string, string>();
  const undo = () => {
    for (const [file, text] of originals) writeFileSync(join(copy, file), text);
  };
  for (const { file, find, replace } of replacements) {
    const text = readFileSync(join(copy, file), 'utf8');
    const pieces = text.split(find);
    if (pieces.length !== 2) {
      undo();
      throw new Error(`${file} has ${pieces.length - 1} places, not one, that read ${JSON.stringify(find)}`);
    }
    if (!originals.has(file)) originals.set(file, text);
    writeFileSync(join(copy, file), pieces.join(replace));
  }
  return undo;
}

/** What is wrong with a trap, in words; undefined: the test went red as it must. */
async function check(copy: string, { testFile, test, replacements }: Trap): Promise<string | undefined> {
  let undo: () => void;
  try {
    undo = apply(copy, replacements);
  } catch (error) {
    return `its replacement no longer fits: ${(error as Error).message}`;
  }
  try {
    const { results, output } = await runTests(copy, [testFile], test);
    const [result] = results;
    if (result === undefined) return `its test did not run:\n${output}`;
    if (results.length > 1) return `${results.length} tests have its name`;
    if (result.status === 'passed') return 'its test passes without the cure';
    const [message = ''] = result.failureMessages;
    return message.startsWith('AssertionError') ? undefined : `its test failed otherwise: ${message}`;
  } finally {
    undo();
  }
}

/** The tests of all traps pass where nothing was changed: otherwise red would mean nothing. */
async function checkUnchanged(copy: string, chosen: readonly Trap[]): Promise<readonly string[]> {
  const { results, output } = await runTests(copy, [...new Set(chosen.map(({ testFile }) => testFile))]);
  return [...new Set(chosen.map(({ test }) => test))].flatMap((test) => {
    const result = results.find(({ fullName }) => fullName === test);
    if (result === undefined) return [`there is no test "${test}"\n${results.length === 0 ? output : ''}`];
    return result.status === 'passed'
      ? []
      : [`"${test}" fails already: ${result.failureMessages.join('\n')}`];
  });
}

const print = (line: string) => process.stdout.write(`${line}\n`);

async function main(numbers: readonly number[]): Promise<number> {
  const chosen = traps.filter(({ number }) => numbers.length === 0 || numbers.includes(number));
  const scratch = mkdtempSync(join(tmpdir(), 'godwit-traps-'));
  let failed = 0;
  try {
    const copies = Array.from({ length: parallel }, (_, number) => createCopy(scratch, number));
    const [first] = copies;
    const problems = first === undefined ? [] : await checkUnchanged(first, chosen);
    for (const problem of problems) print(`error    ${problem}`);
    if (problems.length > 0) return problems.length;
    const queue = [...chosen];
    const work = async (copy: string) => {
      for (let trap = queue.shift(); trap !== undefined; trap = queue.shift()) {
        const problem = await check(copy, trap);
        if (problem !== undefined) failed += 1;
        const told = problem === undefined ? '' : `: ${problem}`;
        print(
          `${problem === undefined ? 'red' : 'NOT RED'}  trap ${String(trap.number).padStart(2)}, ${trap.without}${told}`,
        );
      }
    };
    await Promise.all(copies.map(work));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  print(`${chosen.length - failed} passed, ${failed} failed`);
  return failed;
}

const failures = await main(process.argv.slice(2).map(Number));
process.exitCode = failures === 0 ? 0 : 1;
