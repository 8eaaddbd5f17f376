import type { ControlBody } from '../cluster/control-request.ts';
import type { ErrorCode } from '../errors.ts';
import { RequestException } from '../errors.ts';
import type { MigrationStatus } from '../migration/status.ts';

/** What a node answers to a control request. */
export interface ControlReply {
  readonly v: 1;
  readonly store: string;
  readonly databaseId: string;
  /** Of the node that answered. */
  readonly nodeId: string;
  readonly requestId?: string | undefined;
  /** Whether what was asked for is, or will be: the owner obeys at its next chunk. */
  readonly accepted: boolean;
  /** Why not: one of the error codes. Newer nodes may have others. */
  readonly code?: ErrorCode | (string & {}) | undefined;
  readonly message?: string | undefined;
  /** Whether the same request may be accepted later. */
  readonly retryable?: boolean | undefined;
  readonly modelId?: number | undefined;
  readonly modelName?: string | undefined;
  /** Of the intent in force: the status with this `intentRevision`, or a greater one, shows its effect. */
  readonly revision?: number | undefined;
  /** Of the database when the status was read; for `status` alone. */
  readonly version?: number | undefined;
  /** When the request was carried out. */
  readonly status?: MigrationStatus | undefined;
  /** All models of the store; for `all.status` alone. */
  readonly models?: readonly { readonly modelId: number; readonly modelName: string }[] | undefined;
}

/**
 * What everybody may have sent who can publish to the inbox of whoever asked.
 *
 * @throws RequestException BUS_UNANSWERED for what no node of this format can have said, or not to that
 */
export function parseReply(
  payload: Uint8Array,
  subject: string,
  asked: Pick<ControlBody, 'requestId' | 'databaseId'>,
): ControlReply {
  let reply: unknown;
  try {
    reply = JSON.parse(Buffer.from(payload).toString('utf8'));
  } catch {
    reply = undefined;
  }
  if (isReply(reply) && isTo(asked, reply)) return reply;
  throw new RequestException('BUS_UNANSWERED', `What answers to ${subject} is no store of a known format.`, {
    details: { subject },
  });
}

function isTo({ requestId, databaseId }: Pick<ControlBody, 'requestId' | 'databaseId'>, reply: ControlReply) {
  // What could not be parsed is refused without its id, and by whichever database.
  if (reply.requestId !== undefined && reply.requestId !== requestId) return false;
  return !reply.accepted || databaseId === undefined || databaseId === reply.databaseId;
}

function isReply(reply: unknown): reply is ControlReply {
  if (!isObject(reply)) return false;
  const { v, accepted, ...rest } = reply as Readonly<Record<string, unknown>>;
  return (
    v === 1 &&
    typeof accepted === 'boolean' &&
    Object.entries(parts).every(([name, [isNeeded, holds]]) =>
      rest[name] === undefined ? !isNeeded : holds(rest[name]),
    )
  );
}

const isObject = (value: unknown) => typeof value === 'object' && value !== null;
const isString = (value: unknown) => typeof value === 'string';
const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;

const isModel = (value: unknown) => {
  const { modelId, modelName } = (value ?? {}) as Readonly<Record<string, unknown>>;
  return isCount(modelId) && isString(modelName);
};

/** Whether a reply has to have it, and what it then is. */
const parts: Readonly<
  Record<Exclude<keyof ControlReply, 'v' | 'accepted'>, readonly [boolean, (value: unknown) => boolean]>
> = {
  store: [true, isString],
  databaseId: [true, isString],
  nodeId: [true, isString],
  requestId: [false, isString],
  code: [false, isString],
  message: [false, isString],
  retryable: [false, (value) => typeof value === 'boolean'],
  modelId: [false, isCount],
  modelName: [false, isString],
  revision: [false, isCount],
  version: [false, isCount],
  status: [false, isObject],
  models: [false, (value) => Array.isArray(value) && value.every(isModel)],
};
