import type { Transaction } from '../kv/kv.ts';
import { limits } from '../limits.ts';
import type { ModelKeys } from '../records/keys.ts';
import {
  createRowFormat,
  isBoolean,
  isCount,
  isListOf,
  isNullOr,
  isNumber,
  isShape,
  isString,
} from '../records/row.ts';
import type { FindingSample } from './passes/ledger.ts';

/**
 * Says whether a record is as it should be: `true`, `false`, or in words what is wrong with it. The words go into the
 * report, so they name no values. It is synchronous; what it throws is a finding like any other.
 */
export type RecordCheck<Record extends object = Readonly<globalThis.Record<string, unknown>>> =
  // Of a method, because the check of one model stands in an option that is about all of them.
  { check(record: Record): boolean | string }['check'];

/** How a migration is verified, with its defaults. */
export interface CheckedVerification {
  /** Above 0, to 1: all. */
  readonly sampleRatio: number;
  /** Another one draws other records. */
  readonly seed: number;
  readonly check: RecordCheck | Readonly<Record<string, RecordCheck | undefined>> | undefined;
}

/** The check of one model. */
export function checkOf({ check }: CheckedVerification, modelName: string): RecordCheck | undefined {
  if (check === undefined || typeof check === 'function') return check;
  return Object.hasOwn(check, modelName) ? check[modelName] : undefined;
}

/** What the last verification of a model found. Names records by their keys, and never has a value. */
export interface VerificationReport {
  readonly migrationId: string;
  readonly endedAtMs: number;
  readonly passed: boolean;
  /** Part of the records and index entries that were drawn, by their keys; 1: all of them. */
  readonly sampleRatio: number;
  readonly seed: number;
  readonly records: {
    /** Read and checked. */
    readonly checked: number;
    /** As many as the backfill moved; null where nobody counted them, or only a part was checked. */
    readonly expected: number | null;
    /** Do not read, do not meet the definition, lie under a wrong key, or were refused by the user's check. */
    readonly findings: number;
    readonly first: readonly VerificationFinding[];
  };
  readonly indexes: readonly IndexVerification[];
}

export interface IndexVerification {
  readonly name: string;
  /** Entries that the checked records demand. */
  readonly demanded: number;
  /** Entries that are there; of a sample, those that were drawn. */
  readonly present: number;
  readonly missing: IndexFindings;
  readonly unexpected: IndexFindings;
}

export interface IndexFindings {
  readonly count: number;
  /** False where there may be more: the search for them is bounded, and an operator or a closing process ends it. */
  readonly isComplete: boolean;
  readonly first: readonly VerificationFinding[];
}

export interface VerificationFinding {
  /** Of the record, in hexadecimal digits, cut; empty for an entry that leads nowhere. */
  readonly key: string;
  readonly problem: string;
}

const isFindings = isListOf(isShape<VerificationFinding>({ key: isString, problem: isString }));
const isIndexFindings = isShape<IndexFindings>({ count: isCount, isComplete: isBoolean, first: isFindings });

const reportFormat = createRowFormat<VerificationReport>('verification report', {
  migrationId: isString,
  endedAtMs: isNumber,
  passed: isBoolean,
  sampleRatio: isNumber,
  seed: isNumber,
  records: isShape<VerificationReport['records']>({
    checked: isCount,
    expected: isNullOr(isCount),
    findings: isCount,
    first: isFindings,
  }),
  indexes: isListOf(
    isShape<IndexVerification>({
      name: isString,
      demanded: isCount,
      present: isCount,
      missing: isIndexFindings,
      unexpected: isIndexFindings,
    }),
  ),
});

export async function readVerification(
  tx: Transaction,
  keys: ModelKeys,
): Promise<VerificationReport | undefined> {
  return reportFormat.parseOptional(await tx.get(keys.verification));
}

/** One row, so the keys that it names are shared out among its lists. */
export function writeVerification(tx: Transaction, keys: ModelKeys, report: VerificationReport): void {
  const lists = [
    report.records,
    ...report.indexes.flatMap(({ missing, unexpected }) => [missing, unexpected]),
  ];
  const filled = lists.filter(({ first }) => first.length > 0).length;
  const share = Math.max(1, Math.floor(limits.migration.reportedKeys.value / Math.max(1, filled)));
  const cut = <T extends { readonly first: readonly VerificationFinding[] }>(list: T): T => ({
    ...list,
    first: list.first.slice(0, share),
  });
  tx.set(
    keys.verification,
    reportFormat.encode({
      ...report,
      records: cut(report.records),
      indexes: report.indexes.map((index) => ({
        ...index,
        missing: cut(index.missing),
        unexpected: cut(index.unexpected),
      })),
    }),
  );
}

export const findingOf = ({ key, problem }: FindingSample): VerificationFinding => ({ key, problem });
