import type { MigrationStatus } from '../migration/status.ts';
import type { ErrorCode } from '../errors.ts';
import { RequestException } from '../errors.ts';

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

/** @throws RequestException BUS_UNANSWERED for what no node of this format can have said */
export function parseReply(payload: Uint8Array, subject: string): ControlReply {
  let reply: unknown;
  try {
    reply = JSON.parse(Buffer.from(payload).toString('utf8'));
  } catch {
    reply = undefined;
  }
  if (isReply(reply)) return reply;
  throw new RequestException('BUS_UNANSWERED', `What answers to ${subject} is no store of a known format.`, {
    details: { subject },
  });
}

function isReply(reply: unknown): reply is ControlReply {
  if (typeof reply !== 'object' || reply === null) return false;
  const { v, accepted, databaseId } = reply as Partial<ControlReply>;
  return v === 1 && typeof accepted === 'boolean' && typeof databaseId === 'string';
}
