import type { ModelMigratingDetails } from '../../src/index.ts';
import { GodwitException } from '../../src/index.ts';

export interface Answer {
  readonly status: number;
  readonly body: object;
  /** Seconds, for the header. */
  readonly retryAfter?: number;
  /** Whoever tries again does better on another connection: it may lead to another worker. */
  readonly closes?: boolean;
}

/** Where nobody knows better. */
const retryAfterS = 1;

/** The header has whole seconds: never earlier than the store advises. */
const wholeSeconds = (ms: number) => Math.max(1, Math.ceil(ms / 1_000));

export const unavailable = (body: object): Answer => ({ status: 503, body, retryAfter: retryAfterS });

/** What a client is told of a request that the store refused. */
export function answerTo(error: unknown): Answer {
  if (!(error instanceof GodwitException)) return { status: 500, body: { error: 'INTERNAL' } };
  const { code, details, retryable } = error;
  switch (code) {
    case 'MODEL_MIGRATING': {
      const { retryAfterMs, etaMs } = details as unknown as ModelMigratingDetails;
      return { status: 503, body: { error: code, etaMs }, retryAfter: wholeSeconds(retryAfterMs) };
    }
    case 'MODEL_SCHEMA_CHANGED':
      // Not retryable for this worker, which is too old for good. For its client it is: its successor is on the way.
      return { ...unavailable({ error: code }), closes: true };
    case 'RECORD_NOT_FOUND':
      return { status: 404, body: { error: code } };
    case 'RECORD_INVALID':
      return { status: 400, body: { error: code } };
    default:
      return retryable ? unavailable({ error: code }) : { status: 500, body: { error: code } };
  }
}
