import { GodwitException } from '../../src/errors.ts';
import type { FoundationDBDataStore } from '../../src/store/store.ts';
import type { SeededRandom } from '../rig/seed.ts';
import type { Simulated } from './context.ts';
import { track } from './context.ts';
import type { Program } from './programs.ts';
import { hopsOf, isRival, modelOf } from './programs.ts';
import type { SimNode } from './sim-node.ts';

/** What all typed models have in common. */
export interface AnyModelStore {
  add(record: object): Promise<unknown>;
  put(record: object): Promise<unknown>;
  change(key: unknown, change: object): Promise<unknown>;
  delete(key: unknown): Promise<unknown>;
  get(key: unknown): Promise<Readonly<Record<string, unknown>> | undefined>;
  scan(query: object): AsyncIterable<Readonly<Record<string, unknown>>>;
}

export const recordId = (n: number): string => `r${String(n).padStart(4, '0')}`;

/** Ids that requests draw from: some are there, some are not. */
const ids = 200;

/** An application on a node: requests to all models, one after the other, until it is calm or the store closes. */
export function useStore(simulated: Simulated, node: SimNode, store: FoundationDBDataStore): void {
  const { world, random } = simulated;
  const meanMs = random.pick([200, 1_000, 4_000]);
  const serve = async () => {
    for (;;) {
      await new Promise<void>((resolve) => {
        world.schedule(node, random.fraction() * 2 * meanMs, resolve);
      });
      if (simulated.isCalm || node.isClosed) return;
      await track(simulated, node, 'a request', request(simulated, node, store));
    }
  };
  void serve();
  if (random.below(2) === 0) void wait(simulated, node, store);
}

/** Somebody who waits for a model, and again once that is answered: in vain, for so long, or for as long as it takes. */
async function wait(simulated: Simulated, node: SimNode, store: FoundationDBDataStore): Promise<void> {
  const { world, random, modelIds } = simulated;
  while (!simulated.isCalm && !node.isClosed) {
    const timeoutMs = random.pick([undefined, 500, 5_000]);
    const [what, promise] =
      random.below(3) === 0
        ? (['whenReady', store.whenReady()] as const)
        : (['awaitMigration', store.awaitMigration(random.pick(modelIds), { timeoutMs })] as const);
    await track(simulated, node, what, promise);
    await new Promise<void>((resolve) => {
      world.schedule(node, random.fraction() * 4_000, resolve);
    });
  }
}

async function request(simulated: Simulated, node: SimNode, store: FoundationDBDataStore): Promise<void> {
  const { random, invariants, fail } = simulated;
  const modelId = random.pick(simulated.modelIds);
  const model = store.model(modelOf(node.program, modelId)) as unknown as AnyModelStore;
  const closed = invariants.closedGate(modelId);
  try {
    await ask(simulated, node.program, modelId, model);
  } catch (error) {
    // What is not there, or there already, is an answer too.
    if (!(
      error instanceof GodwitException && /^(RECORD_(EXISTS|NOT_FOUND)|UNIQUE_VIOLATION)$/.test(error.code)
    ))
      throw error;
  }
  if (closed !== undefined && closed === invariants.closedGate(modelId)) {
    fail(`a gated request never succeeds: one of ${node.name} to model ${modelId} did`);
  }
}

async function ask(
  { random, fail }: Simulated,
  program: Program,
  modelId: number,
  model: AnyModelStore,
): Promise<void> {
  const hops = hopsOf(modelOf(program, modelId).version);
  const n = random.below(ids);
  // The key of a moved rival is not its id.
  const id = recordId(modelId === 2 && hops === 3 && isRival(recordId(n)) ? n + 1 : n);
  const values = valuesOf(modelId, hops, id, random);
  const label = `label ${random.below(9)}`;
  const requireForm = (record: Readonly<Record<string, unknown>> | undefined) => {
    if (record === undefined || record['hops'] === hops) return;
    fail(`a request sees records in its own form alone: ${program.label} saw hops ${String(record['hops'])}`);
  };
  switch (random.below(6)) {
    case 0:
      await model.add({ id, label, hops, ...values });
      return;
    case 1:
      await model.put({ id, label, hops, ...values });
      return;
    case 2:
      await model.change(id, { label });
      return;
    case 3:
      await model.delete(id);
      return;
    case 4:
      requireForm(await model.get(id));
      return;
    default:
      for await (const record of model.scan({ limit: 20 })) requireForm(record);
  }
}

/** What a record has besides its id and label. Of codes there is one for each, and some want another's. */
function valuesOf(
  modelId: number,
  hops: number,
  id: string,
  random: SeededRandom,
): Readonly<Record<string, unknown>> {
  if (hops === 1) return {};
  if (modelId === 1) return { size: hops === 2 ? 1 : '1 m' };
  const code = random.below(4) === 0 ? recordId(random.below(20)) : id;
  return { total: 1, code, ...(hops === 3 ? { serial: id } : {}) };
}
