import { limits } from '../../limits.ts';
import { auditLine } from '../../migration/audit-line.ts';
import { defineCommand } from '../command.ts';
import { withStored } from '../connect.ts';
import { exitCodes } from '../exit-codes.ts';
import { findModel } from '../find-model.ts';
import type { DatabaseFlags } from '../flags.ts';
import { addDatabaseOnlyFlags, parseLimit } from '../flags.ts';

export const addAudit = defineCommand<DatabaseFlags & { readonly limit?: number | undefined }>({
  usage: 'audit <model>',
  summary: 'what happened to a model, oldest first, as far as the programs keep it',
  description: 'They do with persistMigrationAuditEvents: true.',
  addFlags: [
    addDatabaseOnlyFlags,
    (command) =>
      command.option(
        '--limit <n>',
        `the latest n events, to ${limits.store.listedEntries.value} (default: 100)`,
        parseLimit(limits.store.listedEntries.value),
      ),
  ],
  examples: [
    ['audit Town --database fdb: --subspace app', 'the latest 100 events'],
    ['audit Town --database fdb: --subspace app --limit 5 --json', 'the latest five, as a JSON array'],
  ],
  run: ({ io, out, flags, args: [asked = ''] }) =>
    withStored(io, flags, async (store) => {
      const { modelId, modelName } = findModel(asked, await store.models());
      const events = await store.auditEvents(modelId, flags.limit);
      if (events.length === 0) out.note(`There are no audit events of ${modelName}.`);
      if (events.length > 0 || out.json) out.result(events, () => events.map(auditLine).join('\n'));
      return exitCodes.done;
    }),
});
