import type { WholeMessageBus } from '../cluster/bus.ts';
import type { MigrationStatus } from '../migration/status.ts';
import type { RemoteStore } from '../remote/control-migration.ts';
import { controlMigration } from '../remote/control-migration.ts';
import { followMigrations } from '../remote/follow-migrations.ts';
import { listModels } from '../remote/list-models.ts';
import type { ControlReply } from '../remote/replies.ts';
import type { Console } from './console.ts';
import { CommandFailure } from './failure.ts';

/** Through the nodes of a store, over the bus alone. */
export function createBusConsole(
  bus: WholeMessageBus,
  remote: RemoteStore & { readonly timeoutMs?: number | undefined },
): Console {
  const models = () => listModels(bus, remote);
  const status = async (model: number) =>
    statusOf(await controlMigration(bus, { ...remote, model, verb: 'status' }));
  const statuses = async () => Promise.all((await models()).map(({ modelId }) => status(modelId)));

  async function* follow(signal: AbortSignal): AsyncIterable<readonly MigrationStatus[]> {
    // Before the first question: what happens meanwhile is heard.
    const heard = followMigrations(bus, { ...remote, signal });
    const known = new Map((await statuses()).map((one) => [one.modelId, one]));
    yield [...known.values()];
    for await (const one of heard) {
      if (one.type !== 'status' && one.type !== 'read') continue;
      known.set(one.modelId, one.status);
      yield [...known.values()];
    }
  }

  return {
    models,
    status,
    statuses,
    async steer(verb, model, { by, reason }) {
      return statusOf(await controlMigration(bus, { ...remote, model, verb, by, reason }));
    },
    standing: () => Promise.resolve(undefined),
    follow,
    close: () => bus.close(),
  };
}

/** @throws CommandFailure with the code that the node has refused it with */
function statusOf({ accepted, code, message, status, nodeId }: ControlReply): MigrationStatus {
  if (accepted && status !== undefined) return status;
  throw new CommandFailure(code ?? 'BUS_UNANSWERED', message ?? `${nodeId} answers without a status.`, {
    details: { nodeId },
  });
}
