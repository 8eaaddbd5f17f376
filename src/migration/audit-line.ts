import type { MigrationAuditEvent } from './audit.ts';

/** One line of `key=value`, in a fixed order; strings with anything but word characters are quoted as in JSON. */
export function auditLine(event: MigrationAuditEvent): string {
  const fields: [string, string | number | null][] = [
    ['godwit', 'audit'],
    ['type', event.type],
    ['model', event.modelName],
    ['modelId', event.modelId],
    ['migration', event.migrationId],
    ['phase', event.phase],
    ['attempt', event.attempt],
    ['node', event.nodeId],
    ['epoch', event.epoch],
    ['timestampMs', event.timestampMs],
    ['message', event.message],
  ];
  return fields
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? quoted(value) : value}`)
    .join(' ');
}

function quoted(text: string): string {
  return /^[\w.:>#-]+$/.test(text) ? text : JSON.stringify(text);
}
