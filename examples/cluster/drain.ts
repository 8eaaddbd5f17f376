import type { Server } from 'node:http';
import { Server as NetServer } from 'node:net';

/**
 * How long an idle connection is kept. It is announced in whole seconds, `Keep-Alive: timeout=2`: a client lets go of the
 * connection well before the server does, and never sends a request into one that is being closed.
 */
export const keepAliveMs = 2_900;

/**
 * Stops taking connections, and resolves when those that there are have ended: each after the answer under way, which has
 * to say `Connection: close`, or by having been idle for `keepAliveMs`.
 *
 * The server's own `close` would end idle connections at once, under the request that a client is just sending on one.
 * The `close` of its base class only stops listening.
 *
 * @param timeoutMs connections that are still there then are cut
 */
export async function drain(server: Server, timeoutMs: number): Promise<void> {
  const timer = setTimeout(() => server.closeAllConnections(), timeoutMs);
  await new Promise((resolve) => NetServer.prototype.close.call(server, resolve));
  clearTimeout(timer);
}
