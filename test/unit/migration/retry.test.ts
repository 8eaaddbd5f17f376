import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MigrationException, RequestException, StorageException } from '../../../src/errors.ts';
import { KeyValueError } from '../../../src/kv/kv.ts';
import { backoffMs, isRetryable, restartDelayMs } from '../../../src/migration/retry.ts';

const always = (fraction: number) => ({ fraction: () => fraction, id: () => '' });

describe('the delay before a retry', () => {
  it('doubles from 250 ms to 30 s', () => {
    const ceilings = [1, 2, 3, 4, 5, 6, 7, 8, 9, 100].map((retry) => backoffMs(retry, always(1)));
    expect(ceilings).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  });

  it('is drawn from all of that: full jitter', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10_000 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (retry, fraction) => {
          const delayMs = backoffMs(retry, always(fraction));
          const ceiling = Math.min(30_000, 250 * 2 ** Math.min(20, retry - 1));
          expect(Number.isInteger(delayMs)).toBe(true);
          expect(delayMs).toBe(Math.ceil(fraction * ceiling));
        },
      ),
    );
  });
});

describe('the delay before a restart', () => {
  it('doubles as that of a retry does, and is never below half of it', () => {
    for (let crashes = 1; crashes <= 100; crashes += 1) {
      const longest = backoffMs(crashes, always(1));
      expect(restartDelayMs(crashes, always(1))).toBe(longest);
      expect(restartDelayMs(crashes, always(0))).toBe(longest / 2);
    }
  });
});

describe('an error', () => {
  it.each([
    [new KeyValueError(1020), true],
    [new KeyValueError(1021), true],
    [new KeyValueError(2101), false],
    [new RequestException('MODEL_MIGRATING', ''), true],
    [new RequestException('RECORD_INVALID', ''), false],
    [new MigrationException('LEASE_LOST', ''), true],
    [new MigrationException('TRANSFORM_FAILED', ''), false],
    [new StorageException('STORAGE_FAILED', ''), true],
    [new Error('plain'), false],
    [{ retryable: true }, true],
    [{ retryable: 'yes' }, false],
    [undefined, false],
    [null, false],
    ['text', false],
  ])('is retryable only when it says so: %s', (error, retryable) => {
    expect(isRetryable(error)).toBe(retryable);
  });
});
