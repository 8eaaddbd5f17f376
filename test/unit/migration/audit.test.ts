import { describe, expect, it } from 'vitest';
import type { MigrationAuditEvent } from '../../../src/migration/audit.ts';
import { auditLine } from '../../../src/migration/audit-line.ts';

const event: MigrationAuditEvent = {
  timestampMs: 1_700_000_000_123,
  modelId: 2,
  modelName: 'City',
  migrationId: 'City:1.0->2.0#0123456789ab',
  type: 'PhaseStarted',
  phase: 'Backfill',
  attempt: 1,
  message: null,
  nodeId: 'host-1-abcdef',
  epoch: 3,
};

describe('the audit line of an event', () => {
  it('is these bytes', () => {
    expect(auditLine(event)).toBe(
      'godwit=audit type=PhaseStarted model=City modelId=2 migration=City:1.0->2.0#0123456789ab ' +
        'phase=Backfill attempt=1 node=host-1-abcdef epoch=3 timestampMs=1700000000123',
    );
  });

  it('leaves out what there is none of', () => {
    expect(auditLine({ ...event, type: 'LeaseAcquired', phase: null })).toBe(
      'godwit=audit type=LeaseAcquired model=City modelId=2 migration=City:1.0->2.0#0123456789ab ' +
        'attempt=1 node=host-1-abcdef epoch=3 timestampMs=1700000000123',
    );
  });

  it.each([
    ['in 250 ms: busy', 'message="in 250 ms: busy"'],
    ['two\nlines', 'message="two\\nlines"'],
    ['say "no"', 'message="say \\"no\\""'],
    ['a=b', 'message="a=b"'],
    ['', 'message=""'],
    ['plain-word', 'message=plain-word'],
    ['Zürich', 'message="Zürich"'],
  ])('is one line, with the message %j quoted as in JSON where it has to be', (message, text) => {
    const line = auditLine({ ...event, message });
    expect(line.endsWith(` ${text}`)).toBe(true);
    expect(line).not.toContain('\n');
  });

  it('can be taken apart again', () => {
    const line = auditLine({ ...event, message: 'a "b" = c', nodeId: 'my node' });
    const fields = [...line.matchAll(/(\w+)=("(?:[^"\\]|\\.)*"|\S+)/gu)].map(([, name, value]) => [
      name,
      value?.startsWith('"') === true ? (JSON.parse(value) as string) : value,
    ]);
    expect(Object.fromEntries(fields)).toMatchObject({ message: 'a "b" = c', node: 'my node', epoch: '3' });
  });
});
