import type { KeyValueDatabase, Transaction } from '../src/index.ts';
import type { RangeRow } from '../src/migration/passes/ledger.ts';
import type { ModelKeys } from '../src/records/keys.ts';
import { limits } from '../src/limits.ts';
import { machineMs } from './machine-clock.ts';

/** One committed transaction of a process that wrote a range of the backfill. */
export interface LedgerCommit {
  /** `claim` takes a range that is there, `split` half of another's; `end` gives one back. */
  readonly kind: 'plan' | 'claim' | 'split' | 'chunk' | 'end';
  readonly range: number;
  /** Whether this process has the range afterwards. */
  readonly isHeld: boolean;
  readonly beganMs: number;
  readonly atMs: number;
  /** Beyond the first. */
  readonly repeats: number;
  readonly records: number;
  readonly keysRead: number;
  readonly keysWritten: number;
  /** Of the range as it is written. */
  readonly rowBytes: number;
}

/** The same database; what its transactions do to ranges is told after each commit. */
export function spyOnLedger(
  database: KeyValueDatabase,
  keys: ModelKeys,
  tell: (commit: LedgerCommit) => void,
): KeyValueDatabase {
  const numbers = new Map(
    Array.from({ length: limits.migration.splitRanges.value }, (_, n) => [
      keys.range('backfill', n).toString('latin1'),
      n,
    ]),
  );
  /** As this process wrote it last. */
  const known = new Map<number, RangeRow>();

  const changeOf = (written: ReadonlyMap<number, RangeRow>) => {
    const [entry, other] = written;
    if (entry === undefined) return undefined;
    if ([...written.values()].every(({ claimSeq }) => claimSeq === 0))
      return { kind: 'plan' as const, entry };
    // A split writes two rows: the part that is its own is the one that nobody had.
    if (other !== undefined)
      return {
        kind: 'split' as const,
        entry: entry[1].seq === 0 && entry[1].claimSeq === 1 && entry[0] > other[0] ? entry : other,
      };
    const before = known.get(entry[0]);
    if (before === undefined || before.claimSeq !== entry[1].claimSeq)
      return { kind: 'claim' as const, entry };
    return { kind: entry[1].seq > before.seq ? ('chunk' as const) : ('end' as const), entry };
  };

  return {
    ...database,
    engine: database.engine,
    createTransaction: (options) => database.createTransaction(options),
    close: () => database.close(),
    async transact(body, options) {
      const beganMs = machineMs();
      let attempts = 0;
      let reads = 0;
      let writes = 0;
      const written = new Map<number, RangeRow>();
      const result = await database.transact(async (tx) => {
        attempts += 1;
        [reads, writes] = [0, 0];
        written.clear();
        return body(
          spied(tx, {
            read: (count) => {
              reads += count;
            },
            wrote: (key, value) => {
              writes += 1;
              const number =
                value === undefined ? undefined : numbers.get(Buffer.from(key).toString('latin1'));
              if (number !== undefined && value !== undefined) {
                written.set(number, JSON.parse(Buffer.from(value).toString()) as RangeRow);
              }
            },
          }),
        );
      }, options);
      const change = changeOf(written);
      if (change === undefined) return result;
      const {
        kind,
        entry: [range, row],
      } = change;
      tell({
        kind,
        range,
        isHeld: kind !== 'plan' && row.claim !== null,
        beganMs,
        atMs: machineMs(),
        repeats: attempts - 1,
        records: kind === 'chunk' ? row.moved - (known.get(range)?.moved ?? 0) : 0,
        keysRead: reads,
        keysWritten: writes,
        rowBytes: JSON.stringify(row).length,
      });
      if (kind !== 'plan') known.set(range, row);
      return result;
    },
  };
}

interface Witness {
  readonly read: (count: number) => void;
  readonly wrote: (key: Uint8Array, value?: Uint8Array) => void;
}

function spied(tx: Transaction, { read, wrote }: Witness): Transaction {
  const members: Partial<Transaction> = {
    get(key, options) {
      read(1);
      return tx.get(key, options);
    },
    async getRangeAll(begin, end, options) {
      const rows = await tx.getRangeAll(begin, end, options);
      read(rows.length);
      return rows;
    },
    set(key, value) {
      wrote(key, value);
      tx.set(key, value);
    },
    clear(key) {
      wrote(key);
      tx.clear(key);
    },
    atomicOp(operation, key, operand) {
      wrote(key);
      tx.atomicOp(operation, key, operand);
    },
  };
  return new Proxy(tx, {
    get(_, name) {
      const owner = name in members ? members : tx;
      const value: unknown = Reflect.get(owner, name, owner);
      return typeof value === 'function' ? (value.bind(owner) as unknown) : value;
    },
  });
}
