import type { Clock } from '../../ports/clock.ts';
import type { Random } from '../../ports/random.ts';
import type { Compaction } from '../kv.ts';
import type { Commit, CommitRequest } from './commit-request.ts';
import type { ReadLease } from './read-leases.ts';
import type { Watches } from './watches.ts';

/** What transactions need of the engine below them; memory and LMDB are the two that exist. */
export interface Engine {
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly watches: Watches;
  readonly isClosed: boolean;
  /** A snapshot of the newest commit. */
  openLease(): ReadLease;
  /** Resolves when the commit is as durable as the engine makes it. Rejects with a `KeyValueError`. */
  commit(request: CommitRequest): Promise<Commit>;
  /** As in the port. */
  requestsOfOthers?(): number;
  /** Where what was deleted leaves room in a file. */
  compact?(): Promise<Compaction>;
  /** Waits for what is in flight. Twice is fine. */
  close(): Promise<void>;
}
