import { defineCommand } from '../command.ts';
import { withConsole } from '../connect.ts';
import { exitCodes } from '../exit-codes.ts';
import { findModel } from '../find-model.ts';
import type { PlaceFlags, TimeoutFlags } from '../flags.ts';
import { addBusFlags, addDatabaseFlags, addTimeoutFlag } from '../flags.ts';
import { statusDetails, statusTable } from '../status-text.ts';

export const addStatus = defineCommand<PlaceFlags & TimeoutFlags>({
  usage: 'status [model]',
  summary: 'where the migrations stand: all models in a table, or one of them',
  addFlags: [
    addDatabaseFlags,
    addBusFlags,
    (command) => addTimeoutFlag(command, 'how long nodes on the bus are waited for (default: 10s)'),
  ],
  examples: [
    ['status --database embedded:./data --subspace app', 'all models of a store'],
    ['status Town --database fdb: --subspace app/1', 'one model, with everything that is known of it'],
    ['status --nats nats://localhost:4222 --store app --json', 'from the nodes, as JSON'],
  ],
  run: ({ io, out, flags, args: [asked] }) =>
    withConsole(io, flags, async (console) => {
      if (asked === undefined) {
        const statuses = await console.statuses();
        out.result(statuses, () => statusTable(statuses));
        return exitCodes.done;
      }
      const { modelId } = findModel(asked, await console.models());
      const status = await console.status(modelId);
      out.result([status], () => statusDetails(status, out.paint));
      return exitCodes.done;
    }),
});
