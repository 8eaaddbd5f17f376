/** The built command and a program beside it, each in processes of their own. */
import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { repositoryTop } from '../../.scripts/architecture.ts';
import { buildPackageInto } from '../rig/built-package.ts';
import { createTemporaryDirectory } from '../rig/temporary-directory.ts';

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Of stdout, where it is one value. */
  readonly json: unknown;
}

/** How the program of test/package/cli goes about it. */
export interface How {
  readonly fails?: boolean;
  readonly hasHandler?: boolean;
  readonly rate?: number;
  readonly approval?: 'manual';
}

export interface Started {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly ended: Promise<Ended>;
  /** What it has said so far, on both. */
  said(): string;
}

export interface BuiltCommand {
  /** Where it all lies, and what is started runs. */
  readonly home: string;
  /** Of the command itself. */
  readonly main: string;
  start(args: readonly string[], env?: Readonly<Record<string, string>>): Started;
  /** Runs it to its end. */
  godwit(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<Ended>;
  /** A program whose store migrates in the background. Resolves when it is open. */
  program(options: { readonly how: How } & Readonly<Record<string, unknown>>): Promise<Started>;
  /** Any other program, in the same place. */
  spawn(file: string, args: readonly string[], env?: Readonly<Record<string, string>>): Started;
  /** Kills what still runs, and removes it all. */
  remove(): Promise<void>;
}

export async function buildCommand(): Promise<BuiltCommand> {
  const home = createTemporaryDirectory('command');
  await buildPackageInto(home.path);
  cpSync(join(repositoryTop, 'test/package/cli'), home.path, { recursive: true });
  const main = join(home.path, 'node_modules/godwit/dist/src/cli/main.js');
  const running = new Set<Started>();

  const start = (
    file: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Started => {
    const child = spawn(file, args, { cwd: home.path, env: { ...environment, ...env }, stdio: 'pipe' });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (text: Buffer) => (stdout += text.toString()));
    child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
    // One that does not read what it is told ends all the same.
    child.stdin.on('error', () => undefined);
    const ended = new Promise<Ended>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => {
        running.delete(started);
        resolve({ code, stdout, stderr, json: parsed(stdout) });
      });
    });
    const started: Started = { child, ended, said: () => `${stdout}${stderr}` };
    running.add(started);
    return started;
  };
  const startCommand: BuiltCommand['start'] = (args, env) => start(process.execPath, [main, ...args], env);

  return {
    home: home.path,
    main,
    start: startCommand,
    godwit: (args, env) => startCommand(args, env).ended,
    async program(options) {
      const started = start(process.execPath, ['program.js', JSON.stringify(options)]);
      await new Promise<void>((resolve, reject) => {
        started.child.stdout.once('data', () => resolve());
        void started.ended.then(({ stderr }) => reject(new Error(`the program ended: ${stderr}`)));
      });
      return started;
    },
    spawn: start,
    async remove() {
      for (const { child } of running) child.kill('SIGKILL');
      await Promise.all([...running].map(({ ended }) => ended));
      home.remove();
    },
  };
}

/** Without what may be set where the tests run. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^(?:GODWIT_|VITEST|NODE_OPTIONS|NO_COLOR|FORCE_COLOR)/.test(name),
  ),
);

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
