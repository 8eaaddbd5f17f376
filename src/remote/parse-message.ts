import type { MigrationMessage } from '../migration/event-messages.ts';

/** An event of a node; undefined for what is none, or of a format that this release does not know. */
export function parseMessage(payload: Uint8Array): MigrationMessage | undefined {
  try {
    const message: unknown = JSON.parse(Buffer.from(payload).toString('utf8'));
    return isMessage(message) ? message : undefined;
  } catch {
    return undefined;
  }
}

function isMessage(message: unknown): message is MigrationMessage {
  if (typeof message !== 'object' || message === null) return false;
  const { v, type, databaseId, session, seq, modelId } = message as Partial<MigrationMessage>;
  if (v !== 1 || typeof databaseId !== 'string' || typeof session !== 'string') return false;
  if (!Number.isSafeInteger(seq) || !Number.isSafeInteger(modelId)) return false;
  const { version, status, event, metrics } = message as Record<string, unknown>;
  switch (type) {
    case 'status':
      return typeof version === 'number' && isObject(status);
    case 'audit':
      return isObject(event);
    case 'metrics':
      return typeof version === 'number' && isObject(metrics);
    default:
      return false;
  }
}

const isObject = (value: unknown) => typeof value === 'object' && value !== null;
