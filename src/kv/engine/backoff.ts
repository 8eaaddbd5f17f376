import { limits } from '../../limits.ts';
import type { Random } from '../../ports/random.ts';
import { KeyValueErrorCode } from '../kv.ts';

/** FoundationDB's client begins with 10 ms and doubles up to 1 s. */
const firstDelayMs = 10;
const maxDelayMs = limits.database.retryDelayMs.value;

/** A conflict is over as soon as the other commit is: a local engine has one every few hundred microseconds. */
const firstConflictDelayMs = 1;

/** How long to wait before attempt `failures + 1`. Full jitter, so that those who collided spread out. */
export function backoffDelayMs(code: number, failures: number, random: Random): number {
  const first = code === KeyValueErrorCode.conflict ? firstConflictDelayMs : firstDelayMs;
  const ceiling = Math.min(maxDelayMs, first * 2 ** Math.min(failures, 20));
  return ceiling * random.fraction();
}
