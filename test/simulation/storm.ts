import type { ControlVerb } from '../../src/cluster/control-request.ts';
import type { MigrationAuditEvent } from '../../src/migration/audit.ts';
import type { SeededRandom } from '../rig/seed.ts';
import type { Simulated } from './context.ts';
import { track } from './context.ts';
import type { Program } from './programs.ts';
import type { DatabaseFaults } from './sim-database.ts';
import type { SimNode } from './sim-node.ts';

const strikes = ['kill', 'doom', 'close', 'freeze', 'wall', 'outage', 'jump', 'operator', 'bus'] as const;
type Strike = (typeof strikes)[number];

const operatorCalls = [
  'pauseMigration',
  'pauseMigration',
  'resumeMigration',
  'resumeMigration',
  'cancelMigration',
  'resetMigration',
  'releaseLease',
  'retryQuarantined',
] as const;

type OperatorCall = (typeof operatorCalls)[number];

/** What can be asked for over the bus as well. */
const remoteVerbs: Readonly<Partial<Record<OperatorCall, ControlVerb>>> = {
  pauseMigration: 'pause',
  resumeMigration: 'resume',
  cancelMigration: 'cancel',
};

const oftenBug = 0.1;

/** Of an operator who strikes what has just begun. */
const stoppingCalls: readonly OperatorCall[] = [
  'pauseMigration',
  'pauseMigration',
  'cancelMigration',
  'cancelMigration',
  'releaseLease',
];

/** Everything that happens to a cluster from outside: to its processes, machines and clocks, and by its operators. */
export class Storm {
  readonly #simulated: Simulated;
  readonly #kinds: readonly Strike[];
  readonly #meanMs: number;
  /** How often an operator or a death comes right after a phase began. */
  readonly #aimed: number;
  #busyModel: number | undefined;

  constructor(simulated: Simulated) {
    const { random } = simulated;
    this.#simulated = simulated;
    this.#kinds = strikes.filter(() => random.below(2) === 0);
    this.#meanMs = random.pick([400, 1_500, 5_000]);
    this.#aimed = random.pick([0, 0.2, 0.6]);
  }

