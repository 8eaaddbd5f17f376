import type { MigrationStatus } from '../../migration/status.ts';
import type { ModelStanding } from '../../store/open-stored.ts';
import { defineCommand } from '../command.ts';
import { addYesFlag } from '../flags.ts';
import { confirm } from '../output.ts';
import type { SteerFlags } from './steer.ts';
import { steer, steerFlags } from './steer.ts';

export const addCancel = defineCommand<SteerFlags>({
  usage: 'cancel <model>',
  summary: 'stops a migration for good, until it is resumed; says what stays blocked, and asks',
  description:
    'Where no record was written yet the model serves its stored definition again. Otherwise it stays closed: resume ' +
    'lets the migration go on, reset ends it.',
  addFlags: [...steerFlags, addYesFlag],
  examples: [
    ['cancel Town --database fdb: --subspace app', 'asks before it does'],
    ['cancel Town --nats nats://localhost:4222 --store app --yes --reason "wrong release"', 'asks nothing'],
  ],
  run: (context) =>
    steer(context, 'cancel', async (console, modelId) => {
      const [status, standing] = await Promise.all([console.status(modelId), console.standing(modelId)]);
      // There is nothing to cancel, which is what the answer will be.
      if (status.migrationId === null) return;
      await confirm(context.io, consequenceOf(status, standing), context.flags.yes === true);
    }),
});

/** What is blocked after a cancel. */
export function consequenceOf(
  { modelName, migrationId, blocking }: Pick<MigrationStatus, 'modelName' | 'migrationId' | 'blocking'>,
  standing: ModelStanding | undefined,
): string {
  const what = `This cancels ${migrationId ?? 'the migration'}.`;
  const waysOut = `until the migration is resumed, or reset by 'godwit reset ${modelName}'`;
  if (standing === undefined) {
    return blocking
      ? `${what} If a record was written already, ${modelName} stays closed to requests ${waysOut}; else it serves its stored definition.`
      : `${what} ${modelName} goes on serving requests.`;
  }
  if (standing.touched)
    return `${what} Records were written already: ${modelName} stays closed to requests ${waysOut}.`;
  if (!standing.gateClosed) return `${what} ${modelName} goes on serving requests.`;
  return (
    `${what} No record was written yet: ${modelName} serves its stored definition again, unless one is written before ` +
    'this takes effect.'
  );
}
