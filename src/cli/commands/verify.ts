import type { PublishedVerification } from '../../migration/verify-published.ts';
import { defineCommand } from '../command.ts';
import { withStored } from '../connect.ts';
import { endedBy, isAborted, withEnd } from '../end.ts';
import { exitCodes } from '../exit-codes.ts';
import { findModel } from '../find-model.ts';
import type { DatabaseFlags, TimeoutFlags } from '../flags.ts';
import { addDatabaseOnlyFlags, addTimeoutFlag, parseRatio } from '../flags.ts';
import { formatCount, plain } from '../format.ts';
import type { Paint } from '../output.ts';
import { createMeterLine } from '../meter-line.ts';

export const addVerify = defineCommand<
  DatabaseFlags & TimeoutFlags & { readonly sample?: number | undefined }
>({
  usage: 'verify [model]',
  summary: 'looks whether records and index entries are what the published definitions demand',
  description:
    'It migrates nothing and writes nothing, and works while the models serve requests. A check of your own, which is ' +
    'part of a program, does not run. A model that is being migrated is refused: its migration verifies it.',
  addFlags: [
    addDatabaseOnlyFlags,
    (command) =>
      command.option(
        '--sample <ratio>',
        'part of the records and entries: above 0, to 1 (default: 1)',
        parseRatio,
      ),
    (command) => addTimeoutFlag(command, 'how long it may take (default: no limit)'),
  ],
  examples: [
    ['verify --database fdb: --subspace app', 'everything of all models'],
    ['verify Town --database fdb: --subspace app --sample 0.1', 'a tenth of one model, drawn by the keys'],
  ],
  run: ({ io, out, flags, args: [asked] }) =>
    withEnd(io, flags.timeout, (end) =>
      withStored(io, flags, async (store) => {
        const listed = await store.models();
        const models = asked === undefined ? listed : [findModel(asked, listed)];
        const reports: PublishedVerification[] = [];
        const meter = createMeterLine(io.stderr);
        try {
          for (const { modelId, modelName } of models) {
            const onProgress = (fraction: number, checked: number) =>
              meter.show(plain(modelName), fraction, `${formatCount(checked)} records`);
            const options = { sampleRatio: flags.sample, signal: end, onProgress };
            reports.push(await store.verify(modelId, options));
          }
        } catch (error) {
          throw isAborted(error, end) ? endedBy(end, 'Not everything was looked at.') : error;
        } finally {
          meter.clear();
        }
        out.result(reports, () => reports.map((report) => reportText(report, out.paint)).join('\n'));
        return reports.every(({ passed }) => passed) ? exitCodes.done : exitCodes.findings;
      }),
    ),
});

type Findings = PublishedVerification['records']['first'];

/** What was looked at, and what was found: by keys, without any value. */
export function reportText(report: PublishedVerification, paint: Paint): string {
  const { modelName, version, passed, sampleRatio, records, indexes } = report;
  const verdict = passed ? paint('green', 'in order') : paint('red', 'NOT IN ORDER');
  const drawn = sampleRatio < 1 ? `, ${sampleRatio} of them drawn` : '';
  const lines = [
    `${plain(modelName)} ${version}: ${verdict}; ${formatCount(records.checked)} records checked${drawn}`,
    ...(records.findings > 0
      ? [`  records: ${formatCount(records.findings)} do not meet the definition`, ...keysOf(records.first)]
      : []),
  ];
  for (const { name, building, checked, missing, unexpected } of indexes) {
    if (building) {
      lines.push(`  index ${plain(name)}: still being built, not looked at`);
      continue;
    }
    const wrong = [
      ...(missing.count > 0 ? [`${formatCount(missing.count)} missing`] : []),
      ...(unexpected.count > 0 ? [`${formatCount(unexpected.count)} not demanded by their records`] : []),
    ];
    const found = wrong.length === 0 ? '' : `: ${wrong.join(', ')}`;
    lines.push(`  index ${plain(name)}: ${formatCount(checked)} entries checked${found}`);
    lines.push(...keysOf([...missing.first, ...unexpected.first]));
  }
  return lines.join('\n');
}

const keysOf = (findings: Findings) =>
  findings.map(({ key, problem }) => `    ${key === '' ? 'no record' : key}: ${plain(problem)}`);
