import type { Amount, RangeEffort, TimedEffort } from './passes/effort.ts';
import { weightAfter } from './passes/effort.ts';
import type { RangeRow } from './passes/ledger.ts';

/** What of a range the time that is left is reckoned from. */
export type RemainingRange = Pick<RangeRow, 'done' | 'share' | 'estimate' | 'effort'>;

/** How much of a pass is left. */
export interface Remaining {
  readonly records: number;
  /** Milliseconds of one process; null: nothing is known of it. */
  readonly processMs: number | null;
}

/**
 * How much is left of a pass, and how long one process would take for it. Undefined where its ranges were planned without
 * an estimate of what is in them.
 *
 * Three things are learned from the ranges that have begun: how far the estimates were off; whether a record takes time by
 * itself or by its bytes; and how much of that a process gets done in a second. So what is dear and lies last is known
 * as soon as something of its kind was moved. It takes no less than a limit of the rate allows.
 */
export function remainingOf(rows: readonly RemainingRange[]): Remaining | undefined {
  const left = amountsLeft(rows);
  if (left === undefined) return undefined;
  const records = sumOf(left, (amount) => amount.records);
  if (records === 0) return { records, processMs: 0 };
  const begun = rows.flatMap(({ effort }) => (effort === undefined ? [] : [effort]));
  const timed = begun.filter((effort) => effort.timed.sharedMs > 0 && effort.timed.records > 0);
  const unknown = { records, processMs: null };
  if (timed.length === 0 || rows.some((row) => isUnheardOf(row, timed))) return unknown;
  const cost = costOf(timed.map((effort) => effort.timed));
  // Ranges that have waited for others count before those others do: it is known when most of them are timed.
  if (sumOf(begun, cost) > 2 * sumOf(timed, cost)) return unknown;
  const pace = paceOf(timed, cost);
  return { records, processMs: Math.max(sumOf(left, cost) * pace.perCost, records * pace.leastPerRecord) };
}

const sumOf = <T>(all: readonly T[], of: (one: T) => number): number =>
  all.reduce((total, one) => total + of(one), 0);

/** What each range has before it. */
function amountsLeft(rows: readonly RemainingRange[]): readonly Amount[] | undefined {
  const estimates = rows.flatMap(({ estimate }) => (estimate === undefined ? [] : [estimate]));
  if (estimates.length < rows.length) return undefined;
  const restOf = (of: (amount: Amount) => number) => {
    const factor = factorOf(rows, of);
    return ({ share, estimate = nothing, effort }: RemainingRange): number => {
      const read = of(effort ?? nothing);
      const planned = of(estimate) * factor;
      if (planned > read) return planned - read;
      // There is more than was estimated: by the place of its cursor among the keys, which may be anywhere.
      const most = Math.max(planned * littleBeyond, read - planned);
      return share > 0 ? Math.min((read * (1 - share)) / share, most) : 0;
    };
  };
  const records = restOf((amount) => amount.records);
  const bytes = restOf((amount) => amount.bytes);
  return rows.filter(({ done }) => !done).map((row) => ({ records: records(row), bytes: bytes(row) }));
}

const nothing: Amount = { records: 0, bytes: 0 };

/** Part of an estimate that a range may have left when it has just passed it; later, as much as it is beyond it. */
const littleBeyond = 1 / 4;

/** As much of all estimates as counts as if it had been right: the first range that is done does not decide alone. */
const trusted = 1 / 8;

/** How much there was in the ranges that are done to what had been estimated. */
function factorOf(rows: readonly RemainingRange[], of: (amount: Amount) => number): number {
  const done = rows.filter((row) => row.done);
  const right = trusted * sumOf(rows, ({ estimate = nothing }) => of(estimate));
  const planned = sumOf(done, ({ estimate = nothing }) => of(estimate));
  const was = sumOf(done, ({ effort }) => of(effort ?? nothing));
  return planned === 0 ? 1 : (was + right) / (planned + right);
}

/** How many times the largest mean size that was met: beyond that nobody knows what a record takes. */
const knownTo = 4;

const meanOf = ({ records, bytes }: Amount): number => bytes / Math.max(1, records);

const isUnheardOf = (
  { done, estimate = nothing, effort }: RemainingRange,
  timed: readonly Amount[],
): boolean => !done && meanOf(effort ?? estimate) > knownTo * Math.max(...timed.map(meanOf));

interface Pace {
  /** Milliseconds of a process to what its ranges cost by themselves, lately. */
  readonly perCost: number;
  /** Milliseconds of a process that a limit demands for a record. */
  readonly leastPerRecord: number;
}

function paceOf(ranges: readonly RangeEffort[], cost: (amount: Amount) => number): Pace {
  const latestMs = Math.max(...ranges.map(({ atMs }) => atMs));
  const lately = (of: (timed: TimedEffort) => number) =>
    sumOf(ranges, ({ timed, atMs }) => of(timed) * weightAfter(latestMs - atMs));
  return {
    perCost: lately(({ sharedMs }) => sharedMs) / lately(cost),
    leastPerRecord: lately(({ leastMs }) => leastMs) / lately(({ records }) => records),
  };
}

/** Below such a contrast between ranges it cannot be told from noise by what their records differ. */
const leastContrast = 0.000_1;

/**
 * The own time of an amount. What all ranges together took is shared out: one part by records, the other by bytes. How
 * large the second one is, 0 to 1, follows from the ranges by least squares, each weighed by the inverse of its size. Where
 * all have records of one size it is 0.
 */
function costOf(ranges: readonly TimedEffort[]): (amount: Amount) => number {
  const records = sumOf(ranges, (effort) => effort.records);
  const bytes = sumOf(ranges, (effort) => effort.bytes);
  const ownMs = sumOf(ranges, (effort) => effort.ownMs);
  if (ownMs === 0 || bytes === 0) return (amount) => amount.records;
  let covariance = 0;
  let contrast = leastContrast;
  for (const effort of ranges) {
    const byRecords = effort.records / records;
    const difference = effort.bytes / bytes - byRecords;
    const weight = 2 / (effort.bytes / bytes + byRecords);
    covariance += weight * (effort.ownMs / ownMs - byRecords) * difference;
    contrast += weight * difference * difference;
  }
  const byBytes = Math.min(1, Math.max(0, covariance / contrast));
  return (amount) => ownMs * ((1 - byBytes) * (amount.records / records) + byBytes * (amount.bytes / bytes));
}
