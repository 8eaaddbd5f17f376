import { connect } from 'nats';
import type { MigrationEvent, MigrationStatus } from '../../src/index.ts';
import { percent, thousands } from '../cities/format.ts';
import type { Display } from '../cities/display.ts';
import { subspace } from './settings.ts';

/** A phase begins where the one before ends; and that another one holds the lease, all but one hear. */
const unsaid: ReadonlySet<string> = new Set(['PhaseStarted', 'LeaseRejected']);

/** Shows what the stores tell over NATS: each step of the migration as a line, its progress as the status. */
export async function followMigration(servers: string, display: Display): Promise<() => Promise<void>> {
  const connection = await connect({ servers });
  connection.subscribe(`godwit.${subspace.join('-')}.>`, {
    callback: (error, message) => {
      if (error !== null) return;
      const event = message.json<MigrationEvent>();
      if (event.type === 'audit') {
        const { type, phase, nodeId } = event.event;
        if (!unsaid.has(type)) {
          display.line(`  NATS  ${type === 'PhaseCompleted' ? `${phase} is over` : type}, told by ${nodeId}`);
        }
      } else if (event.type === 'status' && event.status.state === 'Running') {
        const { status } = event;
        display.status(() => progressLine(status));
      }
    },
  });
  await connection.flush();
  return () => connection.close();
}

function progressLine({ modelName, state, phase, progress }: MigrationStatus): string {
  const { fraction, recordsDone } = progress;
  return `  NATS  ${modelName} ${state} ${phase ?? ''} ${percent(fraction ?? 0)}, ${thousands(recordsDone)} records`;
}
