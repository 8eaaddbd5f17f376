/**
 * `npm run traps [-- <number or 'trap n'>...]`: shows that tests and simulation can fail. The code is broken in known
 * ways, one at a time, each in a copy of the sources, and what is named beside it must notice: a test goes red, by what
 * it asserts and not because something does not load, or one of the first simulated histories goes wrong. Before that,
 * all of them pass in the copy as it is. A replacement that no longer fits is an error of its own: whoever changed the
 * code knows what it looks like now.
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
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mutations } from './mutations.ts';
import type { Killer, Replacement, Test } from './patch.ts';
import { isTest } from './patch.ts';
import { traps } from './traps.ts';

const top = fileURLToPath(new URL('../..', import.meta.url));
const copied = [
  'src',
  'machines',
  'workers',
  'test',
  'docs',
  '.config',
  '.scripts',
  'package.json',
  'tsconfig.json',
];
/** Copies that are worked in at the same time: one for each of two cores. */
const parallel = 2;
/** A test that hangs is as red as one that fails, but must say so in time. Milliseconds. */
const testTimeoutMs = 15_000;
/** The same for simulated histories, all of a mutation together. */
const simulationTimeoutMs = 120_000;

/** One way to break the code. */
interface Break {
  /** As in docs/testing.md, and as it may be asked for. */
  readonly name: string;
  readonly what: string;
  readonly killer: Killer;
  readonly replacements: readonly Replacement[];
}

const breaks: readonly Break[] = [
  ...traps.map(({ number, without, testFile, test, replacements }) => ({
    name: `trap ${number}`,
    what: without,
    killer: { testFile, test },
    replacements,
  })),
  ...mutations.map(({ number, mutation, killer, replacements }) => ({
    name: String(number),
    what: mutation,
    killer,
    replacements,
  })),
];

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
  tests: readonly Test[],
): Promise<{ readonly results: readonly TestResult[]; readonly output: string }> {
  const report = join(copy, 'report.json');
  rmSync(report, { force: true });
  const names = [
    ...new Set(tests.map(({ test }) => test.replaceAll(/[.*+?^${}()|[\]\\]/gu, String.raw`\$&`))),
  ];
  const files = [...new Set(tests.map(({ testFile }) => testFile))];
  const vitest = ['run', '--config', '.config/vitest.ts', '--root', '.', '--reporter', 'json'];
  // By the content of each file: only what a change touches is compiled again.
  vitest.push('--experimental.fsModuleCache');
  const { output } = await runNode(copy, [
    join(copy, 'node_modules/vitest/vitest.mjs'),
    ...vitest,
    `--outputFile=${report}`,
    `--testTimeout=${testTimeoutMs}`,
    '-t',
    `^(${names.join('|')})$`,
    ...files,
  ]);
  if (!existsSync(report)) return { results: [], output };
  const { testResults } = JSON.parse(readFileSync(report, 'utf8')) as {
    readonly testResults: readonly { readonly assertionResults: readonly TestResult[] }[];
  };
  const results = testResults.flatMap(({ assertionResults }) => assertionResults);
  return { results: results.filter(({ status }) => status === 'passed' || status === 'failed'), output };
}

/** What went wrong in the histories of seeds 1 to `seeds`; 'nothing', or undefined where they did not come to an end. */
async function runSimulation(
  copy: string,
  seeds: number,
): Promise<{ readonly wrong: string | undefined; readonly output: string }> {
  const script = relative(top, fileURLToPath(new URL('simulate-seeds.ts', import.meta.url)));
  const args = ['--import', 'tsx', script, String(seeds)];
  const { answer, output } = await runNode(copy, args, simulationTimeoutMs);
  const [line = ''] = answer.trim().split('\n').slice(-1);
  if (!line.startsWith('{')) return { wrong: undefined, output };
  const { wrong } = JSON.parse(line) as { wrong?: { readonly seed: number; readonly failure: string } };
  return { wrong: wrong === undefined ? 'nothing' : `seed ${wrong.seed}: ${wrong.failure}`, output };
}

function runNode(
  cwd: string,
  args: readonly string[],
  timeout?: number,
): Promise<{ readonly answer: string; readonly output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], timeout });
    let answer = '';
    let output = '';
    child.stdout.on('data', (data: Buffer) => {
      answer += data.toString();
      output += data.toString();
    });
    child.stderr.on('data', (data: Buffer) => {
      output += data.toString();
    });
    child.on('error', reject);
    child.on('close', () => resolve({ answer, output }));
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

