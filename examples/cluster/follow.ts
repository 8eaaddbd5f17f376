import { connect } from 'nats';
import type { MigrationEvent, MigrationStatus } from '../../src/index.ts';
import { bar, percent, seconds } from '../cities/format.ts';
import type { Display } from '../cities/display.ts';
import { subspace } from './settings.ts';

/** Shows what the stores tell over NATS: each step of the migration as a line, its progress as the status. */
export async function followMigration(servers: string, display: Display): Promise<() => Promise<void>> {
  const connection = await connect({ servers });
  connection.subscribe(`godwit.${subspace.join('-')}.>`, {
    callback: (error, message) => {
      if (error !== null) return;
      const event = message.json<MigrationEvent>();
      if (event.type === 'audit') {
        const { type, phase, nodeId } = event.event;
        // That another one holds the lease is no news: all but one hear that.
        if (type !== 'LeaseRejected') display.line(`  NATS  ${stepOf(type, phase)}, told by ${nodeId}`);
      } else if (event.type === 'status' && event.status.state === 'Running') {
        const { status } = event;
        display.status(() => progressLine(status));
      }
    },
  });
  await connection.flush();
  return () => connection.close();
}

const stepOf = (type: string, phase: string | null): string =>
  type.startsWith('Phase') ? `${type} ${phase ?? ''}` : type;

function progressLine({ modelName, phase, progress, etaMs }: MigrationStatus): string {
  const fraction = progress.fraction ?? 0;
  const left = etaMs === null ? '' : `, ${seconds(etaMs)} left`;
  return `  NATS  ${modelName} ${phase ?? ''} ${bar(fraction)} ${percent(fraction)}${left}`;
}
