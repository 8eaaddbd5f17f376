import { describe, expect, it } from 'vitest';
import { RequestException } from '../../../src/errors.ts';
import { KeyValueError } from '../../../src/kv/kv.ts';
import { callError } from '../../../src/store/request-error.ts';

const isOpen = () => undefined;
const isClosed = () => {
  throw new RequestException('STORE_CLOSED', 'The store was closed.');
};

describe('what the caller of a request is told', () => {
  it.each([
    [1007, 'STORAGE_FAILED'],
    [1020, 'STORAGE_FAILED'],
    [1025, 'STORAGE_FAILED'],
    [1031, 'TIMEOUT'],
    [2101, 'RECORD_TOO_LARGE'],
    [2102, 'KEY_TOO_LARGE'],
    [2103, 'RECORD_TOO_LARGE'],
  ])("turns the driver's %i into %s, with its code and cause", (number, code) => {
    const cause = new KeyValueError(number);
    expect(callError(cause, undefined, isOpen)).toMatchObject({ code, details: { code: number }, cause });
  });

  it('blames the close for a transaction that it canceled', () => {
    expect(callError(new KeyValueError(1025), undefined, isClosed)).toMatchObject({ code: 'STORE_CLOSED' });
  });

  it('tells an abort from a timeout of the signal', () => {
    const aborted = AbortSignal.abort();
    expect(callError(aborted.reason, aborted, isOpen)).toMatchObject({ code: 'ABORTED' });
    const late = AbortSignal.abort(new DOMException('late', 'TimeoutError'));
    expect(callError(late.reason, late, isOpen)).toMatchObject({ code: 'TIMEOUT', retryable: true });
  });

  it("leaves what the caller's own code threw as it is", () => {
    const own = new Error('mine');
    expect(callError(own, AbortSignal.abort(), isOpen)).toBe(own);
    expect(callError('text', undefined, isOpen)).toBe('text');
  });
});
