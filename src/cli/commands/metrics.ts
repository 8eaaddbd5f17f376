import type { MigrationMetrics } from '../../migration/counters.ts';
import { defineCommand } from '../command.ts';
import { withStored } from '../connect.ts';
import { exitCodes } from '../exit-codes.ts';
import { findModel } from '../find-model.ts';
import type { DatabaseFlags } from '../flags.ts';
import { addDatabaseOnlyFlags } from '../flags.ts';
import { formatCount, formatTable, plain } from '../format.ts';

export const addMetrics = defineCommand<DatabaseFlags>({
  usage: 'metrics [model]',
  summary: 'counters of migrations, cluster-wide and since ever: of all models, or one',
  addFlags: [addDatabaseOnlyFlags],
  examples: [
    ['metrics --database fdb: --subspace app', 'a column for each model'],
    ['metrics Town --database fdb: --subspace app --json', 'of one model, as JSON'],
  ],
  run: ({ io, out, flags, args: [asked] }) =>
    withStored(io, flags, async (store) => {
      const listed = await store.models();
      const models = asked === undefined ? listed : [findModel(asked, listed)];
      const rows = await Promise.all(
        models.map(async ({ modelId, modelName }) => ({
          modelId,
          modelName,
          metrics: await store.metrics(modelId),
        })),
      );
      out.result(rows, () => metricsTable(rows));
      return exitCodes.done;
    }),
});

function metricsTable(
  rows: readonly { readonly modelName: string; readonly metrics: MigrationMetrics }[],
): string {
  const names = Object.keys(rows[0]?.metrics ?? {}) as (keyof MigrationMetrics)[];
  return formatTable([
    ['', ...rows.map(({ modelName }) => plain(modelName))],
    ...names.map((name) => [name, ...rows.map(({ metrics }) => cellOf(name, metrics[name]))]),
  ]);
}

/** A moment is no count. */
function cellOf(name: keyof MigrationMetrics, value: number): string {
  if (name !== 'lastEventAtMs') return formatCount(value);
  return value === 0 ? '-' : String(value);
}
