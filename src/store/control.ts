import type { ControlOutcome } from '../cluster/control-service.ts';
import type { ControlRequest, ControlVerb } from '../cluster/control-request.ts';
import { errorCodes } from '../errors.ts';
import type { Intent } from '../migration/intent.ts';
import { answerApproval, whyNotAwaited } from '../migration/approve.ts';
import { answerOperator } from '../migration/operators.ts';
import { readStatusIn } from '../migration/read-status.ts';
import type { ConfiguredModel } from '../records/configured-model.ts';
import type { StoreCore } from './core.ts';

type Steering = Exclude<ControlVerb, 'status'>;

const wants: Readonly<Record<Exclude<Steering, 'approve'>, Intent['want']>> = {
  pause: 'pause',
  resume: 'run',
  cancel: 'cancel',
};

/** As of the operator calls of a store. */
const defaultReasons: Readonly<Record<Steering, string>> = {
  pause: 'Paused by operator',
  resume: 'Resumed by operator',
  cancel: 'Canceled by operator',
  approve: 'Approved by operator',
};

/**
 * Carries out what was asked over the bus, as an operator call of this store would.
 *
 * @throws ModelException MODEL_UNKNOWN
 */
export async function carryOut(
  core: StoreCore,
  request: ControlRequest,
  signal: AbortSignal,
): Promise<ControlOutcome> {
  const { runtime } = core;
  core.assertOpen();
  if (request.model === undefined) {
    return {
      accepted: true,
      models: core.models.map(({ id, name }) => ({ modelId: id, modelName: name })),
    };
  }
  const model = core.modelBy(request.model);
  const about = { modelId: model.id, modelName: model.name };
  if (request.verb === 'status') return { accepted: true, ...about, ...(await read(core, model, signal)) };
  const { verb, by = runtime.nodeId, reason = defaultReasons[verb], requestId } = request;
  const call = { by, reason, requestId, signal };
  const answer =
    verb === 'approve'
      ? await answerApproval(runtime, model, call)
      : await answerOperator(runtime, model, wants[verb], call);
  if (answer.accepted) {
    return { accepted: true, ...about, revision: answer.revision, status: answer.status };
  }
  const { code } = answer;
  const told = code === 'REQUEST_ID_REUSED' ? {} : { revision: answer.revision, status: answer.status };
  const message =
    code === 'APPROVAL_NOT_AWAITED' ? whyNotAwaited(answer.status, model.name) : errorCodes[code].meaning;
  return { accepted: false, code, message, retryable: false, ...about, ...told };
}

function read({ runtime }: StoreCore, model: ConfiguredModel, signal: AbortSignal) {
  return runtime.database.transact(
    async (tx) => {
      const status = await readStatusIn(tx, runtime, model);
      return { revision: status.intentRevision, version: Number(await tx.getReadVersion()), status };
    },
    { signal },
  );
}
