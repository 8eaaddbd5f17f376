import type { MigrationAuditEvent } from '../../src/migration/audit.ts';
import type { MigrationStatus } from '../../src/migration/status.ts';
import type { FoundationDBDataStore } from '../../src/store/store.ts';
import type { SeededRandom } from '../rig/seed.ts';
import type { Simulated } from './context.ts';
import { track } from './context.ts';
import type { Program } from './programs.ts';
import type { SimNode } from './sim-node.ts';

/** Which nodes of a history ask for an approval before Contract. */
type Asking = 'none' | 'some' | 'all';

/**
 * Operators who approve what was verified, from any node or over the bus: in time, too early, late, and more than once. They
 * draw from a stream of their own, so that a history in which nobody asks for an approval is as it would be without them.
 */
export class Approvers {
  readonly #simulated: Simulated;
  readonly #random: SeededRandom;
  readonly #asking: Asking;

  constructor(simulated: Simulated, random: SeededRandom) {
    this.#simulated = simulated;
    this.#random = random;
    this.#asking = random.pick(['none', 'none', 'some', 'all'] as const);
  }

  /** What a node runs. */
  vary(program: Program): Program {
    const asks = this.#asking === 'all' || (this.#asking === 'some' && this.#random.below(2) === 0);
    return asks ? { ...program, migrationContractApproval: 'manual' } : program;
  }

  heard({ type, phase, modelId }: MigrationAuditEvent): void {
    if (this.#asking === 'none' || this.#simulated.isCalm) return;
    const isVerified = type === 'PhaseCompleted' && phase === 'Verify';
    const isTooEarly = type === 'PhaseStarted' && this.#random.below(8) === 0;
    const isTakenUp = (type === 'LeaseAcquired' || type === 'Resumed') && this.#random.below(3) === 0;
    if (isTooEarly || isTakenUp || (isVerified && this.#random.below(4) > 0)) this.#approveSoon(modelId);
  }

  /** At the end nothing is left that waits for a word. */
  settle(store: FoundationDBDataStore, node: SimNode, { modelId, reason }: MigrationStatus): void {
    if (reason?.code !== 'approval') return;
    void track(this.#simulated, node, 'approve', store.approveMigration(modelId));
  }

  #approveSoon(modelId: number): void {
    const times = this.#random.pick([1, 1, 2]);
    for (let time = 0; time < times; time += 1) {
      const delayMs = this.#random.fraction() * this.#random.pick([5, 200, 3_000]);
      this.#simulated.world.schedule(undefined, delayMs, () => this.#approve(modelId), this.#random);
    }
  }

  #approve(modelId: number): void {
    const { living, world, operators, isCalm } = this.#simulated;
    if (isCalm) return;
    if (this.#random.below(3) === 0) return operators.say('approve', modelId);
    const open = [...living].filter(({ store, isClosed }) => store !== undefined && !isClosed);
    if (open.length === 0) return;
    const node = this.#random.pick(open);
    if (node.store === undefined) return;
    world.note(node, () => `operator: approveMigration ${modelId}`);
    void track(this.#simulated, node, 'approve', node.store.approveMigration(modelId));
  }
}
