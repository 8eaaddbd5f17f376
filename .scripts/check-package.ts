/**
 * `npm run check:package`: packs the package, installs the tarball outside the repository and runs the programs
 * of test/package there, as their users would; then asks publint, attw, knip and the API report. One line for each check.
 */
import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { repositoryTop } from './architecture.ts';

/** What every program prints at its end. */
const programSaysAtLast = 'moved 3 cities';

/** A program takes about a second; one that hangs has left something open. */
const programTimeoutMs = 60_000;

interface Result {
  readonly ok: boolean;
  readonly output: string;
}

interface RunOptions {
  readonly cwd?: string | undefined;
  readonly timeoutMs?: number | undefined;
}

/** Runs a command to its end. Never rejects: what went wrong is in the result. */
function run(command: string, args: readonly string[], { cwd, timeoutMs }: RunOptions = {}): Promise<Result> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: cwd ?? repositoryTop,
      env: userEnvironment,
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const collect = (text: Buffer) => (output += text.toString());
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.on('error', (error) => resolve({ ok: false, output: `${output}${error.message}\n` }));
    child.on('close', (code, signal) => {
      if (signal !== null) output += `ended by ${signal}\n`;
      resolve({ ok: code === 0, output });
    });
  });
}

/** The environment without what `npm run` adds, which would send a nested npm back into this repository. */
const userEnvironment = Object.fromEntries(
  Object.entries({ ...process.env, NO_COLOR: '1' }).filter(
    ([name]) => !/^(npm_package_|npm_lifecycle_|npm_config_local_prefix|INIT_CWD)/.test(name),
  ),
);

const bin = (name: string) => join(repositoryTop, 'node_modules/.bin', name);

async function demand(name: string, result: Promise<Result>): Promise<string> {
  const { ok, output } = await result;
  if (!ok) throw new Error(`${name} failed:\n${output}`);
  return output;
}

/** Packs into `scratch`; the tarball's path. */
async function pack(scratch: string): Promise<string> {
  await demand('npm pack', run('npm', ['pack', '--silent', '--pack-destination', scratch]));
  const tarball = readdirSync(scratch).find((name) => name.endsWith('.tgz'));
  if (tarball === undefined) throw new Error('npm pack left no tarball');
  return join(scratch, tarball);
}

/** An empty project with the tarball, and the types of Node.js that every TypeScript user has. */
async function install(scratch: string, tarball: string): Promise<string> {
  const project = join(scratch, 'installed');
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), '{ "private": true }');
  const flags = ['--no-audit', '--no-fund', '--prefer-offline', '--save=false'];
  await demand('npm install', run('npm', ['install', ...flags, tarball], { cwd: project }));
  cpSync(join(repositoryTop, 'node_modules/@types'), join(project, 'node_modules/@types'), {
    recursive: true,
  });
  cpSync(join(repositoryTop, 'node_modules/undici-types'), join(project, 'node_modules/undici-types'), {
    recursive: true,
  });
  return join(project, 'node_modules');
}

/** A program in a folder of its own. Installed once: Node.js and the compiler resolve the link to the real place. */
function prepare(scratch: string, modules: string, name: string): string {
  const folder = join(scratch, name);
  cpSync(join(repositoryTop, 'test/package', name), folder, { recursive: true });
  symlinkSync(modules, join(folder, 'node_modules'));
  return folder;
}

async function runProgram(folder: string, main: string): Promise<Result> {
  const { ok, output } = await run(process.execPath, [main], { cwd: folder, timeoutMs: programTimeoutMs });
  return { ok: ok && output.includes(programSaysAtLast), output };
}

/** The command as npm has put it there, with a store that it makes itself. */
async function runCommand(folder: string): Promise<Result> {
  const godwit = join(folder, 'node_modules/.bin/godwit');
  const place = ['--database', 'embedded:./data', '--subspace', 'check'];
  const migrated = await run(godwit, ['migrate', '--models', './models.js', ...place], {
    cwd: folder,
    timeoutMs: programTimeoutMs,
  });
  const seen = await run(godwit, ['status', ...place, '--json'], {
    cwd: folder,
    timeoutMs: programTimeoutMs,
  });
  const output = `${migrated.output}${seen.output}`;
  return { ok: migrated.ok && seen.ok && seen.output.includes('"state":"Idle"'), output };
}

/** Compiles and runs. Errors inside the declarations of other packages are theirs, not ours to mend. */
async function runTypeScript(folder: string): Promise<Result> {
  const { output } = await run(bin('tsc'), ['-p', folder, '--pretty', 'false'], { cwd: folder });
  const errors = output.split('\n').filter((line) => /error TS\d+/.test(line));
  const ours = errors.filter(
    (line) => !line.includes('node_modules/') || line.includes('node_modules/godwit/'),
  );
  if (ours.length > 0) return { ok: false, output: ours.join('\n') };
  return runProgram(folder, 'dist/main.js');
}

const startedMs = performance.now();
let failures = 0;

async function check(name: string, body: () => Promise<Result>): Promise<void> {
  const fromMs = performance.now();
  const { ok, output } = await body();
  const seconds = ((performance.now() - fromMs) / 1000).toFixed(1);
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)`);
  if (ok) return;
  failures++;
  console.log(output.trimEnd().replaceAll(/^/gm, '       '));
}

const scratch = mkdtempSync(join(tmpdir(), 'godwit-package-'));
try {
  await demand('build', run('npm', ['run', '--silent', 'build']));
  const tarball = await pack(scratch);
  const modules = await install(scratch, tarball);
  const program = (name: string) => prepare(scratch, modules, name);
  await Promise.all([
    check('ESM JavaScript', () => runProgram(program('esm'), 'main.js')),
    check('CommonJS JavaScript', () => runProgram(program('commonjs'), 'main.js')),
    check('the command', () => runCommand(program('cli'))),
  ]);
  await Promise.all([
    check('TypeScript, nodenext, strict', () => runTypeScript(program('typescript'))),
    check('TypeScript, CommonJS with decorators', () => runTypeScript(program('nest'))),
  ]);
  await Promise.all([
    check('publint', () => run(bin('publint'), ['run', tarball, '--strict'])),
    check('attw', () => run(bin('attw'), [tarball, '--profile', 'esm-only', '--no-definitely-typed'])),
    check('knip', () => run(bin('knip'), ['--no-progress'])),
    check('API report', () => run('npm', ['run', '--silent', 'api', '--', '--check'])),
  ]);
} catch (error) {
  failures++;
  console.log(error instanceof Error ? error.message : String(error));
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
console.log(`Package checked in ${((performance.now() - startedMs) / 1000).toFixed(0)} s`);
if (failures > 0) process.exitCode = 1;
