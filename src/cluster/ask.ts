import { RequestException } from '../errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { BusRequestOptions } from './bus.ts';
import { isSubject } from './subject.ts';

/** @param refused the bus does not let this user ask */
export function unanswered(subject: string, why: string, refused = false): RequestException {
  return new RequestException('BUS_UNANSWERED', `Nobody answers to ${subject}: ${why}.`, {
    details: refused ? { subject, refused } : { subject },
  });
}

/**
 * Waits for the answer, and for no longer than was wished.
 *
 * @param ask not called where the signal has aborted before
 */
export async function askWithin(
  clock: Clock,
  subject: string,
  { timeoutMs, signal }: BusRequestOptions,
  ask: () => Promise<Uint8Array>,
): Promise<Uint8Array> {
  if (!isSubject(subject)) throw new TypeError(`'${subject}' is no subject.`);
  if (!(timeoutMs >= 1)) throw new RangeError('timeoutMs must be a number of milliseconds from 1.');
  const aborted = () =>
    new RequestException('ABORTED', `The question to ${subject} was given up.`, { details: { subject } });
  if (signal?.aborted === true) throw aborted();
  let timer: unknown;
  let onAbort: (() => void) | undefined;
  const given = new Promise<never>((_, reject) => {
    timer = clock.setTimeout(() => reject(tooLate(subject, timeoutMs)), timeoutMs, { ref: true });
    onAbort = () => reject(aborted());
    signal?.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([ask(), given]);
  } finally {
    clock.clearTimeout(timer);
    if (onAbort !== undefined) signal?.removeEventListener('abort', onAbort);
  }
}

function tooLate(subject: string, timeoutMs: number): RequestException {
  return new RequestException('TIMEOUT', `Nobody answered to ${subject} within ${timeoutMs} ms.`, {
    details: { subject, timeoutMs },
  });
}
