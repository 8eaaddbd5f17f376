import { Agent, request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { json } from 'node:stream/consumers';

export interface Response {
  readonly status: number;
  /** The header, as it came. */
  readonly retryAfter: string | undefined;
  /** Whether it is the last one on its connection. */
  readonly closes: boolean;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface Client {
  /** Rejects when the connection ends without an answer. */
  ask(path: string, change?: { readonly method: 'PUT'; readonly body: string }): Promise<Response>;
  close(): void;
}

/** A client of the shop: on connections that it keeps, or on a new one for each request. */
export function createClient(
  port: number,
  { keepsConnections }: { readonly keepsConnections: boolean },
): Client {
  const agent = new Agent({ keepAlive: keepsConnections });
  return {
    ask: (path, change) =>
      new Promise((resolve, reject) => {
        const method = change?.method ?? 'GET';
        const sent = request({ host: '127.0.0.1', port, path, agent, method }, (response) => {
          read(response).then(resolve, reject);
        });
        sent.on('error', reject);
        sent.end(change?.body);
      }),
    close: () => agent.destroy(),
  };
}

async function read(response: IncomingMessage): Promise<Response> {
  const { statusCode = 0, headers } = response;
  const body = (await json(response)) as Readonly<Record<string, unknown>>;
  const closes = headers.connection === 'close';
  return { status: statusCode, retryAfter: headers['retry-after'], closes, body };
}
