import { defineCommand } from '../command.ts';
import { withConsole } from '../connect.ts';
import { endedBy, withEnd } from '../end.ts';
import { exitCodes } from '../exit-codes.ts';
import { findModel } from '../find-model.ts';
import type { PlaceFlags, TimeoutFlags } from '../flags.ts';
import { addBusFlags, addDatabaseFlags, addTimeoutFlag } from '../flags.ts';
import { createChangeFilter, createProgressView, wholeKey } from '../progress-view.ts';

export const addWatch = defineCommand<PlaceFlags & TimeoutFlags>({
  usage: 'watch [model]',
  summary: 'follows migrations until there is nothing left to do: a bar for each model',
  description:
    'Redraws in place on a terminal; elsewhere it writes one line per change, with --json one MigrationStatus per line. ' +
    'What is paused, failed or canceled is watched on: somebody may resume it. End it with ctrl-c, or --timeout.',
  addFlags: [
    addDatabaseFlags,
    addBusFlags,
    (command) => addTimeoutFlag(command, 'how long it is watched at most (default: no limit)'),
  ],
  examples: [
    ['watch --database embedded:./data --subspace app', 'all models, by the database alone'],
    ['watch Town --nats nats://localhost:4222 --store app', 'one model, as its nodes tell of it'],
    ['watch --database fdb: --subspace app --json --timeout 1h', 'one JSON object per line, for an hour'],
  ],
  run: ({ io, out, flags, args: [asked] }) =>
    withEnd(io, flags.timeout, (end) =>
      // An answer of the nodes is waited for as long as ever; the timeout is for the whole.
      withConsole(io, { ...flags, timeout: undefined }, async (console) => {
        const only = asked === undefined ? undefined : findModel(asked, await console.models());
        const view = createProgressView(io.stdout, out.paint);
        const changed = createChangeFilter(wholeKey);
        for await (const all of console.follow(end)) {
          const statuses = all.filter(({ modelId }) => only === undefined || modelId === only.modelId);
          if (out.json) for (const status of changed(statuses)) out.result(status, () => '');
          else view.show(statuses);
          if (statuses.every(({ state }) => state === 'Idle')) return exitCodes.done;
        }
        throw endedBy(end, 'There is still something to do.');
      }),
    ),
});
