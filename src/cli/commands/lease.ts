import type { Command } from 'commander';
import type { LeaseExplanation } from '../../migration/lease.ts';
import type { AddCommand } from '../command.ts';
import { defineCommand } from '../command.ts';
import { callOf, withStored } from '../connect.ts';
import { exitCodes } from '../exit-codes.ts';
import { findModel } from '../find-model.ts';
import type { CallFlags, ConfirmFlags, DatabaseFlags } from '../flags.ts';
import { addCallFlags, addDatabaseOnlyFlags, addYesFlag } from '../flags.ts';
import { formatCount, formatDuration, formatTable, plain } from '../format.ts';
import { confirm } from '../output.ts';

const addExplain = defineCommand<DatabaseFlags>({
  usage: 'explain <model>',
  summary: 'who holds the lease of a migration, or held it last',
  addFlags: [addDatabaseOnlyFlags],
  examples: [
    ['lease explain Town --database fdb: --subspace app', 'node, process, epoch, and its last heartbeat'],
  ],
  run: ({ io, out, flags, args: [asked = ''] }) =>
    withStored(io, flags, async (store) => {
      const { modelId, modelName } = findModel(asked, await store.models());
      const lease = await store.explainLease(modelId);
      out.result(lease ?? null, () => leaseText(lease, modelName, io.clock.wallMs()));
      return exitCodes.done;
    }),
});

const addRelease = defineCommand<DatabaseFlags & CallFlags & ConfirmFlags>({
  usage: 'release <model>',
  summary: 'takes the lease of a migration from whoever holds it, dead or alive; asks',
  description:
    'Nothing that the holder does commits any more. Whoever comes first is the next owner, the same process perhaps: ' +
    'pause the migration to keep it from going on.',
  addFlags: [addDatabaseOnlyFlags, addCallFlags, addYesFlag],
  examples: [
    ['lease release Town --database fdb: --subspace app --reason "node-7 hangs"', 'asks before it does'],
  ],
  run: ({ io, out, flags, args: [asked = ''] }) =>
    withStored(io, flags, async (store) => {
      const { modelId, modelName } = findModel(asked, await store.models());
      const held = await store.explainLease(modelId);
      if (held?.held === true) {
        const consequence = `This takes the migration of ${modelName} from ${plain(held.nodeId)}, epoch ${held.epoch}; what it has not committed is lost and done again.`;
        await confirm(io, consequence, flags.yes === true);
      }
      const released = await store.releaseLease(modelId, callOf(io, flags, 'Released by operator'));
      out.result(released ?? null, () =>
        released === undefined
          ? `Nobody held the lease of ${modelName}.`
          : `The lease of ${modelName} was taken from ${plain(released.nodeId)}, epoch ${released.epoch}.`,
      );
      return exitCodes.done;
    }),
});

export const addLease: AddCommand = (program, io, settle) => {
  const lease: Command = program.command('lease').description('who may migrate: explain it, or take it away');
  for (const add of [addExplain, addRelease]) add(lease, io, settle);
};

function leaseText(lease: LeaseExplanation | undefined, modelName: string, nowMs: number): string {
  if (lease === undefined) return `Nobody ever held the lease of ${modelName}.`;
  const ago = (atMs: number) => `${formatDuration(Math.max(0, nowMs - atMs))} ago`;
  return formatTable([
    ['model:', modelName],
    ['held:', lease.held ? 'yes' : 'no, it was given back'],
    ['node:', plain(lease.nodeId)],
    ['process:', `${lease.pid} on ${plain(lease.host)}`],
    ['epoch:', String(lease.epoch)],
    ['migration:', plain(lease.migrationId)],
    ['since:', ago(lease.sinceMs)],
    ['last heartbeat:', `${ago(lease.beatAtMs)}; ${formatCount(lease.beats)} in all`],
  ]);
}
