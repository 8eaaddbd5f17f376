import type { KeyValueDatabase, KeyValueTransaction } from '../../src/kv/kv.ts';
import { KeyValueError, KeyValueErrorCode } from '../../src/kv/kv.ts';
import { overriding, withTransactions } from './overriding.ts';

const readNames = [
  'get',
  'getRange',
  'getRangeAll',
  'getReadVersion',
  'getEstimatedRangeSizeBytes',
  'getRangeSplitPoints',
] as const;

const writeNames = [
  'set',
  'clear',
  'clearRange',
  'atomicOp',
  'setVersionstampedKey',
  'setVersionstampedValue',
  'addWriteConflictRange',
  'addWriteConflictKey',
] as const;

/** What reaches the database. The commit of a transaction that wrote nothing does not, as in FoundationDB's client. */
export type OperationKind = (typeof readNames)[number] | 'commit';

/**
 * crashBefore: the operation never happens, and the process is dead.
 * crashAfter: the operation happens, but the process is dead before it hears of it.
 * unknownApplied, unknownLost: a commit happens or does not, and the answer is 1021 either way.
 */
export type FaultKind = 'crashBefore' | 'crashAfter' | 'unknownApplied' | 'unknownLost';

/** An operation, before it happens. */
export interface Operation {
  /** From 0. */
  readonly number: number;
  readonly kind: OperationKind;
  /** Of its transaction, from 0. */
  readonly attempt: number;
}

/** What happens to an operation; undefined: nothing. */
export type FaultPlan = (operation: Operation) => FaultKind | undefined;

/** What can happen to an operation of a kind. */
export function faultsOf(operation: OperationKind): readonly FaultKind[] {
  const crashes: readonly FaultKind[] = ['crashBefore', 'crashAfter'];
  return operation === 'commit' ? [...crashes, 'unknownApplied', 'unknownLost'] : crashes;
}

/** A database as one process sees it. What is underneath survives the process, and is not closed with it. */
export interface FaultyDatabase extends KeyValueDatabase {
  /** Kinds of the operations so far, by number. */
  readonly operations: readonly OperationKind[];
  /** Faults that came about. */
  readonly strikes: number;
  /** Aborted when the process dies: every operation fails from then on, none reaches the database. */
  readonly death: AbortSignal;
  /** From now on nothing happens any more, whatever was planned. */
  spare(): void;
}

export function createFaultyDatabase(database: KeyValueDatabase, planned?: FaultPlan): FaultyDatabase {
  const operations: OperationKind[] = [];
  const death = new AbortController();
  let plan = planned;
  let strikes = 0;

  const requireAlive = () => {
    if (death.signal.aborted) throw processIsDead();
  };
  const die = (): never => {
    death.abort();
    throw processIsDead();
  };

  const reach = async <T>(kind: OperationKind, attempt: number, operation: () => Promise<T>): Promise<T> => {
    requireAlive();
    const number = operations.push(kind) - 1;
    const struck = plan?.({ number, kind, attempt });
    if (struck !== undefined) strikes += 1;
    if (struck === 'crashBefore') die();
    if (struck === 'unknownLost') throw new KeyValueError(KeyValueErrorCode.commitUnknownResult);
    if (struck === 'crashAfter') {
      // Whatever came of it, a conflict too, nobody hears it.
      await operation().catch(() => undefined);
      die();
    }
    const result = await operation();
    if (struck === 'unknownApplied') throw new KeyValueError(KeyValueErrorCode.commitUnknownResult);
    // Another operation killed the process meanwhile: this answer finds nobody.
    requireAlive();
    return result;
  };

  const faulty = withTransactions(database, (tx) => {
    let wrote = false;
    const operate = <T>(kind: OperationKind, operation: () => Promise<T>) =>
      reach(kind, tx.attempt, operation);
    return overriding(tx, {
      ...noting(tx, () => (wrote = true)),
      get: (...given) => operate('get', () => tx.get(...given)),
      async *getRange(...given) {
        yield* await operate('getRange', () => Promise.resolve(tx.getRange(...given)));
      },
      getRangeAll: (...given) => operate('getRangeAll', () => tx.getRangeAll(...given)),
      getReadVersion: () => operate('getReadVersion', () => tx.getReadVersion()),
      getEstimatedRangeSizeBytes: (...given) =>
        operate('getEstimatedRangeSizeBytes', () => tx.getEstimatedRangeSizeBytes(...given)),
      getRangeSplitPoints: (...given) =>
        operate('getRangeSplitPoints', () => tx.getRangeSplitPoints(...given)),
      async commit() {
        if (wrote) return operate('commit', () => tx.commit());
        requireAlive();
        return tx.commit();
      },
      async onError(error) {
        requireAlive();
        wrote = false;
        await tx.onError(error);
      },
    });
  });

  return {
    ...faulty,
    close: () => Promise.resolve(),
    operations,
    get strikes() {
      return strikes;
    },
    death: death.signal,
    spare() {
      plan = undefined;
    },
  };
}

/** As from a database object that was closed: nobody tries again. */
function processIsDead(): KeyValueError {
  return new KeyValueError(KeyValueErrorCode.canceled, { message: 'the process is dead' });
}

/** Every write of a transaction, told before it is done. */
function noting(tx: KeyValueTransaction, told: () => void): Partial<KeyValueTransaction> {
  const note =
    <Given extends unknown[]>(write: (...given: Given) => void) =>
    (...given: Given) => {
      told();
      Reflect.apply(write, tx, given);
    };
  return Object.fromEntries(
    writeNames.map((name) => [name, note(tx[name] as (...given: unknown[]) => void)]),
  );
}
