import type {
  MigrationPlanReport,
  ModelPlanReport,
  PlanAction,
  PlannedStep,
  SampleReport,
  ShownRecord,
} from '../store/plan/report.ts';
import { formatBytes, formatCount, formatDuration, plain } from './format.ts';
import type { Paint } from './output.ts';

const actions: Readonly<Record<PlanAction, string>> = {
  none: 'nothing to do',
  olderProgram: 'nothing to do: the database is ahead of this program',
  publish: 'is published as it is',
  index: 'is published, and its indexes are filled while requests go on',
  migrate: 'is migrated',
  goOn: 'is migrated on from where it stands',
  blocked: 'is blocked: another program began something else',
};

/** What would happen and why, in dependency order; what is in the way at the end. */
export function planText({ isNew, models, problems }: MigrationPlanReport, paint: Paint): string {
  const lines = isNew ? ['Nothing was ever opened here: this would be the first store.'] : [];
  for (const model of models) lines.push(...modelLines(model, paint));
  for (const { code, modelName, message } of problems) {
    lines.push(`${paint('red', 'problem')} ${plain(modelName)}: ${code}: ${plain(message)}`);
  }
  if (problems.length > 0) lines.push('A store would not be opened with this.');
  return lines.join('\n');
}

function modelLines(model: ModelPlanReport, paint: Paint): readonly string[] {
  const { modelName, storedVersion, configuredVersion, action, reasons, steps, waitsFor } = model;
  const from = storedVersion === null ? 'new' : storedVersion;
  const versions = storedVersion === configuredVersion ? from : `${from} -> ${configuredVersion}`;
  const lines = [`${paint('bold', plain(modelName))} ${versions}: ${actions[action]}`];
  const add = (text: string) => lines.push(`  ${text}`);
  for (const { message } of reasons) add(`because ${plain(message)}`);
  if (model.blocking)
    add(paint('yellow', 'requests to it are refused from its beginning to its publication'));
  if (waitsFor.length > 0) add(`waits for ${waitsFor.map(plain).join(', ')}`);
  if (model.estimate !== null) {
    const { records, bytes, isEstimate } = model.estimate;
    add(`${isEstimate ? 'about ' : ''}${formatCount(records)} records, ${formatBytes(bytes)}`);
  }
  for (const step of steps) add(stepText(step));
  if (model.verification !== null) {
    const { sampleRatio, hasCheck } = model.verification;
    const what = sampleRatio < 1 ? `${sampleRatio} of the records, drawn` : 'all records';
    add(`verified before it is published: ${what}${hasCheck ? ', with the check of the program' : ''}`);
  }
  if (model.status !== null) add(`stands in ${model.status.phase ?? 'no phase'}: ${model.status.state}`);
  if (model.sample !== null) lines.push(...sampleLines(model.sample));
  return lines;
}

function stepText({ action, from, to, composedOf, handlers, indexes, changes }: PlannedStep): string {
  const way = composedOf.length > 0 ? composedOf.join(' -> ') : `${from ?? 'new'} -> ${to}`;
  const phases = Object.entries(handlers ?? {}).flatMap(([phase, who]: [string, string | null]) =>
    who === null ? [] : [`${phase} by a ${who}`],
  );
  const filled = indexes.map(({ name, work }) => `index ${plain(name)} (${work})`);
  const adds = changes.map(({ message }) => plain(message));
  const what = [...phases, ...filled, ...adds].join(', ');
  return `${action} ${way}${what === '' ? '' : `: ${what}`}`;
}

function sampleLines(sample: SampleReport): readonly string[] {
  const { moved, dropped, unchanged, failed } = sample;
  const counts = Object.entries({ moved, dropped, unchanged, failed }).flatMap(([what, count]) =>
    count === 0 ? [] : [`${formatCount(count)} ${what}`],
  );
  const cost =
    sample.microsPerRecord === null ? '' : `; ${formatCount(Math.ceil(sample.microsPerRecord))} µs a record`;
  const whole =
    sample.duration === null
      ? ''
      : `, about ${formatDuration(sample.duration.milliseconds)} for all on ${sample.duration.threads} ${sample.duration.threads === 1 ? 'thread' : 'threads'}`;
  const lines = [
    `  sample of ${formatCount(sample.sampled)} records to ${sample.to}: ${counts.join(', ')}${cost}${whole}`,
  ];
  for (const { code, reason, example, count, keys } of sample.failures) {
    const said = example === null ? '' : ` (${plain(example)})`;
    lines.push(`    ${formatCount(count)} ${code}: ${plain(reason)}${said}; keys ${keys.join(', ')}`);
  }
  if (sample.otherFailures > 0) lines.push(`    ${formatCount(sample.otherFailures)} for other reasons`);
  return [...lines, ...sample.shown.flatMap(shownLines)];
}

function shownLines({ key, outcome, before, after }: ShownRecord): readonly string[] {
  const side = (values: typeof before) => (values === null ? '-' : plain(JSON.stringify(values)));
  return [`    ${key} ${outcome}`, `      before ${side(before)}`, `      after  ${side(after)}`];
}
