import { RequestException, StorageException } from '../errors.ts';
import { KeyValueError, KeyValueErrorCode } from '../kv/kv.ts';

/**
 * What the caller of a request is told: the driver's errors become ours here and nowhere below, because the retry loop
 * has to see them as they are. What the caller's own code threw stays as it is.
 *
 * @param assertOpen throws STORE_CLOSED where closing the store is what canceled the transaction
 */
export function callError(error: unknown, signal: AbortSignal | undefined, assertOpen: () => void): unknown {
  if (signal?.aborted === true && error === signal.reason) return abortedError(signal);
  if (!(error instanceof KeyValueError)) return error;
  const { code } = error;
  const options = { details: { code }, cause: error };
  switch (code) {
    case KeyValueErrorCode.canceled:
      try {
        assertOpen();
      } catch (closed) {
        return closed;
      }
      break;
    case KeyValueErrorCode.timedOut:
      return new RequestException('TIMEOUT', 'The transaction did not end within its time.', options);
    case KeyValueErrorCode.keyTooLarge:
      return new RequestException('KEY_TOO_LARGE', 'A key is longer than the database allows.', options);
    case KeyValueErrorCode.valueTooLarge:
      return new RequestException(
        'RECORD_TOO_LARGE',
        'A record is larger than the database allows.',
        options,
      );
    case KeyValueErrorCode.transactionTooLarge:
      return new RequestException(
        'RECORD_TOO_LARGE',
        'The records of one transaction are larger together than the database allows; use several transactions.',
        options,
      );
    default:
  }
  return new StorageException('STORAGE_FAILED', `The database failed: ${error.message}.`, options);
}

/** @throws RequestException ABORTED, TIMEOUT */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw abortedError(signal);
}

/** For a call whose signal was aborted. */
export function abortedError(signal: AbortSignal): RequestException {
  const cause: unknown = signal.reason;
  if (cause instanceof Error && cause.name === 'TimeoutError') {
    return new RequestException('TIMEOUT', 'The call did not end within its time.', { cause });
  }
  return new RequestException('ABORTED', 'The call was aborted.', { cause });
}
