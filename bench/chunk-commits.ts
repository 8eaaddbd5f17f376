import type { KeyValueDatabase } from '../src/index.ts';
import type { TransactOptions } from '../src/kv/kv.ts';
import { chunkLimits } from '../src/migration/passes/controller.ts';

/** The commit of a chunk is the one transaction that has this much time. */
const isChunkCommit = (options: TransactOptions | undefined) =>
  options?.priority === 'batch' && options.timeoutMs === chunkLimits.hardMs;

/** What the commit of a chunk answers, as far as it is read here. */
interface Answer {
  readonly type: string;
  readonly row?: { readonly begin: string; readonly recordsRead: number };
}

/**
 * The same database. After each commit of a chunk it is told how many records the pass has gone through: those of this
 * process, of the ranges of all its passes together.
 */
export function watchChunkCommits(
  database: KeyValueDatabase,
  told: (records: number) => void,
): KeyValueDatabase {
  const known = new Map<string, number>();
  let records = 0;
  return {
    engine: database.engine,
    createTransaction: (options) => database.createTransaction(options),
    async transact(body, options) {
      const answer = await database.transact(body, options);
      if (!isChunkCommit(options)) return answer;
      const { type, row } = answer as Answer;
      if (type !== 'committed' || row === undefined) return answer;
      records += Math.max(0, row.recordsRead - (known.get(row.begin) ?? 0));
      known.set(row.begin, row.recordsRead);
      told(records);
      return answer;
    },
    close: () => database.close(),
  };
}
