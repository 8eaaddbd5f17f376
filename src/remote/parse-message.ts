import { limits } from '../limits.ts';
import type { MigrationMessage } from '../migration/event-messages.ts';

const maxIdLength = limits.cluster.operatorIdLength.value;

/**
 * An event of a node of that store; undefined for what is none, or of a format that this release does not know. Who may
 * publish to one subject speaks of that one alone.
 */
export function parseMessage(
  payload: Uint8Array,
  subject: string,
  { store, subjects }: { readonly store: string; readonly subjects: string },
): MigrationMessage | undefined {
  try {
    const message: unknown = JSON.parse(Buffer.from(payload).toString('utf8'));
    if (!isMessage(message) || message.store !== store) return undefined;
    return subject === `${subjects}.${message.type}.${message.modelId}` ? message : undefined;
  } catch {
    return undefined;
  }
}

function isMessage(message: unknown): message is MigrationMessage {
  if (typeof message !== 'object' || message === null) return false;
  const { v, type, databaseId, session, seq, modelId } = message as Partial<MigrationMessage>;
  if (v !== 1 || !isId(databaseId) || !isId(session)) return false;
  if (!isCount(seq) || !isCount(modelId)) return false;
  const { nodeId, epoch, atMs, version, status, position, event, metrics } = message as Record<
    string,
    unknown
  >;
  if (!isId(nodeId) || !isCount(epoch) || !isCount(atMs)) return false;
  switch (type) {
    case 'status':
      return isCount(version) && isObject(status);
    case 'audit':
      return (position === null || typeof position === 'string') && isObject(event);
    case 'metrics':
      return isCount(version) && isObject(metrics);
    default:
      return false;
  }
}

// A number too large to be counted on would hide everything that comes after it.
const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
const isId = (value: unknown) =>
  typeof value === 'string' && value.length >= 1 && value.length <= maxIdLength;
const isObject = (value: unknown) => typeof value === 'object' && value !== null;
