/**
 * Redis and PostgreSQL, each started on a free port of 127.0.0.1 with an empty directory of its own, and stopped and
 * removed afterwards, also where the bench fails or is interrupted.
 */
import type { ChildProcess } from 'node:child_process';
import { execFileSync, spawn } from 'node:child_process';
import { accessSync, chownSync, constants, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

export type ServerKind = 'redis' | 'postgres';

export interface Server {
  readonly port: number;
  readonly pid: number;
  /** Stops it and removes its directory. Twice is fine. */
  stop(): Promise<void>;
}

/** PostgreSQL refuses to run as root. */
interface User {
  readonly uid?: number;
  readonly gid?: number;
}

/** Servers that run now: whoever ends the bench ends them. */
const running = new Set<Server>();

export async function stopServers(): Promise<void> {
  await Promise.all(Array.from(running, (server) => server.stop()));
}

/** What Debian calls them, and where it puts what is not in the PATH. */
const debianPackages: Readonly<Record<ServerKind, string>> = {
  redis: 'redis-server',
  postgres: 'postgresql',
};
const debianPostgres = '/usr/lib/postgresql';

/** @throws Error where a server is not installed, with what to do */
export function requireServers(isToInstall: boolean): void {
  const missing = () =>
    [
      ...(find('redis-server') === undefined ? [debianPackages.redis] : []),
      ...(find('postgres') === undefined || find('initdb') === undefined ? [debianPackages.postgres] : []),
    ] as const;
  if (isToInstall && missing().length > 0) {
    process.stdout.write(`installing ${missing().join(' and ')} with apt-get\n`);
    const options = { stdio: 'inherit', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } } as const;
    execFileSync('apt-get', ['update', '-qq'], options);
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...missing()], options);
  }
  if (missing().length > 0) {
    throw new Error(
      `Not installed: ${missing().join(', ')}. On Debian, as root: apt-get update && apt-get install -y ` +
        `${missing().join(' ')}; or let the bench do it by --install. Elsewhere: put redis-server, postgres and initdb ` +
        'into the PATH.',
    );
  }
}

/** A program in the PATH, or the newest that Debian has. */
function find(program: string): string | undefined {
  const versions = existsSync(debianPostgres) ? readdirSync(debianPostgres).map(Number) : [];
  const folders = [
    ...(process.env['PATH'] ?? '').split(delimiter),
    ...versions
      .toSorted((left, right) => right - left)
      .map((version) => join(debianPostgres, String(version), 'bin')),
  ];
  return folders.map((folder) => join(folder, program)).find(isExecutable);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function programOf(name: string): string {
  const program = find(name);
  if (program === undefined) throw new Error(`${name} is not installed`);
  return program;
}

/** `Redis server v=7.0.15 ...` and `postgres (PostgreSQL) 15.18 (...)`. */
export function versionOf(kind: ServerKind): string {
  const answer = execFileSync(programOf(kind === 'redis' ? 'redis-server' : 'postgres'), ['--version'], {
    encoding: 'utf8',
  });
  const name = kind === 'redis' ? 'Redis' : 'PostgreSQL';
  return `${name} ${/\d+(?:\.\d+)+/u.exec(answer)?.[0] ?? answer.trim()}`;
}

export async function startServer(kind: ServerKind): Promise<Server> {
  const port = await freePort();
  const directory = mkdtempSync(join(tmpdir(), `godwit-bench-${kind}-`));
  try {
    return await (kind === 'redis' ? startRedis(directory, port) : startPostgres(directory, port));
  } catch (error) {
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
}

function startRedis(directory: string, port: number): Promise<Server> {
  const options = {
    bind: '127.0.0.1',
    port: String(port),
    dir: directory,
    appendonly: 'yes',
    appendfsync: 'always',
    // No snapshots beside the append-only file.
    save: '',
    // What BullMQ asks for.
    'maxmemory-policy': 'noeviction',
  };
  return launch({
    program: programOf('redis-server'),
    args: Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]),
    ready: 'Ready to accept connections',
    stopBy: 'SIGTERM',
    user: {},
    directory,
    port,
  });
}

async function startPostgres(directory: string, port: number): Promise<Server> {
  const user: User = process.getuid?.() === 0 ? unprivileged() : {};
  if (user.uid !== undefined && user.gid !== undefined) chownSync(directory, user.uid, user.gid);
  const data = join(directory, 'data');
  execFileSync(
    programOf('initdb'),
    ['--pgdata', data, '--username', 'postgres', '--auth', 'trust', '--encoding', 'UTF8', '--locale', 'C'],
    { ...user, cwd: directory, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const settings = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: '',
    fsync: 'on',
    synchronous_commit: 'on',
    full_page_writes: 'on',
    // The defaults are for the smallest of machines.
    shared_buffers: '512MB',
    max_wal_size: '4GB',
  };
  return await launch({
    program: programOf('postgres'),
    args: ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    ready: 'database system is ready to accept connections',
    // Disconnects clients and ends; the default would wait for them.
    stopBy: 'SIGINT',
    user,
    directory,
    port,
  });
}

/** The user of Debian's package, or nobody. */
function unprivileged(): Required<User> {
  const idOf = (option: '-u' | '-g', name: string) =>
    Number(execFileSync('id', [option, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
  for (const name of ['postgres', 'nobody']) {
    try {
      return { uid: idOf('-u', name), gid: idOf('-g', name) };
    } catch {
      // There is no such user.
    }
  }
  throw new Error('PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody');
}

interface Launch {
  readonly program: string;
  readonly args: readonly string[];
  /** What it says when it can be connected to. */
  readonly ready: string;
  readonly stopBy: NodeJS.Signals;
  readonly user: User;
  readonly directory: string;
  readonly port: number;
}

async function launch({ program, args, ready, stopBy, user, directory, port }: Launch): Promise<Server> {
  const child = spawn(program, args, {
    ...user,
    cwd: directory,
    // Its own group: an interrupt of the terminal is for the bench, which stops it in order.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise<void>((resolve) => {
    child.once('error', () => resolve());
    child.once('exit', () => resolve());
  });
  const server: Server = {
    port,
    pid: child.pid ?? -1,
    async stop() {
      child.kill(stopBy);
      await ended;
      rmSync(directory, { recursive: true, force: true });
      running.delete(server);
    },
  };
  running.add(server);
  try {
    await untilSaid(child, ready);
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

/** @throws Error where it ends before, with the last that it said */
function untilSaid(child: ChildProcess, words: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = '';
    const hear = (text: string) => {
      // Read on, or the pipe fills up and the server stands still; but remember no more than an error needs.
      said = `${said}${text}`.slice(-4_000);
      if (said.includes(words)) resolve();
    };
    child.stdout?.setEncoding('utf8').on('data', hear);
    child.stderr?.setEncoding('utf8').on('data', hear);
    child.once('error', reject);
    child.once('exit', (code, signal) =>
      reject(new Error(`${child.spawnfile} ended with ${code ?? signal ?? 'nothing'}:\n${said}`)),
    );
  });
}

/** Free when it was asked for: whoever takes it in between makes the server fail, loudly. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
