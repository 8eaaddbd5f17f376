import { MigrationException } from '../../errors.ts';
import type { Transaction } from '../../kv/kv.ts';
import type { PassName } from '../../records/keys.ts';
import type { Intent } from '../intent.ts';
import { isStopping, readIntent } from '../intent.ts';
import type { HeldMigration, ModelMigration } from '../runtime.ts';
import { claimOrder, largeFirst } from './claim-order.ts';
import type { MigrationState } from '../state.ts';
import { readState } from '../state.ts';
import type { RangeRow } from './ledger.ts';
import { freed, readRange, readRanges, writeRange } from './ledger.ts';
import { splitRange } from './split.ts';

/** A range that is this process's to move. */
export interface ClaimedRange {
  readonly number: number;
  readonly row: RangeRow;
}

export type ClaimResult =
  | ({ readonly type: 'claimed' } & ClaimedRange)
  | { readonly type: 'intent'; readonly intent: Intent }
  /** All ranges are at their end. */
  | { readonly type: 'allDone' }
  /** Others move what is left, and it is not worth cutting. */
  | { readonly type: 'othersMove' };

/** What a process claims in one pass. */
export interface Claims {
  /** The next range that nobody moves; where there is none, half of one that another process has before it. */
  next(share: () => number): Promise<ClaimResult>;
  /** The range is done, or given back already. */
  ended(number: number): void;
  giveBack(claimed: ClaimedRange): Promise<void>;
  /** At the end: what a transaction may have left claimed of which nobody knows how it ended. */
  giveBackAll(): Promise<void>;
}

/**
 * Claims are rows' own: whoever commits a chunk reads its range normally, so two never move the same records, whatever
 * they believe of each other's life (protocol 6).
 */
export function createClaims(migration: ModelMigration, held: HeldMigration, pass: PassName): Claims {
  const { runtime, model } = migration;
  const { sessions, session, database } = runtime;
  const { keys } = model;
  /** Moved by this process at this moment. */
  const mine = new Set<number>();
  let isUnsure = false;
  const unsure = (error: unknown): never => {
    isUnsure = true;
    throw error;
  };

  const isFree = async (tx: Transaction, { claim, done }: RangeRow, number: number): Promise<boolean> => {
    if (done || mine.has(number)) return false;
    return claim === null || claim.session === session || sessions.isOver(tx, claim.session);
  };

  const inOrder = (rows: readonly RangeRow[]): readonly number[] => {
    const isShared = rows.some(({ claim }) => claim !== null && claim.session !== session);
    // Records are checked before entries, where nobody else reaches for them.
    if (pass === 'verify' && !isShared) return [...rows.keys()];
    return largeFirst(rows, claimOrder(session, rows.length));
  };

  const claim = async (
    tx: Transaction,
    number: number,
    row: RangeRow,
    recordsPerSecond: number,
  ): Promise<ClaimResult> => {
    await sessions.announce(tx);
    const claimSeq = row.claimSeq + 1;
    const claimed = { ...row, claimSeq, claim: { session, claimSeq }, recordsPerSecond };
    writeRange(tx, keys, pass, number, claimed);
    return { type: 'claimed', number, row: claimed };
  };

  const attempt = async (tx: Transaction, recordsPerSecond: number): Promise<ClaimResult> => {
    const [rows, intent, state] = await Promise.all([
      readRanges(tx, keys, pass, { snapshot: true }),
      readIntent(tx, keys, held.state.migrationId),
      readState(tx, keys),
      held.lease.guard(tx),
    ]);
    if (isStopping(intent)) return { type: 'intent', intent };
    // The leader ended the phase, or failed: others begin nothing of it any more.
    if (!isUnderWay(state, held)) throw claimLost(held.state.migrationId);
    if (rows.every(({ done }) => done)) return { type: 'allDone' };
    for (const number of inOrder(rows)) {
      const seen = rows[number];
      if (seen === undefined || !(await isFree(tx, seen, number))) continue;
      // Normally: of two who claim it one conflicts.
      const row = await readRange(tx, keys, pass, number);
      if (row === undefined || row.claimSeq !== seen.claimSeq) continue;
      if (row.claim !== null) await sessions.bury(tx, row.claim.session);
      return claim(tx, number, row, recordsPerSecond);
    }
    const cut = await splitRange(tx, {
      keys,
      pass,
      rows,
      session,
      leastRecords: runtime.leastSplitRecords,
    });
    return cut === undefined ? { type: 'othersMove' } : claim(tx, cut.number, cut.row, recordsPerSecond);
  };

  const claimNext = async (share: () => number): Promise<ClaimResult> => {
    const claiming = database.transact((tx) => attempt(tx, Math.round(share())), {
      signal: held.lease.lost,
    });
    const result = await claiming.catch(unsure);
    if (result.type === 'claimed') mine.add(result.number);
    return result;
  };

  /** One claim of this process after the other: together they would reach for the same range. */
  let claiming: Promise<unknown> = Promise.resolve();

  return {
    next(share) {
      const claimed = claiming.then(() => claimNext(share));
      claiming = claimed.catch(() => undefined);
      return claimed;
    },
    ended(number) {
      mine.delete(number);
    },
    async giveBack({ number, row: { claimSeq } }) {
      try {
        const giving = database.transact(async (tx) => {
          // Whoever leads by now: a claim that nobody moves would be waited for.
          const row = await readRange(tx, keys, pass, number);
          if (row?.claim?.session !== session || row.claimSeq !== claimSeq) return;
          writeRange(tx, keys, pass, number, freed(row));
        });
        await giving.catch(unsure);
        runtime.hints.tell(model.id);
      } finally {
        mine.delete(number);
      }
    },
    async giveBackAll() {
      if (!isUnsure) return;
      await database.transact(async (tx) => {
        const rows = await readRanges(tx, keys, pass);
        rows.forEach((row, number) => {
          if (row.claim?.session === session) writeRange(tx, keys, pass, number, freed(row));
        });
      });
      isUnsure = false;
      runtime.hints.tell(model.id);
    },
  };
}

function isUnderWay(state: MigrationState | undefined, { state: planned }: HeldMigration): boolean {
  if (state?.migrationId !== planned.migrationId || state.phase !== planned.phase) return false;
  return state.status === 'Running' && !state.phaseCompleted;
}

export function claimLost(migrationId: string): MigrationException {
  return new MigrationException('LEASE_LOST', `A range of ${migrationId} was taken by somebody else.`, {
    details: { migrationId },
  });
}
