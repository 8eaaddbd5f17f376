import { MigrationException } from '../errors.ts';
import type { Transaction } from '../kv/kv.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { AnsweredRequest, ToldRequest } from './answered-requests.ts';
import { keepAnswer, readAnswer } from './answered-requests.ts';
import { isApprovable, readApproval, writeApproval } from './approval.ts';
import type { OperatorAnswer, OperatorCall } from './operators.ts';
import { refusalOf, targetOf } from './operators.ts';
import { planModel, readStoredModel } from './plan.ts';
import { readStatusIn } from './read-status.ts';
import type { OperatorRuntime } from './runtime.ts';
import type { MigrationState } from './state.ts';
import { isBegun, readState } from './state.ts';
import type { MigrationStatus } from './status.ts';

/**
 * Lets a migration begin Contract whose owner asks for it, from any node, whether or not the owner lives. What is approved is
 * the verification that has passed.
 *
 * @throws MigrationException MIGRATION_NOT_PENDING, APPROVAL_NOT_AWAITED
 */
export async function approveMigration(
  runtime: OperatorRuntime,
  model: ConfiguredModel,
  call: OperatorCall,
): Promise<MigrationStatus> {
  const answer = await answerApproval(runtime, model, call);
  if (answer.accepted) return answer.status;
  throw answer.code === 'APPROVAL_NOT_AWAITED'
    ? notAwaited(model, answer.status)
    : refusalOf(model, answer.code, call);
}

/** The same with a refusal as an answer. */
export async function answerApproval(
  runtime: OperatorRuntime,
  model: ConfiguredModel,
  { by, reason, requestId, signal }: OperatorCall,
): Promise<OperatorAnswer> {
  const { keys } = model;
  const id = runtime.random.id();
  let written: MigrationState | undefined;
  const body = async (tx: Transaction): Promise<OperatorAnswer> => {
    const known = requestId === undefined ? undefined : await readAnswer(tx, keys, requestId);
    if (known !== undefined) {
      return known.want === 'approve' ? known : { accepted: false, code: 'REQUEST_ID_REUSED' };
    }
    const answered = async (told: ToldRequest): Promise<AnsweredRequest> => {
      const status = await readStatusIn(tx, runtime, model);
      const answer = { ...told, want: 'approve' as const, revision: status.intentRevision, status };
      if (requestId !== undefined) await keepAnswer(tx, keys, requestId, answer);
      return answer;
    };
    // The state is read normally: an approval and a verification that begins anew conflict.
    const [stored, state] = await Promise.all([readStoredModel(tx, keys), readState(tx, keys)]);
    // Applied in an attempt of which nobody knew how it ended, and used: the publication took the row with it.
    const isUsed = written !== undefined && stored?.fence.schemaId === written.targetSchemaId;
    if (isUsed && tx.afterUnknownResult) return answered({ accepted: true });
    const migrationId = targetOf(planModel(stored, model), state);
    if (migrationId === null) return answered({ accepted: false, code: 'MIGRATION_NOT_PENDING' });
    const approval = await readApproval(tx, keys, migrationId);
    // The same, and it is there.
    if (approval?.id === id) return answered({ accepted: true });
    const isAwaited = state !== undefined && state.migrationId === migrationId && mayBeApproved(state);
    if (!isAwaited) return answered({ accepted: false, code: 'APPROVAL_NOT_AWAITED' });
    if (approval === undefined) {
      written = state;
      writeApproval(tx, keys, { migrationId, id, by, reason, atMs: runtime.clock.wallMs() });
    }
    return answered({ accepted: true });
  };
  const answer = await runtime.database.transact(body, { signal });
  if (answer.accepted) runtime.events.changed(model);
  return answer;
}

/** What is paused may be approved, and goes on with Contract once it is resumed; what failed or was canceled may not. */
function mayBeApproved(state: MigrationState): boolean {
  const hasEnded = state.status === 'Failed' || state.status === 'Canceled';
  return isBegun(state) && isApprovable(state) && !hasEnded;
}

/** Said over the bus too. */
export function whyNotAwaited({ state, phase }: MigrationStatus, name: string): string {
  switch (state) {
    case 'Failed':
      return `The migration of ${name} has failed. Mend the cause and call resumeMigration; approve what it comes to then.`;
    case 'Canceled':
      return `The migration of ${name} was canceled. Call resumeMigration, and approve it once it waits for that.`;
    default:
      return phase === 'Contract'
        ? `Contract of ${name} is over already: there is nothing left to approve.`
        : `${name} is in ${phase ?? 'no phase yet'}: only what has passed Verify can be approved. ` +
            'Wait until migrationStatus has the reason approval, and approve it then.';
  }
}

function notAwaited(model: ConfiguredModel, status: MigrationStatus): MigrationException {
  return new MigrationException('APPROVAL_NOT_AWAITED', whyNotAwaited(status, model.name), {
    details: {
      modelId: model.id,
      modelName: model.name,
      migrationId: status.migrationId,
      phase: status.phase,
      state: status.state,
    },
  });
}
