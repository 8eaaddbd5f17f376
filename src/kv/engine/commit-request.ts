import type { ConflictSet } from './conflict-set.ts';
import type { ReadLease } from './read-leases.ts';
import type { WriteBuffer } from './write-buffer.ts';

/** What a transaction hands over when it commits. */
export interface CommitRequest {
  /** Absent: it read nothing that could conflict. */
  readonly lease: ReadLease | undefined;
  readonly reads: ConflictSet;
  readonly writes: WriteBuffer;
  /** Whether it is work that others need not wait for. */
  readonly isBatch: boolean;
  /** As in the port's options. */
  readonly isRequest: boolean;
}

export interface Commit {
  readonly version: number;
  /** 0 to 65,535: which one of its batch it was. */
  readonly order: number;
}
