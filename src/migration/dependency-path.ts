import type { Transaction } from '../kv/kv.ts';
import { planModel, readStoredModel } from './plan.ts';
import type { ModelMigration } from './runtime.ts';
import { isHalted, readState } from './state.ts';
import type { MigrationReason } from './status.ts';

type Waiting = Pick<ModelMigration, 'model' | 'reason' | 'dependsOn' | 'trouble'>;

/** Why a model waits in this process; for its dependencies with the way to the one that it comes down to. */
export async function readLocalReason(
  tx: Transaction,
  migrations: ReadonlyMap<number, Waiting>,
  modelId: number,
): Promise<MigrationReason | undefined> {
  const migration = migrations.get(modelId);
  const reason = migration?.reason;
  if (migration === undefined || reason?.code !== 'dependency') return reason;
  const { path, standing } = await readPath(tx, migrations, migration);
  return { ...reason, message: `${path.join(' -> ')} (${path.at(-1) ?? ''} ${standing})` };
}

interface Path {
  readonly path: readonly string[];
  readonly standing: string;
}

/** To the nearest dependency that stands still; else to the first one that is being worked on. */
async function readPath(
  tx: Transaction,
  migrations: ReadonlyMap<number, Waiting>,
  from: Waiting,
): Promise<Path> {
  let unfinished: Path | undefined;
  const seen = new Set<Waiting>([from]);
  const queue = [{ at: from, path: [from.model.name] }];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    for (const modelId of next.at.dependsOn) {
      const at = migrations.get(modelId);
      if (at === undefined || seen.has(at)) continue;
      seen.add(at);
      const { keys } = at.model;
      const path = [...next.path, at.model.name];
      const [state, stored] = await Promise.all([readState(tx, keys), readStoredModel(tx, keys)]);
      if (planModel(stored, at.model).type === 'none') continue;
      const halt = at.trouble === undefined ? state?.status : 'Failed';
      if (at.trouble !== undefined || isHalted(state)) return { path, standing: `is ${halt ?? 'Failed'}` };
      if (at.reason?.code !== 'dependency') unfinished ??= { path, standing: 'is not published yet' };
      queue.push({ at, path });
    }
  }
  return unfinished ?? { path: [from.model.name], standing: 'is about to begin' };
}
