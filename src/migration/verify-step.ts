import { MigrationException } from '../errors.ts';
import { isBackfill } from './handlers.ts';
import type { IndexSum, LedgerTotals, RangeRow } from './passes/ledger.ts';
import { readRanges, totalsOf } from './passes/ledger.ts';
import type { MoveEnd } from './passes/mover.ts';
import { addSums } from './passes/chunk.ts';
import type { NamedDisagreements } from './passes/name-disagreements.ts';
import { nameDisagreements } from './passes/name-disagreements.ts';
import { runPass } from './passes/run-pass.ts';
import type { VerificationPlan } from './passes/verify-pass.ts';
import { createVerifyPass, verificationPlanOf, verifiedSlices } from './passes/verify-pass.ts';
import type { HeldMigration, ModelMigration } from './runtime.ts';
import type { PlannedIndex } from './state.ts';
import type { IndexFindings, IndexVerification, VerificationReport } from './verification.ts';
import { findingOf, writeVerification } from './verification.ts';

export type VerifyEnd =
  { readonly type: 'done'; readonly summary: string } | Exclude<MoveEnd, { readonly type: 'done' }>;

/**
 * The verification that is built in: walks, reports, and fails the migration where anything is not as it should be. The
 * report is persisted either way, and stays behind when the migration has ended.
 *
 * @throws MigrationException VERIFICATION_FAILED
 */
export async function verifyMigration(migration: ModelMigration, held: HeldMigration): Promise<VerifyEnd> {
  const { runtime, model } = migration;
  const plan = verificationPlanOf(migration, held.state);
  if (plan === undefined) return { type: 'done', summary: 'not verified' };
  const { isLive, sampleRatio } = plan;
  const pass = createVerifyPass(migration, held.state, plan);
  const end = await runPass(migration, held, pass, verifiedSlices(migration, held.state));
  if (end.type !== 'done') return end;
  const { rows, moved } = await runtime.database.transact(async (tx) => {
    const [verified, backfilled] = await Promise.all([
      readRanges(tx, model.keys, 'verify', { snapshot: true }),
      readRanges(tx, model.keys, 'backfill', { snapshot: true }),
    ]);
    return { rows: verified, moved: totalsOf(backfilled).moved };
  });
  const isCounted = isBackfill(migration.handlers.backfill) && !isLive && sampleRatio === 1;
  const report = await createReport(migration, held, plan, rows, isCounted ? moved : null);
  await runtime.database.transact(async (tx) => {
    await held.lease.guard(tx);
    writeVerification(tx, model.keys, report);
  });
  const found = (kind: 'missing' | 'unexpected') =>
    report.indexes.reduce((sum, index) => sum + index[kind].count, 0);
  runtime.meters.verified(model.name, {
    record: report.records.findings,
    missing: found('missing'),
    unexpected: found('unexpected'),
  });
  if (!report.passed) throw failureOf(model.name, report, isLive);
  return { type: 'done', summary: summaryOf(report) };
}

async function createReport(
  migration: ModelMigration,
  held: HeldMigration,
  { isLive, sampleRatio, seed }: VerificationPlan,
  rows: readonly RangeRow[],
  expected: number | null,
): Promise<VerificationReport> {
  const totals = totalsOf(rows);
  const sides = held.state.indexes.map((index) => ({ index, ...sidesOf(rows, index) }));
  const disagreeing = sides.filter((both) => !agree(both)).map(({ index }) => index);
  const isLookedUp = isLive || sampleRatio < 1;
  const named =
    isLookedUp || disagreeing.length === 0
      ? undefined
      : await nameDisagreements(migration, held, disagreeing);
  const indexes = sides.map(({ index, records, entries }): IndexVerification => ({
    name: index.name,
    demanded: records.count,
    present: entries.count,
    missing: findingsOf('missing', index, records.wrong, totals, named),
    unexpected: findingsOf('unexpected', index, entries.wrong, totals, named),
  }));
  return {
    migrationId: held.state.migrationId,
    endedAtMs: migration.runtime.clock.wallMs(),
    passed:
      totals.findings === 0 &&
      disagreeing.length === 0 &&
      (expected === null || expected === totals.recordsRead),
    sampleRatio,
    seed,
    records: {
      checked: totals.recordsRead,
      expected,
      findings: totals.findings,
      first: totals.samples.filter(({ kind }) => kind === 'record').map(findingOf),
    },
    indexes,
  };
}

