import { GodwitException } from '../../src/errors.ts';
import { KeyValueError } from '../../src/kv/kv.ts';
import type { SeededRandom } from '../rig/seed.ts';
import type { Invariants } from './invariants.ts';
import type { Program, Programs } from './programs.ts';
import type { RemoteOperators } from './remote-operators.ts';
import type { SimBus } from './sim-bus.ts';
import type { SimCluster } from './sim-database.ts';
import { DriverBug } from './sim-database.ts';
import type { SimNode } from './sim-node.ts';
import type { World } from './world.ts';

/** What the parts of one simulation share. */
export interface Simulated {
  readonly world: World;
  readonly random: SeededRandom;
  readonly cluster: SimCluster;
  readonly invariants: Invariants;
  readonly bus: SimBus;
  readonly operators: RemoteOperators;
  readonly programs: Programs;
  /** What the programs of this history register. */
  readonly modelIds: readonly number[];
  /** Processes that run. */
  readonly living: Set<SimNode>;
  /** No faults any more, and nobody asks for anything new. */
  readonly isCalm: boolean;
  /** What was asked of processes, and is not answered yet. */
  readonly pending: Map<Promise<unknown>, { readonly what: string; readonly node: SimNode }>;
  /** Faults that were not of the database. */
  struck: number;
  start(program: Program): SimNode;
  readonly fail: (what: string) => void;
}

/** Whatever was asked has to be answered as long as the process lives; errors are those an application reckons with. */
export async function track(
  simulated: Simulated,
  node: SimNode,
  what: string,
  promise: Promise<unknown>,
): Promise<void> {
  simulated.pending.set(promise, { what, node });
  try {
    await promise;
  } catch (error) {
    expectError(simulated, what, error);
  }
  simulated.pending.delete(promise);
}

/** Errors with a code, the library's or the database's; anything else is a fault of the library. */
export function expectError({ fail }: Simulated, what: string, error: unknown): void {
  if (error instanceof GodwitException || error instanceof KeyValueError || error instanceof DriverBug)
    return;
  fail(`${what} failed with ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
}
