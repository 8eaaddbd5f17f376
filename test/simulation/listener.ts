import type { MigrationEvent } from '../../src/migration/events.ts';
import type { Simulated } from './context.ts';
import type { SimBusReceivers } from './sim-bus.ts';

const states: readonly string[] = ['Idle', 'Waiting', 'Running', 'Paused', 'Canceled', 'Failed'];

/** Somebody outside of the cluster who hears what it publishes: in whatever order it comes, each message is whole. */
export function listen({ fail, modelIds }: Simulated, receivers: SimBusReceivers): void {
  receivers.add({
    node: undefined,
    subject: 'godwit.simulated.>',
    receive(payload, subject) {
      const problem = problemOf(Buffer.from(payload).toString(), subject, modelIds);
      if (problem !== undefined) fail(`what is published is well formed: ${problem} on ${subject}`);
    },
  });
}

function problemOf(text: string, subject: string, modelIds: readonly number[]): string | undefined {
  const message = JSON.parse(text) as { readonly v: number } & MigrationEvent;
  if (message.v !== 1) return `version ${message.v}`;
  if (!Number.isSafeInteger(message.seq) || message.seq < 1) return `seq ${message.seq}`;
  if (!modelIds.includes(message.modelId)) return `model ${message.modelId}`;
  if (subject !== `godwit.simulated.${message.type}.${message.modelId}`) return `a ${message.type} event`;
  switch (message.type) {
    case 'audit':
      return message.event.modelId === message.modelId ? undefined : `an event of ${message.event.modelName}`;
    case 'metrics':
      return Object.values(message.metrics).every((count) => count >= 0) ? undefined : 'a count below 0';
    case 'status': {
      const { state, progress } = message.status;
      const { fraction } = progress;
      if (!states.includes(state)) return `state ${state}`;
      return fraction === null || (fraction >= 0 && fraction <= 1) ? undefined : `fraction ${fraction}`;
    }
  }
}