interface Sides {
  readonly records: Omit<IndexSum, 'indexId' | 'side'>;
  readonly entries: Omit<IndexSum, 'indexId' | 'side'>;
}

const noSum = { count: 0, sum: '0'.repeat(16), wrong: 0 };

function sidesOf(rows: readonly RangeRow[], { indexId }: PlannedIndex): Sides {
  const sums = rows.reduce<RangeRow['sums']>((all, row) => addSums(all, row.sums), []);
  const side = (which: IndexSum['side']) =>
    sums.find((sum) => sum.indexId === indexId && sum.side === which) ?? noSum;
  return { records: side('records'), entries: side('entries') };
}

/** Sums of what was looked up are zeros, and their counts are those of two draws. */
function agree({ records, entries }: Sides): boolean {
  if (records.wrong > 0 || entries.wrong > 0) return false;
  const isSummed = records.sum !== noSum.sum || entries.sum !== noSum.sum;
  return records.sum === entries.sum && (!isSummed || records.count === entries.count);
}

function findingsOf(
  kind: 'missing' | 'unexpected',
  { indexId }: PlannedIndex,
  wrong: number,
  totals: LedgerTotals,
  named: NamedDisagreements | undefined,
): IndexFindings {
  const samples = (named ?? totals).samples.filter(
    (sample) => sample.kind === kind && sample.indexId === indexId,
  );
  return {
    count: named === undefined ? wrong : (named[kind].get(indexId) ?? 0),
    isComplete: named === undefined || named.isComplete,
    first: samples.map(findingOf),
  };
}

function failureOf(modelName: string, report: VerificationReport, isLive: boolean): MigrationException {
  const { records, indexes } = report;
  const problems: string[] = [];
  if (records.findings > 0) {
    problems.push(
      `${records.findings} records ${isLive ? 'cannot be read' : 'do not meet the new definition'}`,
    );
  }
  if (records.expected !== null && records.expected !== records.checked) {
    problems.push(`${records.checked} records are there, but ${records.expected} were moved`);
  }
  problems.push(...indexes.flatMap((index) => indexProblem(index, report, isLive)));
  const keys = records.first.map(({ key }) => key);
  const shown = keys.length === 0 ? '' : ` First keys: ${keys.join(', ')}.`;
  const ways = isLive
    ? 'resetMigration builds the index anew under another id; resumeMigration only looks again.'
    : 'Mend what is to blame, the transform, the definition or the check, and call resetMigration from the mended ' +
      'program, which also fills every index anew; resumeMigration only looks again.';
  return new MigrationException(
    'VERIFICATION_FAILED',
    `Verification of ${modelName} failed: ${problems.join('; ')}. ${ways} migrationVerification has the report.${shown}`,
    { details: { model: modelName, findings: records.findings, samples: keys, problems } },
  );
}

function indexProblem(
  { name, demanded, present, missing, unexpected }: IndexVerification,
  { sampleRatio }: VerificationReport,
  isLive: boolean,
): readonly string[] {
  const isLookedUp = isLive || sampleRatio < 1;
  const found = [findingsText('missing', missing), findingsText('not demanded by their records', unexpected)]
    .filter((text) => text !== '')
    .join(' and ');
  if (isLookedUp) return found === '' ? [] : [`index ${name} has entries ${found}`];
  if (found === '' && demanded === present) return [];
  const others = demanded === present ? ' others' : '';
  return [
    `index ${name} has ${present} entries, where the records demand ${demanded}${others}` +
      (found === '' ? '' : ` (${found})`),
  ];
}

/** Keys in an error's message: it is cut, and the report has more. */
const keysInMessage = 3;

function findingsText(what: string, { count, isComplete, first }: IndexFindings): string {
  if (count === 0) return '';
  const keys = first.slice(0, keysInMessage).map(({ key }) => (key === '' ? 'nothing' : key));
  return `${what}: ${isComplete ? '' : 'at least '}${count}, of ${keys.join(', ')}${count > keys.length ? ', …' : ''}`;
}

function summaryOf({ sampleRatio, records, indexes }: VerificationReport): string {
  const entries = indexes.reduce((sum, { present }) => sum + present, 0);
  const drawn = sampleRatio < 1 ? ', drawn by their keys' : '';
  return `records: ${records.checked}, index entries: ${entries}${drawn}; all in order`;
}
