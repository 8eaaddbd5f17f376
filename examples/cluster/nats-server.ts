import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** What this example needs is not there; the message says what to do. */
export class NatsServerMissing extends Error {}

export interface NatsServer {
  /** `nats://127.0.0.1:<port>` */
  readonly address: string;
  stop(): Promise<void>;
}

/**
 * Starts `NATS_SERVER_BIN`, or the `nats-server` on the PATH, on a free port.
 *
 * @throws NatsServerMissing
 */
export async function startNatsServer(): Promise<NatsServer> {
  const binary = process.env['NATS_SERVER_BIN'] || 'nats-server';
  // In a group of its own: Ctrl-C in a terminal is not for it, it ends last.
  const child = spawn(binary, ['-a', '127.0.0.1', '-p', '-1'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  });
  const ended = once(child, 'exit').catch(() => undefined);
  const port = await new Promise<string>((resolve, reject) => {
    let said = '';
    child.once('error', () => reject(missing(binary)));
    child.once('exit', () => reject(new Error(`nats-server ended:\n${said}`)));
    child.stderr.on('data', (text: Buffer) => {
      said += text.toString();
      const [, found] = /Listening for client connections on 127\.0\.0\.1:(\d+)/.exec(said) ?? [];
      if (found !== undefined && said.includes('Server is ready')) resolve(found);
    });
  });
  return {
    address: `nats://127.0.0.1:${port}`,
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

function missing(binary: string): NatsServerMissing {
  return new NatsServerMissing(
    `This example needs a NATS server, and ${binary} cannot be started. ` +
      'Install nats-server (Debian: apt-get install nats-server; others: nats.io), or name one in NATS_SERVER_BIN.',
  );
}