/** What is wrong with a break, in words; undefined: it was noticed as it must be. */
async function check(copy: string, { killer, replacements }: Break): Promise<string | undefined> {
  let undo: () => void;
  try {
    undo = apply(copy, replacements);
  } catch (error) {
    return `its replacement no longer fits: ${(error as Error).message}`;
  }
  try {
    return isTest(killer) ? await checkTest(copy, killer) : await checkSimulation(copy, killer.seeds);
  } finally {
    undo();
  }
}

async function checkTest(copy: string, test: Test): Promise<string | undefined> {
  const { results, output } = await runTests(copy, [test]);
  const [result] = results;
  if (result === undefined) return `its test did not run:\n${output}`;
  if (results.length > 1) return `${results.length} tests have its name`;
  if (result.status === 'passed') return 'its test passes all the same';
  const [message = ''] = result.failureMessages;
  return isAccident(message) ? `its test failed otherwise: ${message}` : undefined;
}

async function checkSimulation(copy: string, seeds: number): Promise<string | undefined> {
  const { wrong, output } = await runSimulation(copy, seeds);
  if (wrong === undefined) return `the simulation did not end:\n${output}`;
  if (wrong === 'nothing') return `nothing goes wrong with seeds 1 to ${seeds}`;
  return isAccident(wrong.replace(/^seed \d+: /, '')) ? `it went wrong otherwise: ${wrong}` : undefined;
}

/** What is no finding: code that cannot run, or that runs for ever. */
function isAccident(message: string): boolean {
  return /^(TypeError|ReferenceError|SyntaxError|Error: (Cannot find|Test timed out|STACK_TRACE_ERROR))/.test(
    message,
  );
}

/** All tests pass where nothing was changed: otherwise red would mean nothing. */
async function checkTestsUnchanged(copy: string, killers: readonly Killer[]): Promise<readonly string[]> {
  const tests = killers.filter(isTest);
  if (tests.length === 0) return [];
  const { results, output } = await runTests(copy, tests);
  return [...new Set(tests.map(({ test }) => test))].flatMap((test) => {
    const result = results.find(({ fullName }) => fullName === test);
    if (result === undefined) return [`there is no test "${test}"\n${results.length === 0 ? output : ''}`];
    return result.status === 'passed'
      ? []
      : [`"${test}" fails already: ${result.failureMessages.join('\n')}`];
  });
}

/** And so do the histories. */
async function checkSimulationUnchanged(
  copy: string,
  killers: readonly Killer[],
): Promise<readonly string[]> {
  const seeds = Math.max(0, ...killers.map((killer) => (isTest(killer) ? 0 : killer.seeds)));
  if (seeds === 0) return [];
  const { wrong, output } = await runSimulation(copy, seeds);
  return wrong === 'nothing' ? [] : [`the simulation goes wrong already: ${wrong ?? output}`];
}

const print = (line: string) => process.stdout.write(`${line}\n`);

async function main(names: readonly string[]): Promise<number> {
  const isChosen = ({ name }: Break) => names.length === 0 || names.includes(name.replace('trap ', 'trap'));
  const chosen = breaks.filter(isChosen);
  const killers = chosen.map(({ killer }) => killer);
  const scratch = mkdtempSync(join(tmpdir(), 'godwit-traps-'));
  let failed = 0;
  try {
    const copies = Array.from({ length: parallel }, (_, number) => createCopy(scratch, number));
    const [first = '', second = first] = copies;
    const problems = await Promise.all([
      checkTestsUnchanged(first, killers),
      checkSimulationUnchanged(second, killers),
    ]);
    for (const problem of problems.flat()) print(`error    ${problem}`);
    if (problems.flat().length > 0) return problems.flat().length;
    const queue = [...chosen];
    const work = async (copy: string) => {
      for (let one = queue.shift(); one !== undefined; one = queue.shift()) {
        const problem = await check(copy, one);
        if (problem !== undefined) failed += 1;
        const told = problem === undefined ? '' : `: ${problem}`;
        print(`${problem === undefined ? 'red' : 'NOT RED'}  ${one.name.padStart(7)}, ${one.what}${told}`);
      }
    };
    await Promise.all(copies.map(work));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  print(`${chosen.length - failed} passed, ${failed} failed`);
  return failed;
}

const failures = await main(process.argv.slice(2));
process.exitCode = failures === 0 ? 0 : 1;