  begin(): void {
    const { world, random } = this.#simulated;
    if (this.#kinds.length === 0) return;
    world.schedule(undefined, random.fraction() * 2 * this.#meanMs, () => {
      if (this.#simulated.isCalm) return;
      this.#strike(random.pick(this.#kinds));
      this.begin();
    });
  }

  /** What has just begun is what is worth striking. */
  heard(node: SimNode, { type, modelId, phase }: MigrationAuditEvent): void {
    const { world, random, isCalm } = this.#simulated;
    if (type === 'PhaseStarted' || type === 'LeaseAcquired') this.#busyModel = modelId;
    if (isCalm) return;
    if (type === 'Paused' || type === 'Canceled' || type === 'Failed') this.#troubleWhoWaits();
    // The last phase is the shortest.
    const isLast = phase === 'Contract';
    if (random.fraction() >= (isLast ? 3 : 1) * this.#aimed) return;
    const aimed = (['operator', 'doom', 'close', 'freeze'] as const).filter((kind) =>
      this.#kinds.includes(kind),
    );
    if (aimed.length === 0) return;
    // Some phases are over at once.
    world.schedule(undefined, random.fraction() * random.pick(isLast ? [1, 1, 20] : [2, 20, 60]), () => {
      if (this.#simulated.isCalm) return;
      const isForOperator = isLast && aimed.includes('operator') && random.below(2) === 0;
      this.#strike(isForOperator ? 'operator' : random.pick(aimed), node);
    });
  }

  /** Whoever waits for an operator asks the database seldom: where its driver has bugs, it meets one then. */
  #troubleWhoWaits(): void {
    const { world, random, cluster } = this.#simulated;
    const { faults } = cluster;
    if (faults.bug === 0 || faults.bug === oftenBug) return;
    world.schedule(undefined, random.fraction() * 500, () => {
      if (this.#simulated.isCalm) return;
      cluster.faults = { ...faults, bug: oftenBug };
      world.schedule(undefined, 1_500, () => {
        if (!this.#simulated.isCalm) cluster.faults = faults;
      });
    });
  }

  #strike(kind: Strike, aimedAt?: SimNode): void {
    const { world, random, cluster, living, bus } = this.#simulated;
    const all = [...living];
    const node = aimedAt ?? (all.length === 0 ? undefined : random.pick(all));
    this.#simulated.struck += 1;
    switch (kind) {
      case 'outage':
        cluster.availableAtMs = world.nowMs + random.below(12_000);
        world.note(
          undefined,
          () => `the database is away for ${(cluster.availableAtMs - world.nowMs).toFixed(0)} ms`,
        );
        return;
      case 'jump':
        // As after a recovery of FoundationDB.
        cluster.versionOffsetMs += 100_000;
        return;
      case 'bus':
        bus.cut(random.below(10_000));
        return;
      case 'kill':
      case 'doom':
      case 'close':
      case 'freeze':
      case 'wall':
      case 'operator':
        if (node !== undefined && !node.isDead) this.#strikeNode(kind, node, aimedAt);
    }
  }

  #strikeNode(kind: Exclude<Strike, 'outage' | 'jump' | 'bus'>, node: SimNode, aimedAt?: SimNode): void {
    const { world, random } = this.#simulated;
    switch (kind) {
      case 'kill':
        node.kill();
        return;
      case 'doom':
        node.doom(random.below(80), random.pick(['before', 'after']));
        return;
      case 'close':
        if (node.store === undefined || node.isClosed) return;
        void track(this.#simulated, node, 'close', node.close());
        return;
      case 'freeze':
        if (node.isFrozen) return;
        node.freeze();
        world.schedule(undefined, random.pick([200, 5_000, 30_000]) * (0.5 + random.fraction()), () =>
          node.thaw(),
        );
        return;
      case 'wall':
        node.clock.stepWall(random.below(240_000) - 120_000);
        return;
      case 'operator':
        this.#operate(node, aimedAt === undefined ? operatorCalls : stoppingCalls);
    }
  }

  #operate(node: SimNode, calls: readonly OperatorCall[]): void {
    const { world, random, operators } = this.#simulated;
    const { store } = node;
    if (store === undefined || node.isClosed) return;
    const modelId = random.below(4) > 0 ? (this.#busyModel ?? 1) : random.pick(this.#simulated.modelIds);
    const call = random.pick(calls);
    const verb = remoteVerbs[call];
    if (verb !== undefined && operators.takes()) return operators.say(verb, modelId);
    world.note(node, () => `operator: ${call} ${modelId}`);
    void track(this.#simulated, node, call, store[call](modelId));
  }
}

/** A process that ended is started again, as it was or with a program before or after its own. */
export function restart(simulated: Simulated, node: SimNode): void {
  const { world, random, programs } = simulated;
  const at = programs.all.findIndex(({ label }) => label === node.program.label);
  const moved = random.below(6) === 0 ? random.pick([at - 1, at + 1]) : at;
  world.schedule(undefined, random.below(4_000), () => {
    if (!simulated.isCalm) simulated.start(varied(random, programs.all[moved] ?? node.program));
  });
}

/** Processes of one program need not have the same options. */
export function varied(random: SeededRandom, program: Program): Program {
  return {
    ...program,
    ...random.pick([
      {},
      {},
      { migrationStartupBudgetMs: 0 },
      { migrationStartupBudgetMs: 300, continueMigrationsInBackground: false },
      { migrationStartupBudgetMs: undefined, continueMigrationsInBackground: false },
    ]),
    ...(random.below(6) === 0 ? { migrationRole: 'wait' as const } : {}),
    maxBackfillConcurrency: 1 + random.below(4),
  };
}

export function drawFaults(random: SeededRandom): DatabaseFaults {
  const share = random.pick([0.002, 0.01, 0.04]);
  const draw = (factor = 1) => (random.below(2) === 0 ? share * factor : 0);
  return {
    conflict: draw(2),
    tooOld: draw(0.5),
    unknownApplied: draw(2),
    unknownLost: draw(2),
    tooLarge: draw(2),
    throttled: draw(0.5),
    timedOut: draw(0.2),
    bug: random.below(5) === 0 ? 0.002 : 0,
    slow: draw(0.5),
    lateWatch: draw(20),
    lostWatch: draw(20),
  };
}
