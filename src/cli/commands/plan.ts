import { limits } from '../../limits.ts';
import { defineCommand } from '../command.ts';
import { endedBy, isAborted, withEnd } from '../end.ts';
import type { ExitCode } from '../exit-codes.ts';
import { exitCodeOf, exitCodes } from '../exit-codes.ts';
import type { ModelsFlags, TimeoutFlags } from '../flags.ts';
import { addDatabaseFlags, addModelsFlag, addTimeoutFlag, parseLimit } from '../flags.ts';
import { planMigrations } from '../../store/on-demand.ts';
import { programOptions } from '../load-options.ts';
import { planText } from '../plan-text.ts';

interface PlanFlags extends ModelsFlags, TimeoutFlags {
  readonly sample?: number | undefined;
  readonly show?: readonly string[] | undefined;
}

export const addPlan = defineCommand<PlanFlags>({
  usage: 'plan',
  summary: 'what opening a store with these models would do, and why; changes nothing',
  description:
    'In the order of the dependencies: reasons, steps, how much there is, what will be refused meanwhile, and everything ' +
    'that would be in the way. It ends with the exit code of the first of those, with 6 where records of a sample do not ' +
    'go through, else with 0.',
  addFlags: [
    addModelsFlag,
    addDatabaseFlags,
    (command) =>
      command.option(
        '--sample <n>',
        'records of each model on which its transform is tried, without writing (default: none)',
        parseLimit(limits.plan.sampledRecords.value),
      ),
    (command) =>
      command.option(
        '--show <properties>',
        'of the sample, values before and after: name,latitude (default: none)',
        (text: string) => text.split(',').map((name) => name.trim()),
      ),
    (command) => addTimeoutFlag(command, 'how long it may take (default: no limit)'),
  ],
  examples: [
    ['plan --models ./dist/models.js --database fdb: --subspace app', 'before a deployment'],
    [
      'plan --models ./models.js --sample 1000 --show name,latitude',
      'with the transform tried on 1,000 records',
    ],
  ],
  run: ({ io, out, flags }) =>
    withEnd(io, flags.timeout, async (end) => {
      const options = await programOptions(io, 'plan', flags);
      try {
        const report = await planMigrations({
          ...options,
          sample: flags.sample,
          show: flags.show,
          signal: end,
        });
        out.result(report, () => planText(report, out.paint));
        return exitCodeFor(report);
      } catch (error) {
        throw isAborted(error, end) ? endedBy(end, 'There is no plan.') : error;
      }
    }),
});

function exitCodeFor({
  problems,
  models,
}: {
  readonly problems: readonly { readonly code: string }[];
  readonly models: readonly { readonly sample: { readonly failed: number } | null }[];
}): ExitCode {
  const [first] = problems;
  if (first !== undefined) return exitCodeOf(first.code);
  return models.some(({ sample }) => (sample?.failed ?? 0) > 0) ? exitCodes.findings : exitCodes.done;
}
