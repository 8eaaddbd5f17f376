import type { Clock } from '../../ports/clock.ts';
import type { Random } from '../../ports/random.ts';
import { KeyValueError, KeyValueErrorCode } from '../kv.ts';
import { applyBatch } from '../engine/batch.ts';
import { CommitHistory } from '../engine/commit-history.ts';
import { CommitQueue } from '../engine/commit-queue.ts';
import type { Commit, CommitRequest } from '../engine/commit-request.ts';
import type { Engine } from '../engine/engine.ts';
import type { Key } from '../engine/keys.ts';
import { ReadLeases, type ReadLease } from '../engine/read-leases.ts';
import type { Snapshot } from '../engine/storage.ts';
import { nextVersion } from '../engine/versionstamp.ts';
import { Watches } from '../engine/watches.ts';
import { SortedMap, SortedMapEditor } from './sorted-map.ts';

interface MemoryEngineOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly unsafeWithoutConflictCheck: boolean;
}

export class MemoryEngine implements Engine {
  readonly name = 'memory';
  readonly clock: Clock;
  readonly random: Random;
  readonly watches: Watches;
  isClosed = false;
  readonly #leases: ReadLeases;
  readonly #queue = new CommitQueue();
  readonly #history = new CommitHistory(0);
  readonly #unsafeWithoutConflictCheck: boolean;
  #data = new SortedMap();
  #version = 0;
  #isFlushQueued = false;

  constructor(options: MemoryEngineOptions) {
    this.clock = options.clock;
    this.random = options.random;
    this.#unsafeWithoutConflictCheck = options.unsafeWithoutConflictCheck;
    this.#leases = new ReadLeases(options.clock);
    this.watches = new Watches((key) => this.#data.get(key));
  }

  openLease(): ReadLease {
    return this.#leases.open(() => createSnapshot(this.#data, this.#version));
  }

  commit(request: CommitRequest): Promise<Commit> {
    if (this.isClosed) return Promise.reject(new KeyValueError(KeyValueErrorCode.canceled));
    const commit = this.#queue.add(request, this.#history, this.#version);
    if (!this.#isFlushQueued) {
      this.#isFlushQueued = true;
      queueMicrotask(() => this.#flush());
    }
    return commit;
  }

  async close(): Promise<void> {
    this.isClosed = true;
    await this.#queue.idle();
    this.watches.close();
    this.#leases.close();
  }

  #flush(): void {
    this.#isFlushQueued = false;
    while (!this.#queue.isEmpty) {
      const editor = new SortedMapEditor(this.#data);
      const version = nextVersion(this.#version, this.clock);
      const { committed, refused, writes } = applyBatch(this.#queue.takeBatch(), {
        version,
        history: this.#history,
        writer: editor,
        unsafeWithoutConflictCheck: this.#unsafeWithoutConflictCheck,
      });
      if (writes.length > 0) {
        this.#data = editor.finish();
        this.#version = version;
        for (const written of writes) this.watches.afterCommit(written);
      }
      for (const { queued, error } of refused) queued.reject(error);
      for (const { queued, commit } of committed) queued.resolve(commit);
      this.#history.forgetThrough(this.#leases.oldestVersion ?? this.#version);
    }
  }
}

function createSnapshot(data: SortedMap, version: number): Snapshot {
  return {
    version,
    get: (key) => {
      const value = data.get(key);
      return value === undefined ? undefined : Buffer.from(value);
    },
    scan: (begin, end, reverse) => data.scan(begin, end, reverse),
    count: (begin, end) => [...data.keys(begin, end)].length,
    keyAt: (begin, end, offset): Key | undefined => {
      let left = offset;
      for (const key of data.keys(begin, end)) if (left-- === 0) return key;
      return undefined;
    },
    release: () => undefined,
  };
}
