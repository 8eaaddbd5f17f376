import { RequestException } from '../errors.ts';
import type { RemoteConnection } from './connection.ts';
import { busOf } from './connection.ts';
import type { RemoteStore } from './control-migration.ts';
import { ask } from './control-migration.ts';
import type { ControlReply } from './replies.ts';

export interface ListModelsOptions extends RemoteStore {
  /** How long an answer is waited for, over all tries. Milliseconds from 1; default 10,000. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Which models a store has, from whichever node answers.
 *
 * @throws RequestException BUS_UNANSWERED, TIMEOUT, ABORTED; STORE_AMBIGUOUS where a database has to be named
 */
export async function listModels(
  connection: RemoteConnection,
  { store, prefix = 'godwit', databaseId, timeoutMs = 10_000, signal }: ListModelsOptions,
): Promise<NonNullable<ControlReply['models']>> {
  const subject = `${prefix}.${store}.control.all.status`;
  const body = databaseId === undefined ? {} : { databaseId };
  const { models, code, message } = await ask(busOf(connection), subject, body, { timeoutMs, signal });
  if (models !== undefined) return models;
  throw new RequestException(
    code === 'STORE_AMBIGUOUS' ? 'STORE_AMBIGUOUS' : 'BUS_UNANSWERED',
    message ?? `${store} does not tell which models it has.`,
  );
}
