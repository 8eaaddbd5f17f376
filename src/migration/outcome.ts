/** What a phase handler answers when one step is over. */
export type MigrationOutcome =
  /** The phase is done. */
  | { readonly type: 'Success' }
  /** There is more to do: the handler is called again, from `nextCursor` where one is given. */
  | {
      readonly type: 'Partial';
      readonly nextCursor?: string | undefined;
      readonly message?: string | undefined;
    }
  /** It could not be done now: the handler is called again after a delay. */
  | {
      readonly type: 'Retry';
      readonly nextCursor?: string | undefined;
      readonly message?: string | undefined;
      /** Milliseconds. Default: exponential backoff, 250 ms to 30 s, full jitter. */
      readonly retryAfterMs?: number | undefined;
    }
  /** It cannot be done: the migration fails and waits for an operator. */
  | { readonly type: 'Fatal'; readonly reason: string };

interface PartialFields {
  /** Where the next step goes on. Absent: the cursor stays. At most 3,000 bytes. */
  readonly nextCursor?: string | undefined;
  readonly message?: string | undefined;
}

interface RetryFields extends PartialFields {
  readonly retryAfterMs?: number | undefined;
}

export const MigrationOutcome = {
  Success: Object.freeze({ type: 'Success' }) as MigrationOutcome,
  Partial: (fields: PartialFields = {}): MigrationOutcome => ({ type: 'Partial', ...fields }),
  Retry: (fields: RetryFields = {}): MigrationOutcome => ({ type: 'Retry', ...fields }),
  Fatal: (reason: string): MigrationOutcome => ({ type: 'Fatal', reason }),
} as const;

const isOptionalString = (value: unknown) => value === undefined || typeof value === 'string';

/** Says what is wrong with a handler's answer, or undefined when it is an outcome. */
export function outcomeProblem(answer: unknown): string | undefined {
  if (typeof answer !== 'object' || answer === null)
    return `it answered ${answer === null ? 'null' : typeof answer}`;
  const { type, nextCursor, message, retryAfterMs, reason } = answer as Record<string, unknown>;
  switch (type) {
    case 'Success':
      return undefined;
    case 'Partial':
    case 'Retry':
      if (!isOptionalString(nextCursor)) return 'nextCursor is no string';
      if (!isOptionalString(message)) return 'message is no string';
      if (retryAfterMs === undefined) return undefined;
      return typeof retryAfterMs === 'number' && retryAfterMs >= 0 && Number.isFinite(retryAfterMs)
        ? undefined
        : 'retryAfterMs is no number of milliseconds';
    case 'Fatal':
      return typeof reason === 'string' ? undefined : 'reason is no string';
    default:
      return `its type is ${JSON.stringify(type)}`;
  }
}
