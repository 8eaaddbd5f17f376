import { defineCommand } from '../command.ts';
import { callOf, withStored } from '../connect.ts';
import { exitCodes } from '../exit-codes.ts';
import { findModel } from '../find-model.ts';
import type { CallFlags, ConfirmFlags, DatabaseFlags } from '../flags.ts';
import { addCallFlags, addDatabaseOnlyFlags, addYesFlag } from '../flags.ts';
import { confirm } from '../output.ts';
import { statusLine } from '../status-text.ts';

export const addReset = defineCommand<DatabaseFlags & CallFlags & ConfirmFlags>({
  usage: 'reset <model>',
  summary: 'ends a migration and forgets how far it was; what it moved stays, and asks',
  description:
    'Where no record was written yet the model serves its stored definition again. Otherwise it stays closed, and the ' +
    'next migration starts on records of both definitions: its backfill has to accept them.',
  addFlags: [addDatabaseOnlyFlags, addCallFlags, addYesFlag],
  examples: [
    ['reset Town --database fdb: --subspace app', 'asks before it does'],
    ['reset Town --database embedded:./data --subspace app --yes', 'asks nothing'],
  ],
  run: ({ io, out, flags, args: [asked = ''] }) =>
    withStored(io, flags, async (store) => {
      const { modelId, modelName } = findModel(asked, await store.models());
      const [{ migrationId }, { touched }] = await Promise.all([
        store.status(modelId),
        store.standing(modelId),
      ]);
      const consequence = touched
        ? `This forgets how far ${modelName} is. Records were written already: it stays closed to requests until a ` +
          'migration that accepts records of both definitions is done.'
        : `This forgets how far ${modelName} is. No record was written yet: it serves its stored definition again.`;
      // Where there is nothing to reset, that is what the answer will be.
      if (migrationId !== null) await confirm(io, consequence, flags.yes === true);
      const status = await store.reset(modelId, callOf(io, flags, 'Reset by operator'));
      out.result(status, () => statusLine(status, modelName.length));
      return exitCodes.done;
    }),
});
