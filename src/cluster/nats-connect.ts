import type { ConnectionOptions, NatsConnection } from 'nats';
import type { Clock } from '../ports/clock.ts';
import { rest } from '../ports/clock.ts';
import type { BusStateKeeper } from './bus-state.ts';
import { messageOf } from './bus-state.ts';

/** Between two attempts, milliseconds: the client's own default. */
const defaultWaitMs = 2_000;
/** A server that accepts and says nothing is waited for no longer, milliseconds. */
const defaultTimeoutMs = 5_000;

interface Around {
  readonly clock: Clock;
  readonly keeper: BusStateKeeper;
  readonly signal: AbortSignal;
}

/**
 * Tries until there is a connection; undefined when the signal aborts first. The client itself would wait for its first
 * server too, but cannot be told to stop.
 */
export async function openNats(
  options: ConnectionOptions,
  { clock, keeper, signal }: Around,
): Promise<NatsConnection | undefined> {
  // Loaded only by those who use it.
  const { connect } = await import('nats');
  while (!signal.aborted) {
    try {
      const nc = await connect({
        name: 'godwit',
        timeout: defaultTimeoutMs,
        ...options,
        waitOnFirstConnect: false,
        reconnect: true,
        maxReconnectAttempts: -1,
        // Credentials that are refused today may be granted tomorrow.
        ignoreAuthErrorAbort: true,
      });
      if (!signal.aborted) return nc;
      await nc.close();
    } catch (error) {
      const code = (error as { readonly code?: unknown }).code;
      keeper.failed(typeof code === 'string' ? code : 'CONNECT_FAILED', `no connection: ${messageOf(error)}`);
      await rest(clock, options.reconnectTimeWait ?? defaultWaitMs, signal);
    }
  }
  return undefined;
}
