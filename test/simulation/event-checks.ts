import type { KeyValueDatabase } from '../../src/kv/kv.ts';
import type { MigrationAuditEvent } from '../../src/migration/audit.ts';
import { readStatusIn } from '../../src/migration/read-status.ts';
import type { MigrationStatus } from '../../src/migration/status.ts';
import { resolveModels } from '../../src/model/resolve.ts';
import { systemClock } from '../../src/ports/clock.ts';
import type { StoreKeys } from '../../src/records/keys.ts';
import { rangeOf } from '../../src/records/keys.ts';
import { createVersionChains } from '../../src/store/version-chains.ts';
import type { Follower, MessageRules } from './listener.ts';
import type { Program } from './programs.ts';
import type { SimNode } from './sim-node.ts';

interface EndOfEvents {
  readonly database: KeyValueDatabase;
  readonly keys: StoreKeys;
  readonly modelIds: readonly number[];
  readonly messages: MessageRules;
  readonly follower: Follower;
  readonly nodes: ReadonlyMap<string, SimNode>;
  /** From where on nothing went wrong any more, in the order of all commits, and who was there to the end. */
  readonly calm: {
    readonly position: string;
    /** From where on the last ones close. */
    readonly until: string;
    readonly nodes: ReadonlySet<string>;
  };
  readonly fail: (what: string) => void;
}

/** What those outside know at the end has to be what the database says. */
export async function checkEvents(end: EndOfEvents): Promise<void> {
  const untold: string[] = [];
  for (const modelId of end.modelIds) {
    const log = await readLog(end, modelId);
    end.messages.checkAudit(modelId, log);
    for (const [position, event] of log) {
      const isInCalm = position >= end.calm.position && position < end.calm.until;
      if (!isInCalm || end.messages.wasTold(modelId, position, event)) continue;
      const { nodeId } = JSON.parse(event) as MigrationAuditEvent;
      if (end.calm.nodes.has(nodeId)) untold.push(event);
    }
  }
  if (untold.length > 0) end.fail(`what is kept is told, where nothing goes wrong: ${untold.join(', ')}`);
  const problem = await ignorance(end);
  if (problem !== undefined) end.fail(`a follower knows the truth at the end: ${problem}`);
}

/** In what a follower is wrong: each node tells what its own program has to do. */
export async function ignorance(
  end: Omit<EndOfEvents, 'messages' | 'calm' | 'fail'>,
): Promise<string | undefined> {
  const { modelIds, follower, nodes } = end;
  for (const modelId of modelIds) {
    const known = follower.known.get(modelId);
    const program = nodes.get(known?.nodeId ?? '')?.program;
    if (known === undefined || program === undefined) return `nothing of model ${modelId}`;
    // What a dead process still had on its way to the database is told by nobody: it may have let go of its lease.
    const isOwner = (nodeId: string) => nodes.get(nodeId)?.isDead === false;
    const truth = factsOf(await readTruth(end, program, modelId), isOwner);
    const told = factsOf(known.status, isOwner);
    if (told !== truth) return `of model ${modelId} ${told}, not ${truth}`;
  }
  return undefined;
}

/** Where commits are from now on: behind the last one that is there. */
export async function positionNow(database: KeyValueDatabase): Promise<string> {
  const version = BigInt(await database.transact((tx) => tx.getReadVersion()));
  return (version + 1n).toString(16).padStart(16, '0');
}

/** The audit log of a model, by position: the versionstamp and the place in its commit, which are the key. */
async function readLog({ database, keys }: EndOfEvents, modelId: number): Promise<Map<string, string>> {
  const { audit } = keys.model(modelId);
  const { begin, end } = rangeOf(audit);
  const rows = await database.transact((tx) => tx.getRangeAll(begin, end));
  return new Map(
    rows.map(({ key, value }) => [key.subarray(audit.length).toString('hex'), value.toString()]),
  );
}

function readTruth(
  { database, keys }: Pick<EndOfEvents, 'database' | 'keys'>,
  { dataModelsById, migrations, composeMigrationSteps = true }: Program,
  modelId: number,
): Promise<MigrationStatus> {
  const options = { migrations, composeMigrationSteps } as unknown as Parameters<
    typeof createVersionChains
  >[0];
  const { models } = createVersionChains(options, resolveModels(dataModelsById), keys);
  const model = models.find(({ id }) => id === modelId);
  if (model === undefined) throw new Error(`there is no model ${modelId}`);
  const reader = {
    migrations: new Map(),
    clock: systemClock,
    busState: () => null,
    sessions: { find: () => Promise.resolve(undefined) },
    stalledAfterMs: 60_000,
  };
  return database.transact((tx) => readStatusIn(tx, reader, model));
}

/** What the database says, and no process by itself. */
function factsOf(status: MigrationStatus, isOwner: (nodeId: string) => boolean): string {
  const { state, migrationId, phase, attempt, blocking, intentRevision, progress } = status;
  const owner = status.owner !== null && isOwner(status.owner.nodeId) ? status.owner : null;
  return JSON.stringify({ state, migrationId, phase, attempt, blocking, owner, intentRevision, progress });
}
