import type { KeyValueDatabase, KeyValueTransaction } from '../../src/kv/kv.ts';
import { overriding, withTransactions } from './overriding.ts';

/** One attempt to commit something that is being watched. */
export interface WatchedCommit {
  /** 1 for the first of a database, then one more with each. */
  readonly number: number;
  /** Watched keys that it sets. */
  readonly keys: number;
}

export interface CommitWatcher {
  /** The commit is sent to the engine when this resolves: one that never does stops it there. */
  before?(commit: WatchedCommit): Promise<void> | void;
  /** The commit was acknowledged; who asked for it hears of it when this resolves. */
  after?(commit: WatchedCommit): Promise<void> | void;
}

/** The same database, but the commits of transactions that set a key under `prefix` can be seen, and held. */
export function watchCommits(
  database: KeyValueDatabase,
  prefix: Uint8Array,
  watcher: CommitWatcher,
): KeyValueDatabase {
  let commits = 0;
  return withTransactions(database, (tx) => {
    const keys = new Set<string>();
    const watched: Pick<KeyValueTransaction, 'set' | 'commit' | 'onError'> = {
      set(key, value) {
        const bytes = Buffer.from(key);
        if (bytes.subarray(0, prefix.length).equals(prefix)) keys.add(bytes.toString('latin1'));
        tx.set(key, value);
      },
      async commit() {
        if (keys.size === 0) return tx.commit();
        commits += 1;
        const commit = { number: commits, keys: keys.size };
        await watcher.before?.(commit);
        await tx.commit();
        await watcher.after?.(commit);
      },
      async onError(error) {
        keys.clear();
        await tx.onError(error);
      },
    };
    return overriding(tx, watched);
  });
}
