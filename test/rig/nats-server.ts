import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { accessSync, constants, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { createTemporaryDirectory } from './temporary-directory.ts';

/** `NATS_SERVER_BIN`, or the `nats-server` on the PATH; undefined where there is none. */
export const natsServerBinary = findBinary();

if (natsServerBinary === undefined) {
  const sentence = 'No nats-server on the PATH or in NATS_SERVER_BIN: what needs one is NOT TESTED.';
  if (process.env['GODWIT_REQUIRE'] === 'nats')
    throw new Error(`${sentence} GODWIT_REQUIRE=nats demands it.`);
  process.stderr.write(`\n!!! ${sentence}\n\n`);
}

function findBinary(): string | undefined {
  const named = process.env['NATS_SERVER_BIN'] ?? '';
  // One that was named and is not there must not be replaced by another silently.
  const places =
    named === ''
      ? (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'nats-server'))
      : [named];
  return places.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** A real server on a free port. */
export interface NatsServer {
  /** `127.0.0.1:<port>`, the same after a restart. */
  readonly address: string;
  /** kill -9; resolves when it is gone. */
  kill(): Promise<void>;
  /** On the same port, with a configuration that may be another one. */
  start(configuration?: string): Promise<void>;
  /** Kills it and removes what it wrote. Twice is fine. */
  stop(): Promise<void>;
}

/** @param configuration in the server's own format, beyond the address */
export async function startNatsServer(configuration = ''): Promise<NatsServer> {
  const directory = createTemporaryDirectory('nats');
  let child: ChildProcess | undefined;
  let port = -1;
  let present = configuration;
  const server: NatsServer = {
    get address() {
      return `127.0.0.1:${port}`;
    },
    async kill() {
      const ending = child;
      child = undefined;
      if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return;
      const gone = new Promise((resolve) => ending.once('exit', resolve));
      ending.kill('SIGKILL');
      await gone;
    },
    async start(next = present) {
      present = next;
      const file = join(directory.path, 'server.conf');
      writeFileSync(file, present);
      const started = spawn(
        natsServerBinary ?? 'nats-server',
        ['-a', '127.0.0.1', '-p', `${port}`, '-c', file],
        {
          stdio: ['ignore', 'ignore', 'pipe'],
        },
      );
      child = started;
      port = await portOf(started);
    },
    async stop() {
      await server.kill();
      directory.remove();
    },
  };
  await server.start();
  return server;
}

/** When the server says that it is ready. */
function portOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let said = '';
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`nats-server ended:\n${said}`)));
    child.stderr?.on('data', (text: Buffer) => {
      said += text.toString();
      const [, port] = /Listening for client connections on 127\.0\.0\.1:(\d+)/.exec(said) ?? [];
      if (port !== undefined && said.includes('Server is ready')) resolve(Number(port));
    });
  });
}
