import { hostname } from 'node:os';
import type { MigrationStatus } from '../../migration/status.ts';
import { defineCommand } from '../command.ts';
import { withEnd } from '../end.ts';
import { exitCodes } from '../exit-codes.ts';
import type { ModelsFlags, TimeoutFlags } from '../flags.ts';
import { addDatabaseFlags, addModelsFlag, addTimeoutFlag } from '../flags.ts';
import { programOptions } from '../load-options.ts';
import { createProgressView } from '../progress-view.ts';
import { statusTable } from '../status-text.ts';

interface MigrateFlags extends ModelsFlags, TimeoutFlags {
  readonly wait: boolean;
}

export const addMigrate = defineCommand<MigrateFlags>({
  usage: 'migrate',
  summary: 'opens a store with the models of a program, and migrates to the end',
  description:
    'For a deployment: before the new release is rolled out, or as its first step. The progress goes to stderr. Where ' +
    'others migrate, it waits and helps; what is paused it waits for. Ended early, by --timeout, ctrl-c or SIGTERM, it ' +
    'gives back what it holds, and nothing is lost.',
  addFlags: [
    addModelsFlag,
    addDatabaseFlags,
    (command) => addTimeoutFlag(command, 'how long it may take (default: no limit)'),
    (command) => command.option('--no-wait', 'ends with 75 where all that is left has another owner'),
  ],
  examples: [
    ['migrate --models ./dist/models.js --database fdb: --subspace app', 'to the end, however long it takes'],
    ['migrate --models ./models.js --timeout 10m --no-wait', 'database and subspace may stand in the module'],
  ],
  run: ({ io, out, flags }) =>
    withEnd(io, flags.timeout, async (end) => {
      const given = await programOptions(io, 'migrate', flags);
      const options = {
        ...given,
        // Lines on stdout would stand between the results; the progress tells of them.
        migrationAuditEventReporter: given.migrationAuditEventReporter ?? (() => undefined),
        nodeId: given.nodeId ?? `godwit-migrate-${hostname()}-${process.pid}`,
      };
      // The machines and the threads of a migration: the other commands start without them.
      const { runMigrations } = await import('../run-migrations.ts');
      const view = createProgressView(io.stderr, out.paintNote);
      const statuses = await runMigrations({
        options,
        waits: flags.wait,
        end,
        clock: io.clock,
        show: (now) => view.show(now.map(sayThatItWaits)),
      });
      out.result(statuses, () => statusTable(statuses));
      return exitCodes.done;
    }),
});

/** Nothing happens until somebody resumes it: that has to be said. */
function sayThatItWaits(status: MigrationStatus): MigrationStatus {
  if (status.state !== 'Paused') return status;
  const paused = status.message === null ? 'paused' : `paused: ${status.message}`;
  return { ...status, message: `${paused}; waits for 'godwit resume ${status.modelName}'` };
}
